//! Handing the master of a container's terminal to whoever runs the container.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, setsockopt,
    socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::sys::terminal;

/// How many seconds the other side may take to make room for a connection.
const BOUND: i64 = 10;

/// Connects to a console socket: done before anything is created, so that a wrong path costs nothing.
///
/// # Errors
/// The failure of connect, with the path; [`ErrorKind::TimedOut`] if nobody serves the socket.
pub(crate) fn connect(path: &Path) -> Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .attempt("make a socket")?;
    // It bounds connect, too (net/unix/af_unix.c, unix_stream_connect), which waits while the queue of
    // the listener is full.
    setsockopt(&fd, SendTimeout, &TimeVal::seconds(BOUND)).attempt("set a time limit")?;
    let address = UnixAddr::new(path).attempt_on("name the console socket", path)?;
    loop {
        match nix::sys::socket::connect(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(fd.into()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let message = format!("nobody has served the console socket for {BOUND} s");
                return Err(Error::new(ErrorKind::TimedOut, message).with_path(path));
            }
            Err(errno) => {
                return Err(Error::system("connect to the console socket", errno as i32)
                    .with_path(path)
                    .with_hint("a listening unix stream socket is needed"));
            }
        }
    }
}

/// Sends the master as runc does: one message with the name of the terminal as its data.
///
/// # Errors
/// The failure of sendmsg.
pub(crate) fn send(socket: &UnixStream, master: &OwnedFd) -> Result<()> {
    let number = terminal::number(master.as_fd()).attempt("read the number of the terminal")?;
    let name = format!("/dev/pts/{number}");
    let fds = [master.as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(name.as_bytes())],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .attempt("send the terminal to the console socket")
    .map(drop)
}
