//! Containers: one file a verb.

mod announcement;
mod bundle;
mod checkpoint;
mod create;
mod creation;
mod delete;
mod exec;
mod kill;
mod list;
mod load;
mod mounts;
mod notify;
#[cfg(feature = "oci-spec")]
mod oci;
mod options;
mod pause;
mod restore;
mod runtime;
mod signal;
mod start;
mod stats;
mod status;
mod update;
mod wait;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use bundle::Bundle;
pub(crate) use checkpoint::CRIU_CONFIG;
pub use checkpoint::CheckpointOptions;
pub use exec::ExecProcess;
pub use kill::KillTarget;
pub use list::Listed;
pub use options::{CgroupDriver, ConsoleTarget, CreateOptions, ExecOptions, Stdio, UpdateOptions};
pub use restore::RestoreOptions;
pub use runtime::Runtime;
pub use signal::Signal;
pub use status::{State, Status};
pub use wait::ExitStatus;

use crate::cgroup::{self, Manager};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::spec::Process;
use crate::state::{Beginning, Directory, Record};

/// A container that was created: a handle, not its owner. Dropping it changes nothing.
#[derive(Debug)]
pub struct Container {
    runtime: Runtime,
    id: ContainerId,
    known: Known,
    pidfd: Option<OwnedFd>,
    console: Option<OwnedFd>,
}

/// How much the state directory tells.
#[derive(Debug)]
enum Known {
    /// The container was created.
    Created(Box<Record>),
    /// It is being created, or the command that did so was killed.
    Creating { beginning: Option<Beginning>, init: i32, locked: bool },
}

impl Container {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The process settings that were recorded when it was created; `None` if the configuration had no
    /// process. Changes of the bundle since then have no effect on them.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        match &self.known {
            Known::Created(record) => record.process.as_ref(),
            Known::Creating { .. } => None,
        }
    }

    /// The descriptor of the init process: readable (poll) once it has ended. `None` if it had ended
    /// already when the handle was made.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The pid of the init process in the pid namespace of who created it, also after its end; `None`
    /// while the container is being created.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        match &self.known {
            Known::Created(record) => Some(record.init.pid),
            Known::Creating { .. } => None,
        }
    }

    /// The master of the container's terminal, if it was created with [`ConsoleTarget::Keep`] and was
    /// not taken before.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// The pids of its processes in the caller's pid namespace, from its cgroup.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] when it is not running; the failure to read a file.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let record = self.running_record()?;
        if record.cgroup.is_empty() {
            return Ok(vec![record.init.pid]);
        }
        self.cgroup()?.processes()
    }

    /// The record, if the container was created completely.
    fn record(&self) -> Result<&Record> {
        match &self.known {
            Known::Created(record) => Ok(record),
            Known::Creating { locked: true, .. } => {
                Err(self.wrong_status("the container is still being created"))
            }
            Known::Creating { .. } => Err(self
                .wrong_status("the creation of the container was cut short")
                .with_hint("delete removes what is left")),
        }
    }

    /// The record, if the container has a live init process.
    fn running_record(&self) -> Result<&Record> {
        let record = self.record()?;
        match record.init.open() {
            Some(_alive) => Ok(record),
            None => Err(self.not_running()),
        }
    }

    /// The manager of its cgroups.
    fn cgroup(&self) -> Result<Box<dyn Manager>> {
        cgroup::open(self.record()?.cgroup.clone())
    }

    fn lock(&self) -> Result<Directory> {
        Directory::open_locked(self.runtime.root(), &self.id)
    }

    fn wrong_status(&self, message: &str) -> Error {
        Error::new(ErrorKind::WrongStatus, format!("{message}: {}", self.id))
    }

    /// Engines match on the words.
    fn not_running(&self) -> Error {
        self.wrong_status("container not running")
    }
}
