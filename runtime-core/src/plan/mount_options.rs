//! Mount options in `fstab` style: which attributes, propagation and data they stand for
//! (config.md, "Linux mount options"; mount(8); mount_setattr(2)).

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Mount, Propagation};

/// Attributes of a mount (`linux/mount.h`).
pub(super) mod attribute {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
    /// The field of the three access time modes, of which relatime is zero.
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    pub(crate) const NODIRATIME: u64 = 0x80;
    pub(crate) const NOSYMFOLLOW: u64 = 0x0020_0000;
}
use attribute::{
    ATIME, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, STRICTATIME,
};

/// What an option does.
#[derive(Clone, Copy)]
enum Effect {
    /// Clears and then sets attributes of the mount.
    Attribute { clear: u64, set: u64 },
    /// Says to the file system when it is made; without effect on a bind mount.
    Filesystem,
    /// Nothing: the kernel's default, or only about its log.
    Nothing,
    /// Makes it a bind mount.
    Bind { recursive: bool },
    /// Changes a mount that is there.
    Remount,
    /// A tmpfs begins with a copy of what it covers.
    Copy,
    /// Gives a bind mount ids of its own.
    MapIds { recursive: bool },
    /// Makes the link that a bind mount's source is, and no mount.
    CopyLink,
}

const fn set(bits: u64) -> Effect {
    Effect::Attribute { clear: 0, set: bits }
}

const fn clear(bits: u64) -> Effect {
    Effect::Attribute { clear: bits, set: 0 }
}

const fn atime(mode: u64) -> Effect {
    Effect::Attribute { clear: ATIME, set: mode }
}

/// The attributes; each exists with an `r` in front as well, for the whole tree.
const ATTRIBUTES: &[(&str, Effect)] = &[
    ("ro", set(RDONLY)),
    ("rw", clear(RDONLY)),
    ("nosuid", set(NOSUID)),
    ("suid", clear(NOSUID)),
    ("nodev", set(NODEV)),
    ("dev", clear(NODEV)),
    ("noexec", set(NOEXEC)),
    ("exec", clear(NOEXEC)),
    ("noatime", atime(NOATIME)),
    ("atime", atime(0)),
    ("relatime", atime(0)),
    ("norelatime", atime(0)),
    ("strictatime", atime(STRICTATIME)),
    ("nostrictatime", atime(0)),
    ("nodiratime", set(NODIRATIME)),
    ("diratime", clear(NODIRATIME)),
    ("nosymfollow", set(NOSYMFOLLOW)),
    ("symfollow", clear(NOSYMFOLLOW)),
];

/// Everything else that is not data of the file system.
const OTHERS: &[(&str, Effect)] = &[
    ("bind", Effect::Bind { recursive: false }),
    ("rbind", Effect::Bind { recursive: true }),
    ("remount", Effect::Remount),
    ("sync", Effect::Filesystem),
    ("async", Effect::Filesystem),
    ("dirsync", Effect::Filesystem),
    ("lazytime", Effect::Filesystem),
    ("nolazytime", Effect::Filesystem),
    ("mand", Effect::Filesystem),
    ("nomand", Effect::Filesystem),
    ("defaults", Effect::Nothing),
    ("loud", Effect::Nothing),
    ("silent", Effect::Nothing),
    // The file systems that count changes do so always.
    ("iversion", Effect::Nothing),
    ("noiversion", Effect::Nothing),
    ("tmpcopyup", Effect::Copy),
    ("idmap", Effect::MapIds { recursive: false }),
    ("ridmap", Effect::MapIds { recursive: true }),
    ("copy-symlink", Effect::CopyLink),
];

/// Flags of file systems that crun takes with an `r` in front, where they say the same.
const DOUBLED: [&str; 5] = ["sync", "async", "dirsync", "mand", "nomand"];

/// All names of options that are understood, for the `features` document.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let plain = ATTRIBUTES.iter().chain(OTHERS).map(|(name, _)| (*name).to_owned());
    let recursive = ATTRIBUTES.iter().map(|(name, _)| *name).chain(DOUBLED);
    let recursive = recursive.map(|name| format!("r{name}"));
    plain.chain(recursive).chain(Propagation::ALL.iter().map(|kind| kind.name().to_owned()))
}

/// Attributes to change: first the bits of `clear` go, then those of `set` come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) set: u64,
    pub(super) clear: u64,
}

impl Change {
    fn apply(&mut self, effect: Effect) {
        if let Effect::Attribute { clear, set } = effect {
            self.set = self.set & !clear | set;
            self.clear = self.clear & !set | clear;
            // The access time is a field, not a bit: the kernel wants all of it cleared.
            if set & ATIME != 0 {
                self.clear |= ATIME;
            }
        }
    }
}

/// The options of one mount, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// Attributes of the mount itself.
    pub(super) own: Change,
    /// Attributes of the whole tree.
    pub(super) tree: Change,
    /// How mount events travel: what is said, in this order.
    pub(super) propagation: Vec<Propagation>,
    /// `bind` (false) or `rbind` (true).
    pub(super) bind: Option<bool>,
    /// Whether a mount that is there is changed.
    pub(super) remount: bool,
    /// Whether a tmpfs begins with a copy of what it covers.
    pub(super) copy: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub(super) map_ids: Option<bool>,
    /// The maps of `idmap=`, in crun's spelling.
    pub(super) maps: Option<&'a str>,
    /// Whether a source that is a symbolic link is copied as such.
    pub(super) copy_link: bool,
    /// Data and flags of the file system.
    pub(super) data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Reads the options of `mounts[index]`.
    pub(super) fn parse(mount: &'a Mount, index: usize) -> Result<Self> {
        let mut options = Self::default();
        let bind = mount.is_bind();
        if mount.kind.as_deref() == Some("bind") {
            options.bind = Some(false);
        }
        for (place, option) in mount.options.iter().enumerate() {
            let fault = |kind, words: &str| {
                let field = format!("mounts[{index}].options[{place}]");
                Error::new(kind, format!("{option:?} {words}")).with_field(field)
            };
            if let Some(propagation) = Propagation::from_name(option) {
                options.propagation.push(propagation);
                continue;
            }
            if let Some(maps) = option.strip_prefix("idmap=") {
                (options.map_ids, options.maps) = (Some(false), Some(maps));
                continue;
            }
            match find(option) {
                Some((effect, false)) => match effect {
                    Effect::Attribute { .. } => options.own.apply(effect),
                    Effect::Bind { recursive } => options.bind = Some(recursive),
                    Effect::Remount => options.remount = true,
                    Effect::Filesystem if !bind => options.data.push(option),
                    Effect::Filesystem | Effect::Nothing => {}
                    Effect::Copy if mount.kind.as_deref() == Some("tmpfs") => options.copy = true,
                    Effect::Copy => {
                        return Err(fault(ErrorKind::InvalidSpec, "is an option of tmpfs only"));
                    }
                    Effect::MapIds { recursive } => options.map_ids = Some(recursive),
                    Effect::CopyLink if bind => options.copy_link = true,
                    Effect::CopyLink => {
                        return Err(fault(ErrorKind::InvalidSpec, "is for bind mounts only"));
                    }
                },
                Some((Effect::Filesystem, true)) => {
                    let name = option.strip_prefix('r').filter(|_| !bind);
                    options.data.extend(name);
                }
                Some((effect, true)) => options.tree.apply(effect),
                // buildah gives an empty one with each volume.
                None if option.is_empty() => {}
                None if bind => {
                    return Err(fault(ErrorKind::InvalidSpec, "is not an option of a bind mount"));
                }
                None => options.data.push(option),
            }
        }
        Ok(options)
    }

    /// All attributes that a new file system starts with.
    pub(super) fn attributes(&self) -> u64 {
        self.own.set | self.tree.set
    }
}

/// The effect of an option, and whether it is one for the whole tree.
fn find(option: &str) -> Option<(Effect, bool)> {
    let look = |table: &[(&str, Effect)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(_, effect)| *effect)
    };
    if let Some(effect) = look(ATTRIBUTES, option).or_else(|| look(OTHERS, option)) {
        return Some((effect, false));
    }
    let name = option.strip_prefix('r')?;
    let flag = DOUBLED.contains(&name).then_some(Effect::Filesystem);
    look(ATTRIBUTES, name).or(flag).map(|effect| (effect, true))
}

/// The kernel's flag of a propagation, and whether it is for the whole tree.
pub(super) const fn propagation_flags(propagation: Propagation) -> (u64, bool) {
    match propagation {
        Propagation::Shared => (libc::MS_SHARED, false),
        Propagation::Slave => (libc::MS_SLAVE, false),
        Propagation::Private => (libc::MS_PRIVATE, false),
        Propagation::Unbindable => (libc::MS_UNBINDABLE, false),
        Propagation::RecursiveShared => (libc::MS_SHARED, true),
        Propagation::RecursiveSlave => (libc::MS_SLAVE, true),
        Propagation::RecursivePrivate => (libc::MS_PRIVATE, true),
        Propagation::RecursiveUnbindable => (libc::MS_UNBINDABLE, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        Mount {
            destination: "/x".into(),
            kind: Some(kind.to_owned()),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Mount::default()
        }
    }

    #[test]
    fn later_options_win() {
        let own =
            |options: &[&str]| Options::parse(&mount("tmpfs", options), 0).expect("valid").own;
        assert_eq!(own(&["ro", "rw"]), Change { set: 0, clear: RDONLY });
        assert_eq!(own(&["rw", "ro"]), Change { set: RDONLY, clear: 0 });
        let noatime = Change { set: NOATIME, clear: ATIME };
        assert_eq!(own(&["strictatime", "noatime"]), noatime);
        assert_eq!(own(&["noatime", "relatime"]), Change { set: 0, clear: ATIME });
        assert_eq!(own(&["nosuid", "nodev"]), Change { set: NOSUID | NODEV, clear: 0 });
    }

    #[test]
    fn what_is_unknown_is_data_or_a_mistake() {
        let mount_of = mount("tmpfs", &["size=1m", "sync", "nosuid", "rshared", "silent"]);
        let options = Options::parse(&mount_of, 0).expect("valid");
        assert_eq!(options.data, ["size=1m", "sync"]);
        assert_eq!(options.propagation, [Propagation::RecursiveShared]);
        let error = Options::parse(&mount("bind", &["rro", "size=1m"]), 4).expect_err("data");
        assert_eq!(error.field(), Some("mounts[4].options[1]"));
        assert!(Options::parse(&mount("bind", &["", "ro"]), 0).expect("valid").data.is_empty());
        assert!(Options::parse(&mount("tmpfs", &["tmpcopyup"]), 0).expect("valid").copy);
        let error = Options::parse(&mount("ramfs", &["tmpcopyup"]), 0).expect_err("no tmpfs");
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        let options = mount("bind", &["idmap", "ridmap"]);
        assert_eq!(Options::parse(&options, 0).expect("valid").map_ids, Some(true));
    }

    #[test]
    fn options_of_crun_are_understood() {
        let of = mount("bind", &["rsync", "rmand", "copy-symlink", "idmap=uids=0-1-2;gids=0-1-2"]);
        let options = Options::parse(&of, 0).expect("valid");
        assert!(options.copy_link && options.data.is_empty());
        assert_eq!((options.map_ids, options.maps), (Some(false), Some("uids=0-1-2;gids=0-1-2")));
        let of = mount("tmpfs", &["rsync", "rdirsync"]);
        assert_eq!(Options::parse(&of, 0).expect("valid").data, ["sync", "dirsync"]);
        let error = Options::parse(&mount("tmpfs", &["copy-symlink"]), 0).expect_err("no bind");
        assert_eq!(error.field(), Some("mounts[0].options[0]"));
        for refused in ["src-nofollow", "dest-nofollow"] {
            let error = Options::parse(&mount("bind", &[refused]), 0).expect_err(refused);
            assert!(error.to_string().contains(refused), "{error}");
        }
        for name in ["rsync", "rasync", "rdirsync", "rmand", "rnomand", "copy-symlink"] {
            assert!(names().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn recursive_forms_are_for_the_tree() {
        let mount_of = mount("none", &["rbind", "rro", "rnosymfollow", "nodev"]);
        let options = Options::parse(&mount_of, 0).expect("valid");
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.tree.set, RDONLY | NOSYMFOLLOW);
        assert_eq!(options.own.set, NODEV);
        assert!(names().any(|name| name == "rnostrictatime"));
    }
}
