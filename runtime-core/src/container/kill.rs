//! Sending signals.

use std::os::fd::AsFd;

use super::{Container, Known, Signal};
use crate::cgroup;
use crate::error::{Attempt, Result};
use crate::state::{Identity, Record};
use crate::sys::pidfd;

/// Who gets a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillTarget {
    /// The init process.
    #[default]
    Init,
    /// Every process in the container's cgroup.
    All,
}

impl Container {
    /// Sends a signal (runtime-spec, runtime.md "Kill").
    ///
    /// Without a pid namespace of its own the end of the init process does not end the others, so
    /// `SIGKILL` goes to all of them then. It reaches processes of a paused container too.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) (`container not running`) unless it is
    /// created, running or paused.
    pub fn kill(&self, signal: Signal, target: KillTarget) -> Result<()> {
        let Known::Created(record) = &self.known else { return Err(self.not_running()) };
        let shared = !record.has_pid_namespace();
        let all = target == KillTarget::All || (shared && signal == Signal::KILL);
        if all && !record.cgroup.is_empty() {
            return self.kill_all(signal, record);
        }
        let pidfd = record.init.open().ok_or_else(|| self.not_running())?;
        pidfd::send_signal(pidfd.as_fd(), signal.number()).attempt("send the signal")?;
        if signal == Signal::KILL && !record.cgroup.is_empty() {
            self.let_die(&record.init)?;
        }
        Ok(())
    }

    /// Thaws what has been killed. It may be gone at any moment, with its cgroup and its state.
    fn let_die(&self, init: &Identity) -> Result<()> {
        let cgroup = self.cgroup()?;
        if !cgroup.frozen()? {
            return Ok(());
        }
        match cgroup.thaw() {
            Err(error) if init.open().is_some() => Err(error),
            _ => Ok(()),
        }
    }

    fn kill_all(&self, signal: Signal, record: &Record) -> Result<()> {
        let cgroup = self.cgroup()?;
        if record.init.open().is_none()
            && (record.has_pid_namespace() || cgroup.processes()?.is_empty())
        {
            // With a pid namespace no process outlives the init: what is in the cgroup now is another
            // container's, to which the same path was given.
            return Err(self.not_running());
        }
        if signal == Signal::KILL {
            return cgroup.kill();
        }
        cgroup::signal_all(&*cgroup, signal.number())
    }
}
