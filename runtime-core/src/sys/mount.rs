//! Mounts and paths by descriptor.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC.cast_unsigned();
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
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
    let clear = libc::mount_attr {
        attr_set: 0,
        attr_clr: libc::MOUNT_ATTR_NODEV,
        propagation: 0,
        userns_fd: 0,
    };
    set_attributes(tree, clear, false)
}

/// Sets how the events of a detached mount travel (an `MS_*` kind), or those of all mounts of the tree if
/// `recursive` (mount_setattr(2)).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the mount namespace.
pub(crate) fn propagate(tree: BorrowedFd<'_>, kind: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: kind, userns_fd: 0 };
    set_attributes(tree, attributes, recursive)
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

/// Begins a new file system of the type (fsopen(2)).
///
/// # Errors
/// `ENODEV` for a type that the kernel does not know, `EPERM` without `CAP_SYS_ADMIN`.
pub(crate) fn fsopen(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `kind` is a NUL-terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// Gives it an option, with or without a value (fsconfig(2)).
///
/// # Errors
/// `EINVAL` for an option that the file system does not have.
pub(crate) fn fsconfig_set(fs: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> io::Result<()> {
    let (command, value) = match value {
        Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
        None => (FSCONFIG_SET_FLAG, std::ptr::null()),
    };
    // SAFETY: both are NUL-terminated strings that outlive the call, or for a flag no value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key.as_ptr(), value, 0)
    })
    .map(drop)
}

/// Makes the file system and a detached mount of it with the `MOUNT_ATTR_*` flags (fsmount(2)).
///
/// # Errors
/// Whatever the file system finds wrong with its options or its source.
pub(crate) fn fsmount(fs: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither a key nor a value.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0)
    })?;
    // SAFETY: the call takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
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
