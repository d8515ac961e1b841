//! How a process ended.

use std::fs;
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

    /// Waits for the init process to end, whoever its parent is, and leaves the reaping to that one.
    /// `None` if how it ended cannot be told: its parent was faster, and the kernel is older than
    /// Linux 6.15 and keeps nothing; or the caller may not look at a process of another user.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) if it was reaped before the
    /// container was looked for, or is still being created.
    pub fn wait_for_end(&self) -> Result<Option<ExitStatus>> {
        let record = self.record()?;
        let pidfd = self.pidfd().ok_or_else(|| self.not_running())?;
        pidfd::ended_within(pidfd, None).attempt("wait for the process")?;
        let ended = pidfd::ended(pidfd)
            .or_else(|| status_of_zombie(record.init.pid, pidfd))
            // It can be reaped between the two looks.
            .or_else(|| pidfd::ended(pidfd));
        Ok(ended.map(ExitStatus::of))
    }
}

impl ExitStatus {
    fn of(ended: Ended) -> Self {
        match ended {
            Ended::Exited(status) => Self::Exited(status),
            Ended::Signaled(signal) => Self::Signaled(signal),
        }
    }
}

/// How a process ended that nobody has reaped yet: field 52 of /proc/PID/stat (proc_pid_stat(5)).
fn status_of_zombie(pid: i32, pidfd: BorrowedFd<'_>) -> Option<Ended> {
    // Who may not trace the process reads a 0 there, and may not read this link either.
    fs::read_link(format!("/proc/{pid}/ns/user")).ok()?;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let status = after_name.split_ascii_whitespace().nth(49)?.parse().ok()?;
    // Until it is reaped it can be signalled, and its number belongs to no other process.
    pidfd::send_signal(pidfd, 0).ok()?;
    Some(Ended::of_wait_status(status))
}

/// Waits for a child and reaps it.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> Result<ExitStatus> {
    pidfd::wait(pidfd).attempt("wait for the process").map(ExitStatus::of)
}
