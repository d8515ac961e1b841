//! Changing the limits of a container.

use super::{Container, Status};
use crate::error::Result;
use crate::spec::Resources;

impl Container {
    /// Sets those limits that are present; the others stay. Device rules replace all device rules;
    /// without any the filter stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) (`container not running`) when it is
    /// stopped, a limit that cannot be held, which changes nothing.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let record = self.record()?;
        let _directory = self.lock()?;
        match self.status()? {
            Status::Created | Status::Running | Status::Paused => {}
            _ => return Err(self.not_running()),
        }
        if record.cgroup.is_empty() {
            return Err(self.wrong_status("a container without a cgroup has no limits"));
        }
        self.cgroup()?.update(resources)
    }
}
