//! Masked and read-only paths.

use core::ffi::CStr;

use crate::abi::{
    AT_RECURSIVE, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, EINVAL, ELOOP, ENOENT, ENOSYS, EPERM,
    EXDEV, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE,
    MountAttr, O_DIRECTORY, O_PATH, PROC_SUPER_MAGIC, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, SYSFS_MAGIC,
};
use crate::init::Init;
use crate::mount::{Filesystem, new_filesystem, set_attributes};
use crate::program::{List, Op, Slot};
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Errno, Fd};

const READONLY: MountAttr =
    MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };

/// One of the two trees where the kernel's own file system is a must.
struct Pseudo {
    index: usize,
    path: &'static CStr,
    magic: i64,
}

/// What was found at its path.
enum Top {
    Missing,
    /// A directory of the image, where the configuration mounts nothing.
    Plain,
    /// The kernel's file system.
    Kernel(Fd),
}

/// Which of them the path lies in, and the rest of the path.
fn pseudo(path: &'static CStr) -> Option<(Pseudo, &'static CStr)> {
    let bytes = path.to_bytes_with_nul();
    let rest = |prefix: &[u8]| CStr::from_bytes_until_nul(bytes.strip_prefix(prefix)?).ok();
    let proc = Pseudo { index: 0, path: c"/proc", magic: PROC_SUPER_MAGIC };
    let sys = Pseudo { index: 1, path: c"/sys", magic: SYSFS_MAGIC };
    rest(b"/proc/").map(|rest| (proc, rest)).or_else(|| rest(b"/sys/").map(|rest| (sys, rest)))
}

fn same_object(left: Fd, right: Fd) -> bool {
    let (Ok(left), Ok(right)) = (sys::stat(left), sys::stat(right)) else {
        return false;
    };
    (left.ino, left.dev_major, left.dev_minor) == (right.ino, right.dev_major, right.dev_minor)
}

impl Init {
    /// Looks a path up that is to be hidden; below /proc and /sys only on the kernel's own file
    /// systems. None if nothing is there, or one of our own masks already.
    fn place(&mut self, path: &'static CStr) -> Result<Option<Fd>> {
        let Some((pseudo, rest)) = pseudo(path) else {
            return self.ordinary_place(path);
        };
        let top = match self.pseudo_top(&pseudo)? {
            Top::Missing => return Ok(None),
            Top::Plain => return self.ordinary_place(path),
            Top::Kernel(fd) => fd,
        };
        // On the same mount, so that the check of the top is enough.
        let resolve =
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
        match sys::openat2(top, rest, O_PATH, resolve) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno(ENOENT)) => return Ok(None),
            Err(Errno(EXDEV | ELOOP)) => {}
            Err(errno) => return Err(errno).about(Op::Open, path),
        }
        let place = self.ordinary_place(path)?;
        let Some(fd) = place else {
            return Ok(None);
        };
        let magic = sys::filesystem(fd).about(Op::Statfs, path)?;
        // What is mounted below them is the kernel's own too, as no image can make such a thing.
        let kernels = [PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC];
        if kernels.contains(&magic) {
            return Ok(Some(fd));
        }
        if self.is_mask(fd) {
            return Ok(None);
        }
        Err(Errno(EINVAL)).about(Op::WrongFilesystem, path)
    }

    fn ordinary_place(&mut self, path: &'static CStr) -> Result<Option<Fd>> {
        match self.look_up(path, O_PATH, 0) {
            Err(Errno(ENOENT)) => Ok(None),
            other => other.about(Op::Open, path).map(Some),
        }
    }

    /// The checked descriptor of /proc or /sys.
    fn pseudo_top(&mut self, pseudo: &Pseudo) -> Result<Top> {
        if let Some(&fd) = self.pseudo.get(pseudo.index).filter(|fd| **fd >= 0) {
            return Ok(Top::Kernel(fd));
        }
        let top = match self.look_up(pseudo.path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS) {
            Err(Errno(ENOENT)) => return Ok(Top::Missing),
            other => other.about(Op::Open, pseudo.path)?,
        };
        if sys::filesystem(top).about(Op::Statfs, pseudo.path)? != pseudo.magic {
            // What the configuration mounts there must be there; else it is a directory of the image.
            if self.pseudo_attached.get(pseudo.index) != Some(&true) {
                return Ok(Top::Plain);
            }
            return Err(Errno(EINVAL)).about(Op::WrongFilesystem, pseudo.path);
        }
        if let Some(kept) = self.pseudo.get_mut(pseudo.index) {
            *kept = top;
        }
        Ok(Top::Kernel(top))
    }

    /// Whether the descriptor is one of our own masks.
    fn is_mask(&self, fd: Fd) -> bool {
        same_object(fd, self.mask_directory.0) || same_object(fd, self.mask_file.0)
    }

    pub fn readonly_path(&mut self, path: &'static CStr) -> Result {
        let Some(fd) = self.place(path)? else {
            return Ok(());
        };
        let tree = match sys::clone_tree_with(fd, AT_RECURSIVE, &READONLY) {
            // Before Linux 6.15, or behind a filter that does not know the call.
            Err(Errno(ENOSYS | EPERM)) => {
                let tree = sys::clone_tree(fd, c"", AT_RECURSIVE).about(Op::OpenTree, path)?;
                set_attributes(tree, &READONLY, AT_RECURSIVE)?;
                tree
            }
            other => other.about(Op::OpenTree, path)?,
        };
        sys::move_mount(tree, fd).about(Op::MoveMount, path)?;
        self.done_with(tree);
        self.done_with(fd);
        Ok(())
    }

    pub fn mask_path(&mut self, path: &'static CStr, null: Slot) -> Result {
        let Some(fd) = self.place(path)? else {
            return Ok(());
        };
        if self.spare < 0 {
            self.spare = self.file_mask(null)?;
        }
        // Tried as a file first: the kernel answers EINVAL when one of the two is a directory, which
        // is cheaper than asking what the path is.
        match sys::move_mount(self.spare, fd) {
            Ok(_) => {
                self.spare = -1;
                self.mask_file.1 = true;
            }
            Err(Errno(EINVAL)) => {
                let mask = self.directory_mask()?;
                sys::move_mount(mask, fd).about(Op::MoveMount, path)?;
                self.mask_directory.1 = true;
            }
            Err(errno) => return Err(errno).about(Op::MoveMount, path),
        }
        self.done_with(fd);
        Ok(())
    }

    /// A mount that hides a file. The first one is attached itself; older kernels copy only what is
    /// attached.
    fn file_mask(&mut self, null: Slot) -> Result<Fd> {
        let (kept, attached) = self.mask_file;
        if kept >= 0 && attached {
            return sys::clone_tree(kept, c"", 0).during(Op::OpenTree);
        }
        let null = self.slot(null)?;
        let attributes = MountAttr {
            set: MOUNT_ATTR_RDONLY,
            // The copy of a shared mount of the host would carry mounts made on it there.
            propagation: MS_PRIVATE,
            ..MountAttr::default()
        };
        set_attributes(null, &attributes, 0)?;
        self.mask_file = (null, false);
        Ok(null)
    }

    /// A mount that hides a directory: an empty tmpfs, made here if no step has done so.
    fn directory_mask(&mut self) -> Result<Fd> {
        match self.mask_directory {
            (kept, true) => return sys::clone_tree(kept, c"", 0).during(Op::OpenTree),
            (kept, false) if kept >= 0 => return Ok(kept),
            _ => {}
        }
        let options = List::new(b"").ok_or(Errno(EINVAL)).during(Op::Decode)?;
        let mount = new_filesystem(&Filesystem {
            kind: c"tmpfs",
            source: c"",
            options,
            attributes: MOUNT_ATTR_RDONLY
                | MOUNT_ATTR_NOSUID
                | MOUNT_ATTR_NODEV
                | MOUNT_ATTR_NOEXEC,
        })?;
        self.mask_directory = (mount, false);
        Ok(mount)
    }
}
