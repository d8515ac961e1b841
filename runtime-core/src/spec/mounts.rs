//! `root` and `mounts`: the container's file systems (config.md, "Root" and "Mounts").

use std::path::PathBuf;

use super::linux::IdMapping;
use super::object::object;

object! {
    /// The container's root file system.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Root {
        /// The directory; a relative path is taken from the bundle.
        pub path: PathBuf = required "path",
        /// Whether the container sees it read-only.
        pub readonly: bool = "readonly",
    }

    /// One mount; they are made in the order of the list.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Mount {
        /// Where, absolute, inside the container.
        pub destination: PathBuf = required "destination",
        /// The file system's type, the key `type`; needless for a bind mount.
        pub kind: Option<String> = "type",
        /// A device, a name, or for a bind mount a path (a relative one is taken from the bundle).
        pub source: Option<PathBuf> = "source",
        /// Mount options in `fstab` style.
        pub options: Vec<String> = "options",
        /// The user ids of an id-mapped mount.
        pub uid_mappings: Vec<IdMapping> = "uidMappings",
        /// The group ids of an id-mapped mount.
        pub gid_mappings: Vec<IdMapping> = "gidMappings",
    }
}

impl Mount {
    /// Whether an option makes it a bind mount; the type `bind` alone does so as well.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.kind.as_deref() == Some("bind")
            || self.options.iter().any(|option| option == "bind" || option == "rbind")
    }
}
