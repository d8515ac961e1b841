//! The socket between the caller and the init program.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::program::{FDS_PER_MESSAGE, REPORT_TEXT, Report};
use crate::sys::{file, socket};

/// The caller's end.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

/// What the init program says.
#[derive(Debug)]
pub(crate) struct Message {
    /// The fixed part.
    pub(crate) report: Report,
    /// Words of the kernel or of the init program, often none.
    pub(crate) text: String,
    /// A descriptor that came along.
    pub(crate) fd: Option<OwnedFd>,
}

impl Message {
    /// Reads a message; `None` for bytes that are none.
    pub(crate) fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Option<Self> {
        let (report, text) = Report::from_bytes(bytes)?;
        Some(Self { report, text: String::from_utf8_lossy(text).into_owned(), fd })
    }
}

impl Control {
    /// A socket and its other end, which is for the init program.
    ///
    /// # Errors
    /// The failure of socketpair.
    pub(crate) fn pair() -> Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .attempt("make a pair of sockets")?;
        Ok((Self(ours), theirs))
    }

    /// As [`Self::pair`], with the other end above as many descriptors of the payload's from 3 on: where the
    /// caller has left gaps between them, the lowest free number lies in one, and would be handed on.
    ///
    /// # Errors
    /// As [`Self::pair`]; `EINVAL` or `EMFILE` where no number above is free (`RLIMIT_NOFILE`).
    pub(crate) fn pair_above(keep_fds: u32) -> Result<(Self, OwnedFd)> {
        let (control, theirs) = Self::pair()?;
        let first = RawFd::try_from(keep_fds.saturating_add(3)).unwrap_or(RawFd::MAX);
        if theirs.as_raw_fd() >= first {
            return Ok((control, theirs));
        }
        let moved = file::duplicate_above(theirs.as_fd(), first)
            .attempt("move the control socket above the preserved descriptors")
            .map_err(|error| error.with_hint("the limit of open files leaves no room there"))?;
        Ok((control, moved))
    }

    /// Sends the program and the descriptors of its slots; they wait in the socket until the init
    /// program has started.
    ///
    /// # Errors
    /// The failure of sendmsg.
    pub(crate) fn send_program(&self, program: BorrowedFd<'_>, slots: &[OwnedFd]) -> Result<()> {
        let mut fds: Vec<RawFd> = Vec::with_capacity(slots.len() + 1);
        fds.push(program.as_raw_fd());
        fds.extend(slots.iter().map(AsRawFd::as_raw_fd));
        for batch in fds.chunks(FDS_PER_MESSAGE) {
            self.send_with(b"p", batch)?;
        }
        Ok(())
    }

    /// Sends one message: leave to pass a gate, or the filter.
    ///
    /// # Errors
    /// The failure of sendmsg. That the init program has ended is none: [`Self::receive`] tells it.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        self.send_with(bytes, &[])
    }

    fn send_with(&self, bytes: &[u8], fds: &[RawFd]) -> Result<()> {
        let rights = [ControlMessage::ScmRights(fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let parts = [IoSlice::new(bytes)];
        match sendmsg::<()>(self.0.as_raw_fd(), &parts, control, flags, None) {
            // It has ended; its last report, which is still to be received, says why.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            sent => sent.attempt("send to the init program").map(drop),
        }
    }

    /// Waits for the next message; `None` when the init program has closed its end or ended.
    ///
    /// # Errors
    /// The failure of poll or recvmsg, or a message that is none.
    pub(crate) fn receive(&self, process: BorrowedFd<'_>) -> Result<Option<Message>> {
        if !self.has_message(process)? {
            return Ok(None);
        }
        let mut buffer = [0; Report::LENGTH + REPORT_TEXT];
        let (length, fds) = socket::receive(self.0.as_fd(), &mut buffer)
            .attempt("receive from the init program")?;
        if length == 0 {
            return Ok(None);
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        let message = Message::decode(bytes, fds.into_iter().next());
        message.map(Some).ok_or_else(|| {
            Error::new(ErrorKind::System, "the init program sent a malformed report")
        })
    }

    /// Waits until there is a message or the process has ended without one. The end of the socket is
    /// not enough: a thread of the caller that forks at the wrong moment holds it open.
    fn has_message(&self, process: BorrowedFd<'_>) -> Result<bool> {
        let socket = || PollFd::new(self.0.as_fd(), PollFlags::POLLIN);
        loop {
            let mut both = [socket(), PollFd::new(process, PollFlags::POLLIN)];
            match poll(&mut both, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno).attempt("wait for the init program"),
            }
            let [first, _] = both;
            if first.any() != Some(false) {
                return Ok(true);
            }
            // It may have sent its last words after the socket was looked at.
            match poll(&mut [socket()], PollTimeout::ZERO) {
                Err(Errno::EINTR) => {}
                looked => {
                    return looked.map(|count| count > 0).attempt("wait for the init program");
                }
            }
        }
    }
}
