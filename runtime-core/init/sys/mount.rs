//! Mounts.

use core::ffi::CStr;

use super::{Fd, Result, call, small};
use crate::abi::{
    AT_EMPTY_PATH, FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC,
    FSPICK_CLOEXEC, FSPICK_EMPTY_PATH, MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH, MountAttr,
    OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE,
};

pub fn fsopen(kind: &CStr) -> Result<Fd> {
    call!(FSOPEN, kind, FSOPEN_CLOEXEC).map(small)
}

pub fn fsconfig_flag(fs: Fd, key: &CStr) -> Result<usize> {
    call!(FSCONFIG, fs, FSCONFIG_SET_FLAG, key, 0usize, 0u32)
}

pub fn fsconfig_string(fs: Fd, key: &CStr, value: &CStr) -> Result<usize> {
    call!(FSCONFIG, fs, FSCONFIG_SET_STRING, key, value, 0u32)
}

/// `FSCONFIG_CMD_CREATE` or `FSCONFIG_CMD_RECONFIGURE`.
pub fn fsconfig_command(fs: Fd, command: u32) -> Result<usize> {
    call!(FSCONFIG, fs, command, 0usize, 0usize, 0u32)
}

/// The file system on whose root `place` is.
pub fn fspick(place: Fd) -> Result<Fd> {
    call!(FSPICK, place, c"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH).map(small)
}

pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> Result<usize> {
    call!(MOUNT, source, target, kind, flags, data)
}

pub fn fsmount(fs: Fd, attributes: u64) -> Result<Fd> {
    call!(FSMOUNT, fs, FSMOUNT_CLOEXEC, attributes).map(small)
}

/// A detached copy of the mount at `path`, or of the descriptor's own if the path is empty.
pub fn clone_tree(dir: Fd, path: &CStr, flags: u32) -> Result<Fd> {
    let flags = flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | empty(path);
    call!(OPEN_TREE, dir, path, flags).map(small)
}

/// As [`clone_tree`], with attributes, in one call (Linux 6.15).
pub fn clone_tree_with(fd: Fd, flags: u32, attributes: &MountAttr) -> Result<Fd> {
    let flags = flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    let attributes: *const MountAttr = attributes;
    call!(OPEN_TREE_ATTR, fd, c"", flags, attributes, size_of::<MountAttr>()).map(small)
}

/// Attaches the detached tree `from` on top of what `to` is.
pub fn move_mount(from: Fd, to: Fd) -> Result<usize> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    call!(MOVE_MOUNT, from, c"", to, c"", flags)
}

pub fn mount_setattr(dir: Fd, path: &CStr, flags: u32, attributes: &MountAttr) -> Result<usize> {
    let flags = flags | empty(path);
    let attributes: *const MountAttr = attributes;
    call!(MOUNT_SETATTR, dir, path, flags, attributes, size_of::<MountAttr>())
}

pub fn pivot_root(new: &CStr, old: &CStr) -> Result<usize> {
    call!(PIVOT_ROOT, new, old)
}

pub fn umount(path: &CStr, flags: u32) -> Result<usize> {
    call!(UMOUNT2, path, flags)
}

fn empty(path: &CStr) -> u32 {
    if path.is_empty() { AT_EMPTY_PATH } else { 0 }
}
