//! How a process ended.

use std::os::fd::BorrowedFd;

use super::Container;
use crate::error::{Attempt, Result};
use crate::sys::pidfd::{self, Ended};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By exit with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl ExitStatus {
    /// The status as shells tell it: that of exit, or 128 plus the signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

impl Container {
    /// Waits for the init process to end and reaps it.
    ///
    /// # Errors
    /// Only the process that created the container can wait for it; others may poll
    /// [`Container::pidfd`].
    pub fn wait(&self) -> Result<ExitStatus> {
        match self.pidfd() {
            Some(pidfd) => reap(pidfd),
            None => Err(self.not_running()),
        }
    }
}

/// Waits for a child and reaps it.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> Result<ExitStatus> {
    Ok(match pidfd::wait(pidfd).attempt("wait for the process")? {
        Ended::Exited(status) => ExitStatus::Exited(status),
        Ended::Signaled(signal) => ExitStatus::Signaled(signal),
    })
}
