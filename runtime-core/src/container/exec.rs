//! Starting a further process in a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::announcement::Announcement;
use super::create::{Birth, spawn};
use super::options::{Console, ExecOptions, Stdio};
use super::wait::reap;
use super::{Container, ExitStatus, Signal, Status};
use crate::cgroup::{self, Entry as Member, Manager};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::host::Host;
use crate::launch::{self, Control, Gates, Resolver};
use crate::plan::{self, IdMaps, Plan};
use crate::rdt;
use crate::seccomp::{Address, Agent};
use crate::spec::Process;
use crate::state::{Directory, Record};
use crate::sys::pidfd;

/// How long an init process may take from its last act to its end.
const ENDING: Duration = Duration::from_millis(100);

/// How long a killed process may take to its end.
const REAPING: Duration = Duration::from_secs(2);

/// A process that was started in a container; a child of the calling process.
#[derive(Debug)]
pub struct ExecProcess {
    process: launch::Process,
    console: Option<OwnedFd>,
}

impl ExecProcess {
    /// Its pid in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Its descriptor: readable (poll) once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended; the failure of the system call.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        pidfd::send_signal(self.pidfd(), signal.number()).attempt("send the signal")
    }

    /// Waits for its end and reaps it.
    ///
    /// # Errors
    /// It was reaped already.
    pub fn wait(&self) -> Result<ExitStatus> {
        reap(self.pidfd())
    }

    /// The master of its terminal, with [`ConsoleTarget::Keep`](super::ConsoleTarget::Keep).
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }
}

/// What an exec opens beyond the paths of its plan.
struct InitOf<'a>(&'a Record, &'a Stdio);

impl Resolver for InitOf<'_> {
    fn start_socket(&self) -> Result<PathBuf> {
        Err(Error::new(ErrorKind::WrongStatus, "a further process has no start socket"))
    }

    fn node(&self, _index: usize) -> Result<PathBuf> {
        Err(Error::new(ErrorKind::WrongStatus, "a further process has no devices of its own"))
    }

    fn cgroup(&self, hierarchy: &str) -> Result<PathBuf> {
        let message = format!("a further process mounts no cgroup hierarchy {hierarchy}");
        Err(Error::new(ErrorKind::WrongStatus, message))
    }

    fn user_namespace(&self, _maps: &IdMaps) -> Result<OwnedFd> {
        Err(Error::new(ErrorKind::WrongStatus, "a further process mounts nothing"))
    }

    fn init(&self) -> Result<OwnedFd> {
        let message = "container not running: its init process has ended";
        self.0.init.open().ok_or_else(|| Error::new(ErrorKind::WrongStatus, message))
    }

    fn init_root(&self) -> Result<OwnedFd> {
        let path = PathBuf::from(format!("/proc/{}/root", self.0.init.pid));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(&path, flags, Mode::empty()).attempt_on("open the root", &path)?;
        // The number could have passed to another process meanwhile.
        self.init().map(|_still_there| root)
    }

    fn stream(&self, number: usize) -> Result<OwnedFd> {
        self.1.stream(number)
    }
}

/// Where a further process goes.
struct Place {
    /// `None`: it stays in its caller's cgroup.
    cgroup: Option<Box<dyn Manager>>,
    /// Whether it must be there and nowhere below.
    exact: bool,
}

/// Serves the gates of an init program that joins a container.
struct ExecGates<'a> {
    /// The cgroup to be moved to, unless the process was born there.
    late: Option<&'a dyn Manager>,
    resctrl: Option<&'a rdt::Group>,
    console: &'a mut Console,
    filter: Option<Vec<u8>>,
    agent: Option<Agent<'a>>,
    /// What the agent reads of the container.
    state: String,
}

impl Gates for ExecGates<'_> {
    fn mapped(&mut self, process: &launch::Process) -> Result<()> {
        self.late.map_or(Ok(()), |cgroup| cgroup.add(process.pid, Member::Moved))?;
        self.resctrl.map_or(Ok(()), |group| group.add(process.pid))
    }

    fn respawned(&mut self, _process: &launch::Process) -> Result<()> {
        Ok(())
    }

    fn filter(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.filter.take())
    }

    fn mounted(&mut self, _process: &launch::Process) -> Result<()> {
        Ok(())
    }

    fn console(&mut self, master: OwnedFd) -> Result<()> {
        self.console.accept(master)
    }

    fn listener(&mut self, process: &launch::Process, listener: OwnedFd) -> Result<()> {
        let agent = self.agent.take().ok_or_else(|| {
            Error::new(ErrorKind::System, "a listener has come, but no agent is recorded")
        })?;
        agent.send(&listener, process.pid, &self.state)
    }
}

/// Kills the process on the way out unless it was started completely, and reaps it. One that a freezer of
/// cgroup v1 holds ends only when that lets it go: after [`REAPING`] it is left behind, killed, and is the
/// caller's to reap, whose child it is.
pub(super) struct Started(pub(super) Option<launch::Process>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            let _killed = pidfd::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
            let _reaped = pidfd::wait_within(process.pidfd.as_fd(), REAPING);
        }
    }
}

impl Container {
    /// Starts a process in the container, which must be created, running or (with `ignore_paused`)
    /// paused, and returns when its program has been executed.
    ///
    /// The process gets the settings of `process` and nothing else: begin with a copy of
    /// [`Container::process`] to keep what the container was created with. The seccomp filter is always
    /// that of the container; its agent, if it has one, gets a listener for this process.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] for a stopped container; what the set-up or execve answers.
    pub fn exec(&self, process: &Process, options: &ExecOptions) -> Result<ExecProcess> {
        let record = self.record()?;
        let directory = Directory::open_shared(self.runtime.root(), &self.id)?;
        match self.status()? {
            Status::Created | Status::Running => {}
            Status::Paused if options.ignore_paused => {}
            Status::Paused => {
                let error = self.wrong_status("cannot exec in a paused container");
                return Err(error.with_hint("use --ignore-paused to override"));
            }
            _ => return Err(self.wrong_status("cannot exec in a stopped container")),
        }
        let filter = if record.filter { directory.read("filter")? } else { None };
        if record.filter && filter.is_none() {
            return Err(self.wrong_status("the recorded seccomp filter is missing"));
        }
        let keyring = record.keyring.then(|| self.id.keyring());
        let joined = plan::Container {
            namespaces: record.namespaces,
            shares_mounts: record.shares_mounts,
            id_maps: record.id_maps.as_ref(),
            filter: filter.is_some(),
            personality: record.personality.as_ref(),
            memory_policy: record.memory_policy.as_ref(),
            keyring: keyring.as_deref(),
            listen_fds: options.listen_fds,
            preserve_fds: options.preserve_fds,
            streams: options.stdio.replaces(),
            keep_groups: plan::keeps_groups(&record.annotations),
        };
        let plan = Plan::compile_exec(process, joined, &Host::read_for(process)?)?;
        let mut console = Console::connect(&options.console, plan.terminal)?;
        launch::check_kept(plan.keep_fds)?;
        let announcement = Announcement::new(&options.pid_file, &options.pidfd_socket)?;
        let place = self.place(options)?;
        let mut started = self.join((&plan, &options.stdio), &mut console, (filter, place))?;
        started.0.as_ref().map_or(Ok(()), |process| announcement.make(process))?;
        let process = started.0.take().ok_or_else(|| self.not_running())?;
        Ok(ExecProcess { process, console: console.into_kept() })
    }

    /// The cgroup to join.
    fn place(&self, options: &ExecOptions) -> Result<Place> {
        let record = &self.record()?.cgroup;
        let (all, single) = (options.cgroup.as_deref(), &options.controller_cgroups);
        if all.is_none() && single.is_empty() {
            let cgroup = if record.is_empty() { None } else { Some(self.cgroup()?) };
            return Ok(Place { cgroup, exact: false });
        }
        if record.is_empty() {
            let message = "the container has no cgroup of its own, so there is none below it";
            return Err(Error::new(ErrorKind::WrongStatus, message));
        }
        let record = match all {
            Some(_) if !single.is_empty() => {
                let message = "one cgroup to join for all controllers, and others for some";
                return Err(Error::new(ErrorKind::InvalidSpec, message));
            }
            Some(path) if path.chars().all(|character| character == '/') => record.clone(),
            Some(path) => record.below(path)?,
            None => record.below_of(single)?,
        };
        if let Some(missing) = record.paths().into_values().find(|path| !path.is_dir()) {
            return Err(Error::system("find the cgroup to join", libc::ENOENT)
                .with_path(missing)
                .with_hint("a process joins a cgroup that exists; the container can make it"));
        }
        // Only of the v2 hierarchy can the container have moved on, where no single controller has a path.
        Ok(Place { cgroup: Some(cgroup::open(record)?), exact: all.is_some() })
    }

    fn join(
        &self,
        (plan, stdio): (&Plan, &Stdio),
        console: &mut Console,
        (filter, place): (Option<Vec<u8>>, Place),
    ) -> Result<Started> {
        let record = self.record()?;
        let slots = launch::open_sources(plan, &InitOf(record, stdio))?.slots;
        let agent = record.agent.as_ref().map(Address::connect).transpose()?;
        let (control, theirs) = Control::pair_above(plan.keep_fds)?;
        let program = launch::program(plan)?;
        control.send_program(program.as_fd(), &slots)?;
        // Born into a frozen cgroup it could not even execute the init program, for which this thread waits.
        let late = if plan.enters_cgroup_late() || self.status()? == Status::Paused {
            place.cgroup.as_deref()
        } else {
            None
        };
        let early = if late.is_none() { place.cgroup.as_deref() } else { None };
        let born = self.spawn(plan, theirs.as_fd(), (early, place.exact));
        let (born, late) = match (born, early) {
            // Between the caller's cgroup and this one is none that the caller may write to.
            (Err(error), Some(_)) if error.errno() == Some(libc::EACCES) => {
                (self.spawn(plan, theirs.as_fd(), (None, place.exact))?, early)
            }
            (born, _) => (born?, late),
        };
        let mut started = Started(Some(born));
        drop((theirs, slots));
        let state = match agent {
            Some(_) => record.document(&self.id, self.status()?.name()).with_pid(record.init.pid),
            None => String::new(),
        };
        let mut gates =
            ExecGates { late, resctrl: record.resctrl.as_ref(), console, filter, agent, state };
        if let Some(process) = &mut started.0 {
            launch::serve(plan, &control, process, &mut gates)
                .map_err(|error| self.or_gone(error))?;
        }
        Ok(started)
    }

    /// Whether the container ended meanwhile is what the caller needs to hear. Before the pidfd of its init
    /// process tells that, the namespaces can be gone (`ESRCH`), and all its processes killed.
    fn or_gone(&self, error: Error) -> Error {
        let silent = error.errno().is_none() && error.kind() == ErrorKind::System;
        let suspect = silent || error.errno() == Some(libc::ESRCH);
        let ends =
            |init: &OwnedFd| pidfd::ended_within(init.as_fd(), Some(ENDING)).unwrap_or(false);
        match self.record().map(|record| record.init.open()) {
            Ok(None) => self.not_running(),
            Ok(Some(init)) if suspect && ends(&init) => self.not_running(),
            _ => error,
        }
    }

    /// Starts the init program in this cgroup; unless it is to be exactly there, beside the init process
    /// where that has moved below.
    fn spawn(
        &self,
        plan: &Plan,
        control: BorrowedFd<'_>,
        (cgroup, exact): (Option<&dyn Manager>, bool),
    ) -> Result<launch::Process> {
        let result = spawn(&self.runtime, plan, control, &Birth::into(cgroup)?);
        match (result, cgroup) {
            (Err(error), Some(cgroup)) if error.errno() == Some(libc::EBUSY) && !exact => {
                let own = cgroup.clone_fd_of(self.record()?.init.pid)?;
                let entrances = cgroup.entrances();
                let birth = Birth { unified: own.as_ref().map(AsFd::as_fd), entrances };
                spawn(&self.runtime, plan, control, &birth)
            }
            (result, _) => result,
        }
    }
}
