//! Stopping the processes of a container where they are, and letting them go on.

use super::{Container, Status};
use crate::error::Result;

impl Container {
    /// Freezes the container's cgroup and returns when all its processes stand.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) (`container not running`) unless it is
    /// created or running, or has no cgroup; processes that do not stand after ten seconds.
    pub fn pause(&self) -> Result<()> {
        // A creation holds the lock, and may wait for a hook.
        let record = self.record()?;
        let _directory = self.lock()?;
        match self.status()? {
            Status::Created | Status::Running if record.cgroup.is_empty() => {
                Err(self.wrong_status("a container without a cgroup cannot be paused"))
            }
            Status::Created | Status::Running => self.cgroup()?.freeze(),
            _ => Err(self.not_running()),
        }
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) (`container not paused`) unless it is
    /// paused.
    pub fn resume(&self) -> Result<()> {
        self.record()?;
        let _directory = self.lock()?;
        match self.status()? {
            Status::Paused => self.cgroup()?.thaw(),
            _ => Err(self.wrong_status("container not paused")),
        }
    }
}
