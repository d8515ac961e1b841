//! Handing the master of a container's terminal to whoever runs the container.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

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
    stream::send(socket, &name, master.as_fd(), "send the terminal to the console socket")
}
