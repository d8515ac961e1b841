//! One container as containerd sees it: a task with its processes, each a small state machine.

mod birth;
mod checkpoint;
mod control;
mod create;
mod delete;
mod end;
mod exec;
mod query;
mod start;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use containerd_shim_protos::api::Status;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use coracle::{Container, ContainerId, ExecProcess, Runtime};
use tokio::sync::Notify;

use birth::Recipe;

use crate::children::Claim;
use crate::failure::Failure;
use crate::io::{Relay, Streams};
use crate::oom::Watch;
use crate::rootfs::Rootfs;

/// Where a process is in its life.
///
/// ```text
/// created → starting → running ↔ paused → stopped → deleted
/// ```
///
/// Pausing and resuming are states of their own, so that nothing else begins meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was made, but its program does not run yet.
    Created,
    /// The start is under way: an end that is seen now waits for it.
    Starting,
    /// Its program runs.
    Running,
    /// On the way to standing still.
    Pausing,
    /// It stands still.
    Paused,
    /// On the way to going on.
    Resuming,
    /// It is being written into images: an end that is seen now waits for that.
    Checkpointing,
    /// It has ended.
    Stopped,
    /// It is being forgotten.
    Deleting,
}

impl Phase {
    /// What containerd calls it.
    fn status(self) -> Status {
        match self {
            Self::Created | Self::Starting => Status::CREATED,
            Self::Running | Self::Resuming | Self::Checkpointing => Status::RUNNING,
            Self::Pausing => Status::PAUSING,
            Self::Paused => Status::PAUSED,
            Self::Stopped | Self::Deleting => Status::STOPPED,
        }
    }

    /// Whether an end that is seen has to wait for what is under way.
    fn parks_end(self) -> bool {
        matches!(self, Self::Starting | Self::Checkpointing)
    }

    /// Whether its program may be running.
    fn lives(self) -> bool {
        !matches!(self, Self::Created | Self::Stopped | Self::Deleting)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
            Self::Checkpointing => "being checkpointed",
            Self::Stopped => "stopped",
            Self::Deleting => "being deleted",
        })
    }
}

/// How and when a process has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// As shells tell it.
    pub(crate) status: u32,
    /// When it was reaped.
    pub(crate) at: SystemTime,
}

impl Exit {
    /// With this status, now.
    pub(crate) fn now(status: u32) -> Self {
        Self { status, at: SystemTime::now() }
    }
}

/// A process: the init or a further one.
#[derive(Debug)]
pub(crate) struct Process {
    /// The exec id; empty for the init.
    pub(crate) id: String,
    phase: Cell<Phase>,
    pid: Cell<i32>,
    /// Told to everybody.
    exit: Cell<Option<Exit>>,
    /// Seen, but not told yet.
    parked: Cell<Option<Exit>>,
    /// Wakes those who wait for the end.
    changed: Notify,
    streams: Streams,
    relay: RefCell<Option<Relay>>,
    /// The client has nothing more for standard input, perhaps even before there is a relay.
    stdin_closed: Cell<bool>,
    claim: RefCell<Option<Claim>>,
    /// What a further process is to run, until it is started.
    program: RefCell<Option<Box<coracle::spec::Process>>>,
    /// The further process, once it was started.
    handle: RefCell<Option<Arc<ExecProcess>>>,
}

impl Process {
    fn new(id: String, streams: Streams) -> Self {
        Self {
            id,
            phase: Cell::new(Phase::Created),
            pid: Cell::new(0),
            exit: Cell::new(None),
            parked: Cell::new(None),
            changed: Notify::new(),
            streams,
            relay: RefCell::new(None),
            stdin_closed: Cell::new(false),
            claim: RefCell::new(None),
            program: RefCell::new(None),
            handle: RefCell::new(None),
        }
    }

    fn is_init(&self) -> bool {
        self.id.is_empty()
    }

    fn pid_for_message(&self) -> u32 {
        u32::try_from(self.pid.get()).unwrap_or_default()
    }

    /// Goes on to `next` if it is in one of `from`; else nothing changes.
    fn pass(&self, from: &[Phase], next: Phase, verb: &str) -> Result<(), Failure> {
        let phase = self.phase.get();
        if !from.contains(&phase) {
            return Err(Failure::precondition(format!("cannot {verb} a process that is {phase}")));
        }
        self.phase.set(next);
        Ok(())
    }

    /// It has ended, and now everybody may know.
    fn stop(&self, exit: Exit) {
        self.exit.set(Some(exit));
        if self.phase.get() != Phase::Deleting {
            self.phase.set(Phase::Stopped);
        }
        self.claim.borrow_mut().take();
        self.changed.notify_waiters();
    }

    /// Begins with the relay of its streams.
    fn take_relay(&self, relay: Relay) {
        if self.stdin_closed.get() {
            relay.close_stdin();
        }
        *self.relay.borrow_mut() = Some(relay);
    }

    /// Gives up the hold on standard input.
    fn close_stdin(&self) {
        self.stdin_closed.set(true);
        if let Some(relay) = self.relay.borrow().as_ref() {
            relay.close_stdin();
        }
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id,
            "phase": self.phase.get().to_string(),
            "pid": self.pid.get(),
            "exit": self.exit.get().map(|exit| exit.status),
            "endParked": self.parked.get().is_some(),
            "relay": self.relay.borrow().is_some(),
        })
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Exit {
        loop {
            let changed = self.changed.notified();
            if let Some(exit) = self.exit.get() {
                return exit;
            }
            changed.await;
        }
    }
}

/// A container that exists.
#[derive(Clone, Debug)]
struct Life {
    container: Arc<Container>,
    oom: Option<Rc<Watch>>,
    /// Whether processes can outlive the init.
    shares_pids: bool,
    /// User and group of the pipes.
    io_ids: Option<(u32, u32)>,
}

/// A container with its processes.
#[derive(Debug)]
pub(crate) struct Task {
    /// The container's id.
    pub(crate) id: String,
    name: ContainerId,
    bundle: PathBuf,
    runtime: Runtime,
    /// `None` until a restore.
    life: RefCell<Option<Life>>,
    /// How it is made at its start, if it is to be restored.
    recipe: RefCell<Option<Box<Recipe>>>,
    /// The init process.
    pub(crate) init: Rc<Process>,
    execs: RefCell<BTreeMap<String, Rc<Process>>>,
    rootfs: Rootfs,
    /// The figures at the end: the cgroup can be gone before they are asked for.
    last_stats: RefCell<Option<Any>>,
}

impl Task {
    fn new(
        (name, runtime): (ContainerId, Runtime),
        bundle: PathBuf,
        init: Process,
        rootfs: Rootfs,
    ) -> Self {
        Self {
            id: name.to_string(),
            name,
            bundle,
            runtime,
            life: RefCell::new(None),
            recipe: RefCell::new(None),
            init: Rc::new(init),
            execs: RefCell::new(BTreeMap::new()),
            rootfs,
            last_stats: RefCell::new(None),
        }
    }

    fn life(&self) -> Result<Life, Failure> {
        let life = self.life.borrow().clone();
        life.ok_or_else(|| Failure::precondition(format!("{} was not restored yet", self.id)))
    }

    /// The container.
    ///
    /// # Errors
    /// It is to be restored and was not started yet.
    fn container(&self) -> Result<Arc<Container>, Failure> {
        self.life().map(|life| life.container)
    }

    fn shares_pids(&self) -> bool {
        self.life.borrow().as_ref().is_some_and(|life| life.shares_pids)
    }

    /// What a person who looks for a fault wants to know.
    pub(crate) fn describe_state(&self) -> serde_json::Value {
        let execs: Vec<_> = self.execs.borrow().values().map(|exec| exec.describe()).collect();
        serde_json::json!({ "id": self.id, "init": self.init.describe(), "execs": execs })
    }

    /// The pid of the init.
    pub(crate) fn init_pid(&self) -> u32 {
        self.init.pid_for_message()
    }

    /// The init for an empty id, else the further process.
    pub(crate) fn process(&self, exec_id: &str) -> Result<Rc<Process>, Failure> {
        if exec_id.is_empty() {
            return Ok(Rc::clone(&self.init));
        }
        let found = self.execs.borrow().get(exec_id).map(Rc::clone);
        found.ok_or_else(|| {
            Failure::not_found(format!("process {exec_id} of {} not found", self.id))
        })
    }
}
