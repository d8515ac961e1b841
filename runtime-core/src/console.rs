//! Handing the master of a container's terminal to whoever runs the container.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::error::{Attempt, Result};
use crate::sys::{stream, terminal};

/// Connects to a console socket: done before anything is created, so that a wrong path costs nothing.
///
/// # Errors
/// The failure of connect, with the path; [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if nobody
/// serves the socket.
pub(crate) fn connect(path: &Path) -> Result<UnixStream> {
    stream::connect(path, "the console socket")
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
