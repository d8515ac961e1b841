//! Mounts and paths by descriptor.

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::check;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC.cast_unsigned();
const AT_RECURSIVE: libc::c_uint = 0x8000;

fn owned(value: libc::c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(value)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A detached copy of the mount at `path`, with all mounts below it if `recursive`
/// (open_tree(2), `OPEN_TREE_CLONE`). The target itself is not opened, so a dead network or FUSE
/// server cannot block the call.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the mount namespace, or what the look-up of the path gives.
pub(crate) fn open_tree(path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}
