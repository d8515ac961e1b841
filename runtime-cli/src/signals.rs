//! The signals of a command that waits in the foreground.

use std::os::fd::{AsFd, BorrowedFd};

use coracle::Error;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals sent to this process, kept until they are read.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks all signals but SIGCHLD and SIGURG, and keeps them for [`next`](Self::next).
    ///
    /// This comes before the container is created, so that none is lost and none kills the command
    /// half way. SIGCHLD says nothing that the pidfd does not; SIGURG is what Go programs
    /// interrupt their own threads with.
    ///
    /// # Errors
    /// The failed system call.
    pub(crate) fn block() -> Result<Self, Error> {
        let mut set = SigSet::all();
        set.remove(Signal::SIGCHLD);
        set.remove(Signal::SIGURG);
        set.thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            })
            .map(Self)
            .map_err(|errno| Error::system("catch signals", errno as i32))
    }

    /// The number of the next signal that has come.
    pub(crate) fn next(&self) -> Option<i32> {
        let info = self.0.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok()
    }

    /// Readable when a signal has come.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
