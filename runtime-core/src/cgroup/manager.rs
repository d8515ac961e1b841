//! What can be done with the cgroup of a container.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::oom::OomWatch;
use super::pressure::{PressureTrigger, PressureWatch};
use super::record::Record;
use super::stats::Stats;
use crate::error::Result;
use crate::spec::resources::Resources;

/// How a process comes into the container's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It was born in the directory behind [`Manager::clone_fd`].
    Cloned,
    /// It is outside in every hierarchy.
    Moved,
}

/// What [`Manager::delete`] does about processes that are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Wait for them to end.
    Wait,
    /// Kill them.
    Kill,
}

/// The `tasks` files of the v1 hierarchies. A process of one thread that writes `0` to each has moved
/// itself there; moving it from outside would stop all forking on the machine for an RCU grace
/// period, about 10 ms.
#[derive(Debug)]
pub struct Entrances<'a> {
    /// The directory that the paths start from.
    pub directory: BorrowedFd<'a>,
    /// One path for each hierarchy.
    pub files: Vec<CString>,
}

/// The cgroup of one container.
///
/// Errors name the file, the value, the errno and the field of the configuration.
pub trait Manager: fmt::Debug + Send + Sync {
    /// Makes the directories, and makes the controllers available that the limits need.
    /// A directory that exists already is taken over when it is empty. When it fails, the
    /// directories it made are gone again.
    ///
    /// Without a path in the configuration a user who may not make cgroups gets none: the
    /// [record](Manager::record) is then shorter, or empty, and must be written down again.
    ///
    /// # Errors
    /// When the cgroup has processes or is frozen, a needed controller is missing, or the kernel
    /// refuses.
    ///
    /// Before it succeeds the cgroup may be another container's: until then, and for a manager that
    /// was opened from a record of that time, [`kill`](Manager::kill) does nothing and
    /// [`delete`](Manager::delete) removes only what is empty. So write the record down again.
    fn create(&mut self, resources: &Resources) -> Result<()>;

    /// Sets all limits of a new cgroup, the device filter included. Called before the first process
    /// is added.
    ///
    /// # Errors
    /// When a limit cannot be held.
    fn apply(&self, resources: &Resources) -> Result<()>;

    /// Called when the container's first process is there, and what has held the cgroup until then is
    /// gone: sets the limits that would have kept them out.
    ///
    /// # Errors
    /// When a limit cannot be held.
    fn settle(&self, resources: &Resources) -> Result<()>;

    /// Sets those limits that are present, on a cgroup in use. Device rules replace the filter;
    /// without any it stays as it is.
    ///
    /// # Errors
    /// When a limit cannot be held: all are as they were before then.
    fn update(&self, resources: &Resources) -> Result<()>;

    /// Moves a process in, with one write for each hierarchy.
    ///
    /// # Errors
    /// When the kernel refuses or the cgroup is gone.
    fn add(&self, pid: i32, entry: Entry) -> Result<()>;

    /// The cgroup v2 directory, for `CLONE_INTO_CGROUP`; `None` where there is no v2 hierarchy.
    ///
    /// # Errors
    /// When the directory is gone.
    fn clone_fd(&self) -> Result<Option<BorrowedFd<'_>>>;

    /// The files by which a process enters the v1 hierarchies. There are none without them.
    fn entrances(&self) -> Option<Entrances<'_>>;

    /// The cgroup v2 directory that a process of the container has moved itself to, at or below the
    /// container's own. A container that shares out controllers (systemd inside) can have no process
    /// in its top directory: `CLONE_INTO_CGROUP` and [`add`](Manager::add) answer `EBUSY` there, and
    /// a further process joins where the init is.
    ///
    /// # Errors
    /// When the process is gone or elsewhere.
    fn clone_fd_of(&self, pid: i32) -> Result<Option<OwnedFd>>;

    /// Gives the cgroup to the user and the group, as outside, of the container's process, so that it
    /// can make cgroups of its own (runtime-spec, "Cgroup ownership"); only for a cgroup v2 host, a
    /// cgroup namespace and a writable cgroup mount. Nothing is given on v1, where it would not be
    /// safe.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn delegate(&self, user: u32, group: u32) -> Result<()>;

    /// The processes in the cgroup and below, in no order. Empty when it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn processes(&self) -> Result<Vec<i32>>;

    /// What the container uses.
    ///
    /// # Errors
    /// When the kernel refuses; what it does not account for is no error.
    fn stats(&self) -> Result<Stats>;

    /// A watch for out-of-memory kills.
    ///
    /// # Errors
    /// When there is no memory controller, or the cgroup is gone.
    fn oom_watch(&self) -> Result<OomWatch>;

    /// A watch for pressure.
    ///
    /// # Errors
    /// When there is no cgroup v2 directory, the kernel keeps no account, or refuses the threshold.
    fn pressure_watch(&self, trigger: &PressureTrigger) -> Result<PressureWatch>;

    /// Sends SIGKILL to every process in the cgroup and below, so that none can escape by forking;
    /// frozen ones are thawed to die. Does not wait for their end. A cgroup that is gone is fine.
    ///
    /// # Errors
    /// When the kernel refuses, or new processes appear for two seconds.
    fn kill(&self) -> Result<()>;

    /// Whether the processes are stopped by the freezer. `false` when the cgroup is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn frozen(&self) -> Result<bool>;

    /// The directory whose freezing stops the processes: the container's own or the topmost above it.
    /// It explains a process that does not begin or does not end.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn frozen_at(&self) -> Result<Option<PathBuf>>;

    /// Stops all processes, and returns when they stand.
    ///
    /// # Errors
    /// When there is no freezer, or they do not stand after ten seconds; they run again then.
    fn freeze(&self) -> Result<()>;

    /// Lets all processes run again.
    ///
    /// # Errors
    /// When there is no freezer or the kernel refuses.
    fn thaw(&self) -> Result<()>;

    /// Removes the directories with all below. What is gone or was never made is fine. Busy ones
    /// are tried again for two seconds.
    ///
    /// # Errors
    /// When processes remain, or the kernel refuses.
    fn delete(&self, leftover: Leftover) -> Result<()>;

    /// Where the cgroup is.
    fn record(&self) -> &Record;
}
