//! System calls that nix lacks or cannot make safe.

#![allow(unsafe_code, reason = "system calls")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::{ForkResult, fork};

/// Splits the process in two; `true` in the new one.
///
/// # Errors
/// There are several threads, of which the new process would have one; the failure of the system call.
pub(crate) fn split() -> io::Result<Option<i32>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!(
            "{threads} threads are there, so that none may fork"
        )));
    }
    // SAFETY: there is one thread, so nothing is held that only another one could give back.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        ForkResult::Child => Ok(None),
    }
}

/// Closes what the caller has left open beyond the standard streams. Before anything is opened here.
pub(crate) fn close_inherited() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: nobody in this process has opened any of these.
    let _closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
}

/// Where the code of this program is in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    start: usize,
    length: usize,
}

impl Code {
    /// Looks it up; `None` if it cannot be told.
    pub(crate) fn find() -> Option<Self> {
        let program = std::fs::read_link("/proc/self/exe").ok()?;
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let program = program.to_str()?;
        let own = |line: &&str| line.contains(" r-xp ") && line.ends_with(program);
        let line = maps.lines().find(own)?;
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        Some(Self { start, length: end.checked_sub(start)? })
    }

    /// Takes the pages out of this process. They stay in the page cache, which all processes of the
    /// program share, and come back one by one where they are used.
    pub(crate) fn release(self) {
        let start = std::ptr::without_provenance_mut(self.start);
        // SAFETY: these are unchanged pages of a file; reading one again gives the same content.
        let _released = unsafe { libc::madvise(start, self.length, libc::MADV_DONTNEED) };
    }
}

/// Gives the process group a core scheduling cookie of its own (prctl(2), `PR_SCHED_CORE`).
///
/// # Errors
/// The kernel does not have it.
pub(crate) fn own_cores() -> io::Result<()> {
    const PROCESS_GROUP: libc::c_ulong = 2;
    let own: libc::c_ulong = 0;
    // SAFETY: only numbers are passed.
    let done = unsafe {
        libc::prctl(libc::PR_SCHED_CORE, libc::PR_SCHED_CORE_CREATE, own, PROCESS_GROUP, own)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Length of `struct loop_config` (linux/loop.h), and where its descriptor and flags are.
const LOOP_CONFIG: usize = 304;
const LOOP_FLAGS: usize = 60;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// The number of a loop device that is free.
///
/// # Errors
/// The failure of the system call.
pub(crate) fn free_loop_device(control: BorrowedFd<'_>) -> io::Result<i32> {
    const LOOP_CTL_GET_FREE: libc::c_int = 0x4c82;
    // SAFETY: the request takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    if number >= 0 { Ok(number) } else { Err(io::Error::last_os_error()) }
}

/// Gives a loop device its file; it is free again once nobody uses it.
///
/// # Errors
/// `EBUSY` if somebody else was faster; the failure of the system call.
pub(crate) fn configure_loop_device(
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    read_only: bool,
) -> io::Result<()> {
    const LOOP_CONFIGURE: libc::c_int = 0x4c0a;
    let flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let mut config = [0_u8; LOOP_CONFIG];
    let put = |config: &mut [u8], at: usize, value: [u8; 4]| {
        if let Some(place) = config.get_mut(at..at + value.len()) {
            place.copy_from_slice(&value);
        }
    };
    put(&mut config, 0, file.as_raw_fd().to_ne_bytes());
    put(&mut config, LOOP_FLAGS, flags.to_ne_bytes());
    // SAFETY: the kernel reads a struct loop_config, whose length the array has.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, config.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A process that does nothing, in a user namespace of its own. Its caller kills and reaps it.
///
/// # Errors
/// The failure of the system call.
pub(crate) fn idle_in_user_namespace() -> io::Result<i32> {
    let flags = libc::c_long::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without a stack this is a fork; the child makes system calls only, never returns from
    // here, and touches nothing that another thread could hold.
    unsafe {
        match libc::syscall(libc::SYS_clone, flags, none, none, none, none) {
            0 => loop {
                libc::syscall(libc::SYS_ppoll, none, none, none, none, none);
            },
            -1 => Err(io::Error::last_os_error()),
            pid => i32::try_from(pid).map_err(io::Error::other),
        }
    }
}

fn named(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// A copy of the mount at `path`, attached nowhere; with `recursive` of those below it too.
///
/// # Errors
/// The failure of the system call.
pub(crate) fn copy_mount(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    const OPEN_TREE_CLOEXEC: libc::c_uint = 0o2_000_000;
    const AT_RECURSIVE: libc::c_uint = 0x8000;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
    let path = named(path)?;
    // SAFETY: the path ends with a zero byte.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just given it, and nobody else has it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Maps the ids of a copied mount as the user namespace says.
///
/// # Errors
/// The file system cannot do it; the failure of the system call.
pub(crate) fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let own = u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    // struct mount_attr: set, clear, propagation, namespace.
    let attributes: [u64; 4] = [MOUNT_ATTR_IDMAP, 0, 0, own];
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    let length = size_of_val(&attributes);
    // SAFETY: the path ends with a zero byte, and the structure has the length that is told.
    let done = unsafe {
        let (fd, path) = (mount.as_raw_fd(), c"".as_ptr());
        libc::syscall(libc::SYS_mount_setattr, fd, path, flags, attributes.as_ptr(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Attaches a copied mount.
///
/// # Errors
/// The failure of the system call.
pub(crate) fn attach_mount(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
    let target = named(target)?;
    // SAFETY: both paths end with a zero byte.
    let done = unsafe {
        let (fd, none, flags) = (mount.as_raw_fd(), c"".as_ptr(), MOVE_MOUNT_F_EMPTY_PATH);
        libc::syscall(libc::SYS_move_mount, fd, none, libc::AT_FDCWD, target.as_ptr(), flags)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
