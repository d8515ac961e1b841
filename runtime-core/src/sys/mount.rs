//! Mounts and paths by descriptor.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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

/// Lets device nodes on a detached mount work (mount_setattr(2), without `MOUNT_ATTR_NODEV`).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the mount namespace, or where the attribute is locked.
pub(crate) fn allow_devices(tree: BorrowedFd<'_>) -> io::Result<()> {
    let clear =
        libc::mount_attr { attr_set: 0, attr_clr: libc::MOUNT_ATTR_NODEV, propagation: 0, userns_fd: 0 };
    set_attributes(tree, clear, false)
}

/// Gives a detached mount, or all mounts of the tree if `recursive`, the ids of a user namespace
/// (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// `EINVAL` where the file system has no id-mapped mounts, `EPERM` without `CAP_SYS_ADMIN` over it.
pub(crate) fn map_ids(
    tree: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?,
    };
    set_attributes(tree, attributes, recursive)
}

fn set_attributes(
    tree: BorrowedFd<'_>,
    mut attributes: libc::mount_attr,
    recursive: bool,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH.cast_unsigned() | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a static string; the attributes outlive the call, which reads as many bytes.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}
