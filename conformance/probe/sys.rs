//! The few system calls that have no safe wrapper.
#![allow(unsafe_code, reason = "raw system calls are what the probe exists to make")]

use std::ffi::CStr;
use std::ffi::CString;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The result of a system call given by number, with up to six plain numbers as arguments.
///
/// # Errors
/// The errno of the call.
pub(crate) fn raw_syscall(number: libc::c_long, args: [libc::c_long; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the callers pass numbers only (zero, flags, bad pointers that the kernel refuses);
    // no call of the table in `ops` writes through a pointer that the process owns.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(result)
}

/// Two names change places.
///
/// # Errors
/// The errno of renameat2(2).
pub(crate) fn exchange(one: &CStr, other: &CStr) -> Result<(), Errno> {
    let (here, flags) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: both pointers are to strings with a NUL at the end that outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_renameat2, here, one.as_ptr(), here, other.as_ptr(), flags)
    };
    Errno::result(result).map(drop)
}

/// Ignores one signal from now on.
///
/// # Errors
/// The errno of sigaction(2).
pub(crate) fn ignore(which: Signal) -> Result<(), Errno> {
    // SAFETY: SIG_IGN installs no handler, so no code runs in signal context.
    unsafe { signal(which, SigHandler::SigIgn) }.map(|_| ())
}

/// Rows and columns of the terminal behind a descriptor.
pub(crate) fn window_size(fd: i32) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid, writable winsize for the whole call.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0).then_some((size.ws_row, size.ws_col))
}

/// Up to 4096 bytes read from an inherited descriptor, which stays open.
///
/// # Errors
/// The errno of read(2).
pub(crate) fn read_descriptor(fd: i32) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0_u8; 4096];
    // SAFETY: the pointer and length describe `buffer`, which outlives the call.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    let count = usize::try_from(Errno::result(count)?).unwrap_or(0);
    buffer.truncate(count);
    Ok(buffer)
}

/// One message of a stream socket with the descriptors that come with it.
///
/// # Errors
/// The errno of recvmsg(2).
pub(crate) fn receive(socket: &UnixStream) -> Result<(String, Vec<OwnedFd>), Errno> {
    let mut buffer = [0_u8; 4096];
    let mut control = nix::cmsg_space!([RawFd; 4]);
    let mut vectors = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vectors, Some(&mut control), flags)?;
    let count = message.bytes;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(list) = part {
            // SAFETY: the kernel has just installed these descriptors for us; nobody else owns them.
            descriptors.extend(list.iter().map(|raw| unsafe { OwnedFd::from_raw_fd(*raw) }));
        }
    }
    let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
    Ok((text, descriptors))
}

/// Policy, flags, nice value, priority, run time, deadline and period of this process.
///
/// # Errors
/// The errno of sched_getattr(2).
pub(crate) fn scheduling() -> Result<[i64; 7], Errno> {
    let mut words = [0_u32; 14];
    // SAFETY: the kernel writes at most the 56 bytes that the array has.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, words.as_mut_ptr(), 56_u32, 0_u32) };
    Errno::result(result)?;
    let [_size, policy, flags, _, nice, priority, runtime, rh, deadline, dh, period, ph, _, _] =
        words;
    let wide = |low: u32, high: u32| i64::from(high) << 32 | i64::from(low);
    Ok([
        policy.into(),
        flags.into(),
        nice.cast_signed().into(),
        priority.into(),
        wide(runtime, rh),
        wide(deadline, dh),
        wide(period, ph),
    ])
}

/// The mode with flags of the memory policy, and the first 64 nodes as bits.
///
/// # Errors
/// The errno of get_mempolicy(2).
pub(crate) fn memory_policy() -> Result<(i32, u64), Errno> {
    let mut mode: libc::c_int = 0;
    let mut nodes = [0_u64; 32];
    // SAFETY: both are writable for the whole call, and the mask has the 2048 bits that are named.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            nodes.as_mut_ptr(),
            2048_usize,
            std::ptr::null::<u8>(),
            0,
        )
    };
    Errno::result(result)?;
    let [first, ..] = nodes;
    Ok((mode, first))
}

/// Serial number and description of the session keyring (keyctl(2)).
///
/// # Errors
/// The errno of keyctl(2).
pub(crate) fn session_keyring() -> Result<(i64, String), Errno> {
    const SESSION: libc::c_int = -3;
    const GET_KEYRING_ID: libc::c_int = 0;
    const DESCRIBE: libc::c_int = 6;
    // SAFETY: the call takes numbers only.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) };
    let serial = Errno::result(serial)?;
    let mut text = [0_u8; 512];
    // SAFETY: the pointer and length describe `text`, which outlives the call.
    let length = unsafe {
        libc::syscall(libc::SYS_keyctl, DESCRIBE, SESSION, text.as_mut_ptr(), text.len())
    };
    let length = usize::try_from(Errno::result(length)?).unwrap_or(0).min(text.len());
    let text = text.get(..length).unwrap_or_default();
    let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
    Ok((serial, text))
}

/// The next call that waits for the answer of a listener.
///
/// # Errors
/// The errno of ioctl(2); `ENOENT` if the call waits no more.
pub(crate) fn notification(listener: &OwnedFd) -> Result<libc::seccomp_notif, Errno> {
    let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut call = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: `call` is a valid, writable structure of zeros for the whole call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut call) };
    Errno::result(result).map(|_| call)
}

/// Answers a call.
///
/// # Errors
/// The errno of ioctl(2); `ENOENT` if the call waits no more.
pub(crate) fn respond(
    listener: &OwnedFd,
    mut answer: libc::seccomp_notif_resp,
) -> Result<(), Errno> {
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: `answer` is a valid, writable structure for the whole call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut answer) };
    Errno::result(result).map(drop)
}

/// An extended attribute of a file, without the NUL at its end.
///
/// # Errors
/// The errno of getxattr(2).
pub(crate) fn attribute(path: &str, name: &str) -> Result<Vec<u8>, Errno> {
    let string = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL);
    let (path, name) = (string(path)?, string(name)?);
    let mut value = vec![0_u8; 512];
    // SAFETY: the strings end with a NUL, and the pointer and length describe `value`.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    value.truncate(usize::try_from(Errno::result(length)?).unwrap_or(0));
    if value.last() == Some(&0) {
        value.pop();
    }
    Ok(value)
}
