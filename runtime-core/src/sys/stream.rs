//! Connecting to those who serve a socket.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, setsockopt,
    socket,
};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::{Attempt, Error, ErrorKind, Result};

/// How many seconds the other side may take to make room for a connection or a message.
const BOUND: i64 = 10;

/// Connects to a unix stream socket; `what` names it in errors ("the console socket").
///
/// # Errors
/// The failure of connect, with the path; [`ErrorKind::TimedOut`] if nobody serves the socket for ten
/// seconds.
pub(crate) fn connect(path: &Path, what: &str) -> Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .attempt("make a socket")?;
    // It bounds connect, too (net/unix/af_unix.c, unix_stream_connect), which waits while the queue of
    // the listener is full.
    setsockopt(&fd, SendTimeout, &TimeVal::seconds(BOUND)).attempt("set a time limit")?;
    let failed = |errno: Errno| {
        Error::system(format!("connect to {what}"), errno as i32)
            .with_path(path)
            .with_hint("a listening unix stream socket is needed")
    };
    let (address, _open) = address(path).map_err(failed)?;
    loop {
        match nix::sys::socket::connect(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(fd.into()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let message = format!("nobody has served {what} for {BOUND} s");
                return Err(Error::new(ErrorKind::TimedOut, message).with_path(path));
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Sends a descriptor and, as the data that must go with it, a text; `what` names it in errors ("send the
/// terminal to the console socket").
///
/// # Errors
/// The failure of sendmsg.
pub(crate) fn send(socket: &UnixStream, text: &str, fd: BorrowedFd<'_>, what: &str) -> Result<()> {
    let (parts, fds) = ([IoSlice::new(text.as_bytes())], [fd.as_raw_fd()]);
    let control = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)
        .attempt(what)
        .map(drop)
}

/// The address of a path. One that is too long for an address (unix(7)) is named by a descriptor, which
/// must stay open until the connection is made.
fn address(path: &Path) -> nix::Result<(UnixAddr, Option<OwnedFd>)> {
    match UnixAddr::new(path) {
        Err(Errno::ENAMETOOLONG) => {
            let fd = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            let short = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            Ok((UnixAddr::new(&short)?, Some(fd)))
        }
        address => Ok((address?, None)),
    }
}
