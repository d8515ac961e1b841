//! Sockets, terminals, waiting.

use core::mem::MaybeUninit;

use super::{Errno, Fd, Result, call, small};
use crate::abi::{
    self, InterfaceFlags, Iovec, MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, Message, PollFd, Rights,
    SCM_RIGHTS, SOL_SOCKET, Timespec, WindowSize,
};

/// The bytes of [`Rights`] before its descriptors.
const RIGHTS_HEAD: usize = 16;

/// Sends the parts as one message, with a descriptor unless it is -1.
#[inline(never)]
pub fn send(socket: Fd, parts: [&[u8]; 2], fd: Fd) -> Result<usize> {
    let vector =
        parts.map(|part| Iovec { base: part.as_ptr().expose_provenance(), length: part.len() });
    let rights = Rights {
        length: RIGHTS_HEAD + size_of::<Fd>(),
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fds: one(fd),
    };
    let control = if fd < 0 { 0 } else { (&raw const rights).expose_provenance() };
    let message = Message {
        name: 0,
        name_length: 0,
        iov: vector.as_ptr().expose_provenance(),
        iov_count: vector.len(),
        control,
        // CMSG_SPACE of one descriptor.
        control_length: if fd < 0 { 0 } else { RIGHTS_HEAD + 8 },
        flags: 0,
    };
    call!(SENDMSG, socket, &raw const message, MSG_NOSIGNAL)
}

fn one(fd: Fd) -> [Fd; 250] {
    let mut fds = [0; 250];
    fds[0] = fd;
    fds
}

/// Receives one message into `buffer` and hands each descriptor that comes along to `each`; the
/// length of the message, 0 if the other end is closed.
#[inline(never)]
pub fn receive(socket: Fd, buffer: &mut [u8], mut each: impl FnMut(Fd)) -> Result<usize> {
    let vector =
        Iovec { base: buffer.as_mut_ptr().expose_provenance(), length: size_of_val(buffer) };
    let mut rights = MaybeUninit::<Rights>::uninit();
    let mut message = Message {
        name: 0,
        name_length: 0,
        iov: (&raw const vector).expose_provenance(),
        iov_count: 1,
        control: rights.as_mut_ptr().expose_provenance(),
        control_length: size_of::<Rights>(),
        flags: 0,
    };
    let length = call!(RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC)?;
    // The kernel has written through the address of `message`.
    // SAFETY: a live local.
    let (used, flags) = unsafe {
        let message = &raw const message;
        (
            (&raw const (*message).control_length).read_volatile(),
            (&raw const (*message).flags).read_volatile(),
        )
    };
    if flags.cast_signed() & abi::MSG_CTRUNC.cast_signed() != 0 {
        return Err(Errno(abi::EPROTO));
    }
    if used > RIGHTS_HEAD {
        let count = (used - RIGHTS_HEAD) / size_of::<Fd>();
        // SAFETY: the kernel has written `used` bytes: the head and that many descriptors, of which
        // the head's length tells the exact number.
        unsafe {
            let head = rights.as_ptr();
            let exact = (*head).length.saturating_sub(RIGHTS_HEAD) / size_of::<Fd>();
            for at in 0..count.min(exact) {
                each((&raw const (*head).fds).cast::<Fd>().add(at).read());
            }
        }
    }
    Ok(length)
}

pub fn accept(listener: Fd) -> Result<Fd> {
    call!(ACCEPT4, listener, 0usize, 0usize, abi::SOCK_CLOEXEC).map(small)
}

/// The user of the process at the other end.
pub fn peer_uid(socket: Fd) -> Result<u32> {
    let mut credentials = [0u32; 3];
    let mut length = 12u32;
    let target = credentials.as_mut_ptr();
    call!(GETSOCKOPT, socket, abi::SOL_SOCKET, abi::SO_PEERCRED, target, &raw mut length)?;
    // SAFETY: a live local of three words.
    Ok(unsafe { target.add(1).read_volatile() })
}

/// Sets the flags of `lo` to up.
pub fn loopback_up(socket: Fd) -> Result<usize> {
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = InterfaceFlags { name, flags: abi::IFF_UP | abi::IFF_RUNNING, rest: [0; 22] };
    call!(IOCTL, socket, abi::SIOCSIFFLAGS, &raw const request)
}

/// A socket that serves only for interface requests. The unix family knows them too and is always
/// there.
pub fn request_socket() -> Result<Fd> {
    call!(SOCKET, abi::AF_UNIX, abi::SOCK_DGRAM | abi::SOCK_CLOEXEC, 0u32).map(small)
}

/// Lets the other end of a terminal be opened.
pub fn unlock_terminal(master: Fd) -> Result<usize> {
    let off = 0i32;
    call!(IOCTL, master, abi::TIOCSPTLCK, &raw const off)
}

/// Opens the other end of a terminal, by its master and not by a path.
pub fn terminal_peer(master: Fd) -> Result<Fd> {
    let flags = abi::O_RDWR | abi::O_NOCTTY | abi::O_CLOEXEC;
    call!(IOCTL, master, abi::TIOCGPTPEER, flags).map(small)
}

pub fn window_size(terminal: Fd, rows: u16, columns: u16) -> Result<usize> {
    let size = WindowSize { rows, columns, width: 0, height: 0 };
    call!(IOCTL, terminal, abi::TIOCSWINSZ, &raw const size)
}

/// Makes the terminal the session's.
pub fn control_terminal(terminal: Fd) -> Result<usize> {
    call!(IOCTL, terminal, abi::TIOCSCTTY, 0usize)
}

/// Waits until something happens on one of the two, for a time if one is given; what happened. A
/// descriptor of -1 is ignored. The time goes on where a signal interrupts the call: the kernel
/// writes what remains back.
pub fn poll(fds: [(Fd, i16); 2], milliseconds: Option<u64>) -> Result<[i16; 2]> {
    let mut set = fds.map(|(fd, events)| PollFd { fd, events, revents: 0 });
    let total = milliseconds.unwrap_or(0);
    let mut time = Timespec {
        seconds: i64::try_from(total / 1000).unwrap_or(i64::MAX),
        nanoseconds: i64::try_from(total % 1000).unwrap_or(0) * 1_000_000,
    };
    let time = milliseconds.map_or(core::ptr::null_mut(), |_| &raw mut time);
    let target = set.as_mut_ptr();
    call!(PPOLL, target, 2usize, time, 0usize, 8usize)?;
    // SAFETY: a live local of two entries.
    Ok(unsafe { [0, 1].map(|at| (&raw const (*target.add(at)).revents).read_volatile()) })
}
