//! System calls that nix lacks or cannot make safe.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
