//! Being told when tasks of a container wait too long for a resource (kernel documentation,
//! accounting/psi, "Monitoring for pressure thresholds").

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::tree::Tree;
use crate::error::{Error, ErrorKind, Result};

/// What tasks can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PressureResource {
    /// A processor (`cpu.pressure`).
    Cpu,
    /// Memory (`memory.pressure`).
    Memory,
    /// Block I/O (`io.pressure`).
    Io,
}

/// Who has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PressureTasks {
    /// At least one task.
    Some,
    /// All tasks that have something to do.
    Full,
}

/// When a [`PressureWatch`] tells: tasks have waited for `stall` in all within `window`. The kernel
/// counts both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PressureTrigger {
    /// For what.
    pub resource: PressureResource,
    /// Which tasks.
    pub tasks: PressureTasks,
    /// The time waited, at most the window.
    pub stall: Duration,
    /// From 0.5 to 10 seconds; for a caller without `CAP_SYS_RESOURCE` a multiple of 2 seconds (Linux 6.5;
    /// older kernels refuse such a caller altogether).
    pub window: Duration,
}

/// A descriptor that tells of pressure: `POLLPRI` each time the threshold is passed, at most once in a
/// window; `POLLERR` when the cgroup is gone.
#[derive(Debug)]
pub struct PressureWatch(File);

impl PressureWatch {
    /// For a cgroup v2 directory.
    pub(super) fn new(tree: &Tree, directory: &str, trigger: &PressureTrigger) -> Result<Self> {
        let file = match trigger.resource {
            PressureResource::Cpu => "cpu.pressure",
            PressureResource::Memory => "memory.pressure",
            PressureResource::Io => "io.pressure",
        };
        let tasks = match trigger.tasks {
            PressureTasks::Some => "some",
            PressureTasks::Full => "full",
        };
        let (stall, window) = (trigger.stall.as_micros(), trigger.window.as_micros());
        let failure = |what: String, errno| {
            let path = tree.absolute(&format!("{directory}/{file}"));
            explain(Error::system(what, errno as i32).with_path(path), errno, trigger)
        };
        let opened = tree.changeable(directory, file);
        let mut opened = opened.map(File::from).map_err(|errno| failure("open".into(), errno))?;
        // The kernel reads up to the NUL.
        let line = format!("{tasks} {stall} {window}");
        opened.write_all(format!("{line}\0").as_bytes()).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
            failure(format!("write {line:?} to"), errno)
        })?;
        Ok(Self(opened))
    }

    /// What to poll the descriptor for.
    #[must_use]
    pub fn events(&self) -> PollFlags {
        PollFlags::POLLPRI
    }
}

fn explain(error: Error, errno: Errno, trigger: &PressureTrigger) -> Error {
    match errno {
        Errno::ENOENT | Errno::EOPNOTSUPP => error.with_hint(
            "the kernel keeps no account of pressure: it needs CONFIG_PSI (Linux 5.2) and, where that is \
             off by default, psi=1 on its command line",
        ),
        Errno::EPERM | Errno::EACCES => error.with_hint(
            "the cgroup is not delegated to this user, or the kernel (before 6.5) asks for CAP_SYS_RESOURCE",
        ),
        Errno::EINVAL if trigger.stall > trigger.window || trigger.stall.is_zero() => {
            error.with_hint("the time waited must be above 0 and at most the window")
        }
        Errno::EINVAL => error.with_hint(
            "the window must be from 0.5 to 10 s, without CAP_SYS_RESOURCE a multiple of 2 s",
        ),
        _ => error,
    }
}

/// The error where there is no cgroup v2 directory, which alone has such files.
pub(super) fn unsupported() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "only cgroup v2 tells of pressure, and it is not mounted here",
    )
}

impl AsFd for PressureWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
