//! File systems and mounts.

use core::ffi::CStr;

use crate::abi::{
    AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, EINVAL, EPERM, FSCONFIG_CMD_CREATE,
    FSCONFIG_CMD_RECONFIGURE, MNT_DETACH, MOUNT_ATTR_ATIME, MOUNT_ATTR_RDONLY, MQUEUE_MAGIC,
    MS_SLAVE, MountAttr, O_DIRECTORY, O_PATH, RESOLVE_NO_MAGICLINKS, UMOUNT_NOFOLLOW,
};
use crate::init::{Init, Kind};
use crate::program::{List, Op, Slot};
use crate::report::{Attempt as _, Failure, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// A new file system as [`crate::program::Step::NewFilesystem`] describes it.
pub struct Filesystem {
    pub kind: &'static CStr,
    pub source: &'static CStr,
    pub options: List<'static>,
    pub attributes: u64,
}

/// Changes attributes of the mount (or of the tree) behind the descriptor; nothing to change costs
/// nothing.
pub fn set_attributes(fd: Fd, attributes: &MountAttr, flags: u32) -> Result {
    if *attributes == MountAttr::default() {
        return Ok(());
    }
    sys::mount_setattr(fd, c"", flags | AT_EMPTY_PATH, attributes).during(Op::MountSetattr)?;
    Ok(())
}

pub const fn propagate(propagation: u64) -> MountAttr {
    MountAttr { set: 0, clear: 0, propagation, userns: 0 }
}

/// Makes a file system.
#[inline(never)]
pub fn new_filesystem(new: &Filesystem) -> Result<Fd> {
    let fs = sys::fsopen(new.kind).about(Op::Fsopen, new.kind)?;
    let logged = |failure: Failure| failure.with_log(fs);
    if !new.source.is_empty() {
        let set = sys::fsconfig_string(fs, c"source", new.source);
        set.about(Op::Fsconfig, new.source).map_err(logged)?;
    }
    configure(fs, new.options, FSCONFIG_CMD_CREATE, new.kind)?;
    let mount = sys::fsmount(fs, new.attributes).about(Op::Fsmount, new.kind).map_err(logged)?;
    Ok(mount)
}

/// Sets the options and has the file system take them.
#[inline(never)]
fn configure(fs: Fd, options: List<'static>, command: u32, about: &'static CStr) -> Result {
    let logged = |failure: Failure| failure.with_log(fs);
    for option in options.iter() {
        set_option(fs, option).about(Op::Fsconfig, option).map_err(logged)?;
    }
    sys::fsconfig_command(fs, command).about(Op::FsconfigCreate, about).map_err(logged)?;
    Ok(())
}

#[inline(never)]
fn set_option(fs: Fd, option: &CStr) -> sys::Result<usize> {
    let bytes = option.to_bytes_with_nul();
    let Some(equals) = bytes.iter().position(|&byte| byte == b'=') else {
        return sys::fsconfig_flag(fs, option);
    };
    let (key, value) = (bytes.get(..equals), bytes.get(equals + 1..));
    let mut text = Text::new();
    text.push(key.unwrap_or_default())?;
    let value = CStr::from_bytes_until_nul(value.unwrap_or_default()).unwrap_or(c"");
    sys::fsconfig_string(fs, text.as_c_str(), value)
}

impl Init {
    pub fn propagation(&mut self, propagation: u64) -> Result {
        let attributes = propagate(propagation);
        sys::mount_setattr(AT_FDCWD, c"/", AT_RECURSIVE, &attributes).during(Op::MountSetattr)?;
        self.separated = true;
        Ok(())
    }

    pub fn open_tree(&self, slot: Slot, path: &'static CStr, recursive: bool) -> Result {
        let flags = if recursive { AT_RECURSIVE } else { 0 };
        let tree = sys::clone_tree(AT_FDCWD, path, flags).about(Op::OpenTree, path)?;
        self.fill_slot(slot, tree, Kind::Unknown)
    }

    pub fn filesystem(&self, slot: Slot, new: &Filesystem, otherwise: &'static CStr) -> Result {
        let mut kind = match new.kind.to_bytes() {
            b"tmpfs" => Kind::Tmpfs,
            b"proc" => Kind::Proc,
            b"sysfs" => Kind::Sysfs,
            _ => Kind::Directory,
        };
        let mount = match new_filesystem(new) {
            Err(failure) if failure.errno() == EPERM && !otherwise.is_empty() => {
                let tree = sys::clone_tree(AT_FDCWD, otherwise, AT_RECURSIVE);
                let tree = tree.about(Op::OpenTree, otherwise)?;
                let attributes = MountAttr {
                    // A user namespace may not change the access times of what it has inherited.
                    set: new.attributes & !MOUNT_ATTR_ATIME,
                    ..MountAttr::default()
                };
                set_attributes(tree, &attributes, AT_RECURSIVE)?;
                kind = Kind::Unknown;
                tree
            }
            other => other?,
        };
        self.fill_slot(slot, mount, kind)
    }

    /// Attaches the container's root and enters the cage.
    pub fn enter_root(&mut self, tree: Slot, path: &'static CStr, propagation: u64) -> Result {
        let tree = self.slot(tree)?;
        set_attributes(tree, &propagate(propagation), AT_RECURSIVE)?;
        let outside = sys::open(c"/", O_PATH | O_DIRECTORY).about(Op::Open, c"/")?;
        let flags = O_PATH | O_DIRECTORY;
        let target = sys::openat2(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS);
        let target = target.about(Op::Open, path)?;
        let (seen, meant) =
            (sys::stat(target).about(Op::Stat, path)?, sys::stat(tree).about(Op::Stat, path)?);
        if (seen.ino, seen.dev_major, seen.dev_minor)
            != (meant.ino, meant.dev_major, meant.dev_minor)
        {
            return Err(Errno(crate::abi::ENOENT)).about(Op::Changed, path);
        }
        sys::move_mount(tree, target).about(Op::MoveMount, path)?;
        self.done_with(target);
        self.outside = outside;
        self.tree = tree;
        enter(tree)
    }

    pub fn reattribute(
        &mut self,
        target: &'static CStr,
        change: &MountAttr,
        recursive: bool,
    ) -> Result {
        let fd = self.look_up(target, O_PATH, 0).about(Op::Open, target)?;
        let flags = if recursive { AT_RECURSIVE } else { 0 };
        let set = sys::mount_setattr(fd, c"", flags | AT_EMPTY_PATH, change);
        set.about(Op::MountSetattr, target)?;
        self.done_with(fd);
        Ok(())
    }

    /// Labels a queue file system, and nothing else that the path may lead to meanwhile: a volume would
    /// keep the label on the host.
    pub fn label(&mut self, path: &'static CStr, label: &[u8]) -> Result {
        let fd = self.look_up(path, O_DIRECTORY, 0).about(Op::Open, path)?;
        if sys::filesystem(fd).about(Op::Statfs, path)? != MQUEUE_MAGIC {
            return Err(Errno(EINVAL)).about(Op::WrongFilesystem, path);
        }
        sys::set_label(fd, label).about(Op::Label, path).map(|_| ())
    }

    /// Gives the file system at the target new options.
    pub fn reconfigure(&mut self, target: &'static CStr, options: List<'static>) -> Result {
        let place = self.look_up(target, O_PATH, 0).about(Op::Open, target)?;
        let fs = sys::fspick(place).about(Op::Fsopen, target)?;
        configure(fs, options, FSCONFIG_CMD_RECONFIGURE, target)
    }

    /// Takes the mount at the path away. What is mounted on has a name that nobody can change, so that the
    /// name in the directory's descriptor still means the same when umount2(2) looks it up.
    pub fn detach(&mut self, path: &'static CStr) -> Result {
        let (directory, name) = self.straight_parent(path).about(Op::Open, path)?;
        sys::fchdir(directory).about(Op::Chdir, path)?;
        sys::umount(name, MNT_DETACH | UMOUNT_NOFOLLOW).about(Op::Unmount, path)?;
        Ok(())
    }

    /// Makes a file system by mount(2), which needs a place: one that is there on every host.
    pub fn mount_whole(
        &self,
        slot: Slot,
        (kind, source, data): (&'static CStr, &'static CStr, &'static CStr),
        flags: u64,
    ) -> Result {
        const PLACE: &CStr = c"/proc";
        sys::mount(source, PLACE, kind, flags, data).about(Op::Mount, kind)?;
        let tree = sys::clone_tree(AT_FDCWD, PLACE, 0).about(Op::OpenTree, kind)?;
        sys::umount(PLACE, MNT_DETACH).during(Op::Unmount)?;
        self.fill_slot(slot, tree, Kind::Unknown)
    }

    /// The tree becomes the namespace's root.
    pub fn pivot(&mut self, pivot: bool, propagation: u64, recursive: bool) -> Result {
        let outside = self.outside;
        enter(outside)?;
        if pivot {
            sys::fchdir(self.tree).during(Op::Chdir)?;
            sys::pivot_root(c".", c".").during(Op::PivotRoot)?;
            if !self.separated {
                // Else the unmounting would reach the host.
                set_attributes(outside, &propagate(MS_SLAVE), AT_RECURSIVE)?;
            }
            // The old root lies on top of the new one: "." finds it there (pivot_root(2)).
            sys::umount(c".", MNT_DETACH).during(Op::Unmount)?;
        } else {
            sys::move_mount(self.tree, outside).during(Op::MoveMount)?;
            enter(self.tree)?;
        }
        // The last way back to the host's files.
        sys::close(outside);
        self.outside = -1;
        self.at_root = true;
        let flags = if recursive { AT_RECURSIVE } else { 0 };
        set_attributes(self.tree, &propagate(propagation), flags)
    }

    /// The tree stays this process's root for good.
    pub fn chroot(&mut self) -> Result {
        if self.outside < 0 {
            // There is no cage to stay in.
            let tree = self.root().during(Op::Open)?;
            enter(tree)?;
        } else {
            sys::close(self.outside);
            self.outside = -1;
        }
        Ok(())
    }

    pub fn readonly_root(&mut self) -> Result {
        let attributes = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        set_attributes(self.root().during(Op::Open)?, &attributes, 0)
    }
}

/// Makes the directory this process's working directory and root.
pub fn enter(directory: Fd) -> Result {
    sys::fchdir(directory).during(Op::Chdir)?;
    sys::chroot(c".").during(Op::Chroot)?;
    Ok(())
}
