//! Directories, links and device nodes.

use core::ffi::CStr;

use crate::abi::{
    AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, EEXIST, ENOSYS, EPERM, PERMISSIONS, S_IFBLK, S_IFCHR,
    S_IFMT, S_ISXID,
};
use crate::init::Init;
use crate::path::child;
use crate::program::Op;
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// A node as [`crate::program::Step::Device`] describes it.
pub struct Node {
    pub path: &'static CStr,
    pub mode: u32,
    pub number: (u32, u32),
    pub owner: (u32, u32),
}

impl Init {
    pub fn directory(&mut self, path: &'static CStr, mode: u32) -> Result {
        let (parent, name) = self.parent_of(path)?;
        match sys::mkdirat(parent, name, mode) {
            Err(Errno(EEXIST)) => Ok(()),
            other => other.about(Op::Mkdir, path).map(|_| ()),
        }
    }

    pub fn symlink(&mut self, target: &'static CStr, path: &'static CStr) -> Result {
        let (parent, name) = self.parent_of(path)?;
        match sys::symlinkat(target, parent, name) {
            Err(Errno(EEXIST)) => Ok(()),
            other => other.about(Op::Symlink, path).map(|_| ()),
        }
    }

    pub fn replace_by_symlink(&mut self, target: &'static CStr, path: &'static CStr) -> Result {
        let (parent, name) = self.parent_of(path)?;
        if let Err(errno) = sys::symlinkat(target, parent, name) {
            if errno != Errno(EEXIST) {
                return Err(errno).about(Op::Symlink, path);
            }
            sys::unlinkat(parent, name).about(Op::Unlink, path)?;
            sys::symlinkat(target, parent, name).about(Op::Symlink, path)?;
        }
        Ok(())
    }

    pub fn device(&mut self, node: &Node) -> Result {
        let (parent, name) = self.parent_of(node.path)?;
        match sys::mknodat(parent, name, node.mode, node.number) {
            Ok(_) if node.owner == self.owner && self.is_plain(parent, name, node)? => Ok(()),
            Ok(_) | Err(Errno(EEXIST)) => self.adjust(parent, name, node),
            Err(errno) => Err(errno).about(Op::Mknod, node.path),
        }
    }

    /// Whether nodes of this mode made in the kept directory get exactly that and our own group: an
    /// image's directory may hand on its group or an access control list.
    fn is_plain(&mut self, parent: Fd, name: &'static CStr, node: &Node) -> Result<bool> {
        if self.parent.plain == Some(node.mode) {
            return Ok(true);
        }
        let stat = sys::statx(parent, name, AT_SYMLINK_NOFOLLOW).about(Op::Stat, node.path)?;
        let plain = u32::from(stat.mode) == node.mode && (stat.uid, stat.gid) == node.owner;
        if plain {
            self.parent.plain = Some(node.mode);
        }
        Ok(plain)
    }

    /// Gives an existing node its owner and mode, if it is the right one.
    fn adjust(&mut self, parent: Fd, name: &'static CStr, node: &Node) -> Result {
        let fd = child(parent, name, 0).about(Op::Open, node.path)?;
        let stat = sys::stat(fd).about(Op::Stat, node.path)?;
        let mode = u32::from(stat.mode);
        let kind = mode & S_IFMT;
        let numbered = kind == S_IFCHR || kind == S_IFBLK;
        let number = (stat.rdev_major, stat.rdev_minor);
        if kind != node.mode & S_IFMT || (numbered && number != node.number) {
            return Err(Errno(EEXIST)).about(Op::Mknod, node.path);
        }
        let mut missing = (mode ^ node.mode) & PERMISSIONS;
        if (stat.uid, stat.gid) != node.owner {
            // A change of the owner clears setuid and setgid.
            missing |= mode & S_ISXID;
            let (uid, gid) = node.owner;
            let changed = sys::fchownat(fd, c"", uid, gid, AT_EMPTY_PATH);
            changed.about(Op::Chown, node.path)?;
        }
        if missing != 0 {
            self.change_mode(fd, node)?;
        }
        self.done_with(fd);
        Ok(())
    }

    /// Changes the mode of what the descriptor stands for.
    #[inline(never)]
    fn change_mode(&mut self, fd: Fd, node: &Node) -> Result {
        let mode = node.mode & PERMISSIONS;
        match sys::fchmodat2(fd, c"", mode, AT_EMPTY_PATH) {
            // Before Linux 6.6, or behind a filter that does not know the call.
            Err(Errno(ENOSYS | EPERM)) => {}
            other => return other.about(Op::Chmod, node.path).map(|_| ()),
        }
        let procfs = self.own_procfs()?;
        let mut link = Text::new();
        let built = link.push(b"self/fd/").and_then(|()| link.push_number(fd.unsigned_abs()));
        built.during(Op::Chmod)?;
        sys::fchmodat(procfs, link.as_c_str(), mode).about(Op::Chmod, node.path)?;
        Ok(())
    }
}
