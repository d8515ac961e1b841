//! Options of a mount, as mount(8) knows them.

use nix::mount::MsFlags;

use crate::failure::Failure;

/// Names of flags; `false`: the name takes the flag away.
const FLAGS: [(&str, bool, MsFlags); 25] = [
    ("async", false, MsFlags::MS_SYNCHRONOUS),
    ("atime", false, MsFlags::MS_NOATIME),
    ("bind", true, MsFlags::MS_BIND),
    ("dev", false, MsFlags::MS_NODEV),
    ("diratime", false, MsFlags::MS_NODIRATIME),
    ("dirsync", true, MsFlags::MS_DIRSYNC),
    ("exec", false, MsFlags::MS_NOEXEC),
    ("mand", true, MsFlags::MS_MANDLOCK),
    ("noatime", true, MsFlags::MS_NOATIME),
    ("nodev", true, MsFlags::MS_NODEV),
    ("nodiratime", true, MsFlags::MS_NODIRATIME),
    ("noexec", true, MsFlags::MS_NOEXEC),
    ("nomand", false, MsFlags::MS_MANDLOCK),
    ("norelatime", false, MsFlags::MS_RELATIME),
    ("nostrictatime", false, MsFlags::MS_STRICTATIME),
    ("nosuid", true, MsFlags::MS_NOSUID),
    ("rbind", true, MsFlags::MS_BIND.union(MsFlags::MS_REC)),
    ("relatime", true, MsFlags::MS_RELATIME),
    ("remount", true, MsFlags::MS_REMOUNT),
    ("ro", true, MsFlags::MS_RDONLY),
    ("rw", false, MsFlags::MS_RDONLY),
    ("strictatime", true, MsFlags::MS_STRICTATIME),
    ("suid", false, MsFlags::MS_NOSUID),
    ("sync", true, MsFlags::MS_SYNCHRONOUS),
    ("defaults", true, MsFlags::empty()),
];

/// Names of propagations.
const PROPAGATIONS: [(&str, MsFlags); 8] = [
    ("private", MsFlags::MS_PRIVATE),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("shared", MsFlags::MS_SHARED),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("slave", MsFlags::MS_SLAVE),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];

/// The options, sorted by what they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// For mount(2).
    pub(super) flags: MsFlags,
    /// Set by a call of its own.
    pub(super) propagation: Option<MsFlags>,
    /// For the file system.
    pub(super) data: Vec<String>,
    /// The source is a file that a loop device makes a block device of.
    pub(super) loop_device: bool,
    /// Maps of ids, `INSIDE:OUTSIDE:SIZE`.
    pub(super) uid_map: Option<String>,
    /// As `uid_map`.
    pub(super) gid_map: Option<String>,
}

impl Settings {
    /// Sorts options.
    ///
    /// # Errors
    /// Only one of the two maps is given.
    pub(super) fn read(options: &[String]) -> Result<Self, Failure> {
        let mut settings = Self {
            flags: MsFlags::empty(),
            propagation: None,
            data: Vec::new(),
            loop_device: false,
            uid_map: None,
            gid_map: None,
        };
        for option in options {
            settings.add(option);
        }
        if settings.uid_map.is_some() != settings.gid_map.is_some() {
            return Err(Failure::invalid("uidmap and gidmap are needed together"));
        }
        Ok(settings)
    }

    fn add(&mut self, option: &str) {
        if let Some((_, set, flags)) = FLAGS.iter().find(|(name, ..)| *name == option) {
            self.flags.set(*flags, *set);
        } else if let Some((_, flags)) = PROPAGATIONS.iter().find(|(name, _)| *name == option) {
            self.propagation = Some(*flags);
        } else if option == "loop" {
            self.loop_device = true;
        } else if let Some(map) = option.strip_prefix("uidmap=") {
            self.uid_map = Some(map.to_owned());
        } else if let Some(map) = option.strip_prefix("gidmap=") {
            self.gid_map = Some(map.to_owned());
        } else if !option.starts_with("X-containerd.") && !option.is_empty() {
            self.data.push(option.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<Settings, Failure> {
        Settings::read(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_of_two_opposites_holds() {
        let settings =
            read(&["ro", "nosuid", "rw", "rbind", "rslave", "index=off"]).expect("options");
        assert_eq!(settings.flags, MsFlags::MS_NOSUID | MsFlags::MS_BIND | MsFlags::MS_REC);
        assert_eq!(settings.propagation, Some(MsFlags::MS_SLAVE | MsFlags::MS_REC));
        assert_eq!(settings.data, ["index=off"]);
    }

    #[test]
    fn what_is_for_containerd_goes_no_further() {
        let options = ["X-containerd.mkdir.path=/x:0700", "loop", "uidmap=0:1:2", "gidmap=0:1:2"];
        let settings = read(&options).expect("options");
        assert!(settings.data.is_empty() && settings.loop_device && settings.uid_map.is_some());
        assert!(read(&["uidmap=0:1:2"]).is_err());
    }
}
