//! Messages with descriptors.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Receives one message of a packet socket and the descriptors that came along (at most four; more
/// would be closed by the kernel). A length of 0 is the end.
///
/// # Errors
/// The failure of recvmsg(2); interruptions are retried.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut reset = false;
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EINTR) => continue,
            // The other end has closed with a message of ours unread. What it sent itself comes
            // after this error, which the kernel tells once (unix(7)).
            Err(nix::errno::Errno::ECONNRESET) if !reset => {
                reset = true;
                continue;
            }
            Err(nix::errno::Errno::ECONNRESET) => return Ok((0, Vec::new())),
            Err(errno) => return Err(errno.into()),
        };
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                // SAFETY: the kernel has just installed these descriptors; nobody else owns them.
                fds.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        return Ok((message.bytes, fds));
    }
}
