//! What a container uses, and what happens to it.

use super::{Container, Status};
use crate::cgroup::{OomWatch, PressureTrigger, PressureWatch, Stats};
use crate::error::Result;
use crate::rdt::Group;
use crate::rdt::stats::RdtStats;

impl Container {
    /// The statistics of its cgroup.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) (`container not running`) when it is
    /// stopped or has no cgroup; a file that cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        self.accountable()?;
        self.cgroup()?.stats()
    }

    /// The shares of its class of service (Intel RDT) and what it uses of them; `None` for a container
    /// without one.
    ///
    /// # Errors
    /// As [`stats`](Self::stats).
    pub fn rdt_stats(&self) -> Result<Option<RdtStats>> {
        Ok(self.running_record()?.resctrl.as_ref().map(Group::stats))
    }

    /// The statistics of its cgroup as they are, whether the init process lives or not: until the
    /// container is deleted they tell what it has used.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) when it has no cgroup or is being created;
    /// a file that cannot be read, or is gone.
    pub fn stats_at_end(&self) -> Result<Stats> {
        self.with_cgroup()?;
        self.cgroup()?.stats()
    }

    /// A watch for its out-of-memory kills, a descriptor to poll. It outlives this handle.
    ///
    /// # Errors
    /// As [`stats`](Self::stats), or when there is no memory controller.
    pub fn oom_watch(&self) -> Result<OomWatch> {
        self.accountable()?;
        self.cgroup()?.oom_watch()
    }

    /// A watch for pressure: tasks that wait too long for a processor, for memory or for block I/O. A
    /// descriptor to poll, which outlives this handle. The figures are in [`stats`](Self::stats).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use coracle::{PressureResource, PressureTasks, PressureTrigger};
    ///
    /// # fn watch(container: &coracle::Container) -> coracle::Result<()> {
    /// let watch = container.pressure_watch(&PressureTrigger {
    ///     resource: PressureResource::Memory,
    ///     tasks: PressureTasks::Some,
    ///     stall: Duration::from_millis(150),
    ///     window: Duration::from_secs(2),
    /// })?;
    /// // Poll it for `watch.events()`.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`stats`](Self::stats); a kernel without such accounts
    /// ([`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) without cgroup v2), or one that refuses
    /// the threshold.
    pub fn pressure_watch(&self, trigger: &PressureTrigger) -> Result<PressureWatch> {
        self.accountable()?;
        self.cgroup()?.pressure_watch(trigger)
    }

    fn accountable(&self) -> Result<()> {
        match self.status()? {
            Status::Created | Status::Running | Status::Paused => self.with_cgroup(),
            _ => Err(self.not_running()),
        }
    }

    fn with_cgroup(&self) -> Result<()> {
        let record = self.record()?;
        if record.cgroup.is_empty() {
            return Err(self.wrong_status("a container without a cgroup has no statistics"));
        }
        Ok(())
    }
}
