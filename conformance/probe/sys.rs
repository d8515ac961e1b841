//! The few system calls that have no safe wrapper.
#![allow(unsafe_code, reason = "raw system calls are what the probe exists to make")]

use std::ffi::CStr;
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
