//! The state of the server: its tasks, its queue of events, and when it may go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use containerd_shim_protos::api::{ConnectRequest, ConnectResponse, Empty, ShutdownRequest};
use containerd_shim_protos::ttrpc::Code;
use coracle::Runtime;
use tokio::sync::Notify;
use tokio::time::{self, Instant};

use crate::events::Events;
use crate::failure::Failure;
use crate::options::Options;
use crate::task::Task;

/// How long a server without tasks stays, for a client that never says that it is done.
const IDLE: Duration = Duration::from_mins(1);

/// How long nothing is asked before the server is said to rest.
const REST: Duration = Duration::from_secs(2);

/// What the server was started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Containerd's namespace.
    pub(crate) namespace: String,
    /// The first container of the group.
    pub(crate) id: String,
    /// Containerd's ttrpc socket.
    pub(crate) events_address: String,
    /// The options of the start; those of a request come before them.
    pub(crate) options: Options,
}

/// Says that nobody wants any more what a call is making. All copies say the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abandonment(Rc<Cell<bool>>);

impl Abandonment {
    /// Nobody wants it any more.
    pub(crate) fn declare(&self) {
        self.0.set(true);
    }

    fn is_declared(&self) -> bool {
        self.0.get()
    }
}

/// A task, or the place of one that is being created.
#[derive(Clone, Debug)]
enum Place {
    Reserved(Abandonment),
    Taken(Rc<Task>),
}

/// The server's state. There is one, and only the loop has it.
#[derive(Debug)]
pub(crate) struct Shim {
    /// What it was started with.
    pub(crate) settings: Settings,
    /// The queue of events.
    pub(crate) events: Rc<Events>,
    /// Asked for after something may have made strangers reapable.
    pub(crate) sweep: Notify,
    tasks: RefCell<BTreeMap<String, Place>>,
    runtimes: RefCell<BTreeMap<PathBuf, Runtime>>,
    calls: Cell<usize>,
    /// The end of the last call, from which an idle server has its time to stay.
    used: Cell<Instant>,
    /// Told at the end of each call.
    answered: Notify,
    leaving: Cell<bool>,
    left: Notify,
    /// The server goes: nothing may begin any more.
    closing: Cell<bool>,
}

/// A call that is being answered.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Shim);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.calls.set(self.0.calls.get().saturating_sub(1));
        self.0.used.set(Instant::now());
        self.0.answered.notify_one();
        if self.0.leaving.get() {
            self.0.left.notify_one();
        }
    }
}

/// The place of a task that is being created; it is free again when this goes.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    shim: &'a Shim,
    id: String,
    abandonment: Abandonment,
}

impl Reservation<'_> {
    /// Whether the client has given up the task that is to come here.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandonment.is_declared()
    }

    /// Puts the task there.
    pub(crate) fn fill(self, task: Rc<Task>) {
        self.shim.tasks.borrow_mut().insert(self.id.clone(), Place::Taken(task));
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut tasks = self.shim.tasks.borrow_mut();
        if let Some(Place::Reserved(_)) = tasks.get(&self.id) {
            tasks.remove(&self.id);
        }
    }
}

impl Shim {
    /// Without tasks.
    pub(crate) fn new(settings: Settings) -> Self {
        let events = Rc::new(Events::new(&settings.namespace, &settings.events_address));
        Self {
            settings,
            events,
            sweep: Notify::new(),
            tasks: RefCell::default(),
            runtimes: RefCell::default(),
            calls: Cell::new(0),
            used: Cell::new(Instant::now()),
            answered: Notify::new(),
            leaving: Cell::new(false),
            left: Notify::new(),
            closing: Cell::new(false),
        }
    }

    /// Counts a call until the returned value goes.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.calls.set(self.calls.get() + 1);
        Busy(self)
    }

    /// Keeps a place for a task, which the client can give up until it is filled.
    ///
    /// # Errors
    /// There is one of that id; the server is about to go.
    pub(crate) fn reserve(
        &self,
        id: &str,
        abandonment: &Abandonment,
    ) -> Result<Reservation<'_>, Failure> {
        if self.closing.get() {
            return Err(Failure::new(Code::UNAVAILABLE, "the shim is about to go"));
        }
        let mut tasks = self.tasks.borrow_mut();
        if tasks.contains_key(id) {
            let message = format!("task {id} already exists");
            return Err(Failure::new(Code::ALREADY_EXISTS, message));
        }
        tasks.insert(id.to_owned(), Place::Reserved(abandonment.clone()));
        Ok(Reservation { shim: self, id: id.to_owned(), abandonment: abandonment.clone() })
    }

    /// A task that is still being created is not wanted any more.
    pub(crate) fn abandon(&self, id: &str) {
        if let Some(Place::Reserved(abandonment)) = self.tasks.borrow().get(id) {
            abandonment.declare();
        }
    }

    /// The task of this id.
    ///
    /// # Errors
    /// There is none, or it is still being created.
    pub(crate) fn task(&self, id: &str) -> Result<Rc<Task>, Failure> {
        match self.tasks.borrow().get(id) {
            Some(Place::Taken(task)) => Ok(Rc::clone(task)),
            Some(Place::Reserved(_)) | None => {
                Err(Failure::not_found(format!("task {id} not found")))
            }
        }
    }

    /// Forgets a task.
    pub(crate) fn forget(&self, id: &str) {
        self.tasks.borrow_mut().remove(id);
    }

    /// Whether there is no task, and none in the making.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.borrow().is_empty()
    }

    /// Whether there is a task, or one in the making that somebody waits for.
    fn is_wanted(&self) -> bool {
        let wanted = |place: &Place| match place {
            Place::Reserved(abandonment) => !abandonment.is_declared(),
            Place::Taken(_) => true,
        };
        self.tasks.borrow().values().any(wanted)
    }

    /// From now on nothing can be created.
    pub(crate) fn close(&self) {
        self.closing.set(true);
    }

    /// What a person who looks for a fault wants to know, as JSON.
    pub(crate) fn describe(&self) -> serde_json::Value {
        let tasks = self.tasks.borrow();
        let tasks: Vec<_> = tasks
            .iter()
            .map(|(id, place)| match place {
                Place::Reserved(abandonment) => serde_json::json!({
                    "id": id,
                    "init": { "phase": "creating", "abandoned": abandonment.is_declared() },
                }),
                Place::Taken(task) => task.describe_state(),
            })
            .collect();
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "namespace": self.settings.namespace,
            "calls": self.calls.get(),
            "eventsWaiting": self.events.waiting(),
            "tasks": tasks,
        })
    }

    /// The runtime of a state root; one for each root, so that they share the init program.
    pub(crate) fn runtime(&self, root: PathBuf) -> Runtime {
        let mut runtimes = self.runtimes.borrow_mut();
        runtimes.entry(root).or_insert_with_key(|root| Runtime::new(root.clone())).clone()
    }

    /// Connect: who serves, and the init of a task, if there is one.
    pub(crate) fn connect(&self, request: &ConnectRequest) -> ConnectResponse {
        let task = self.task(&request.id).map_or(0, |task| task.init_pid());
        ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: task,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ConnectResponse::default()
        }
    }

    /// Shutdown: the server goes once this was answered, unless it has tasks.
    pub(crate) fn shutdown(&self, _request: &ShutdownRequest) -> Empty {
        if !self.is_wanted() {
            self.leave();
        }
        Empty::new()
    }

    /// Makes [`Shim::done`] return.
    pub(crate) fn leave(&self) {
        self.leaving.set(true);
        self.left.notify_one();
    }

    /// Returns each time when calls have come to an end and nothing has followed for a while.
    pub(crate) async fn rested(&self) {
        self.answered.notified().await;
        while time::timeout(REST, self.answered.notified()).await.is_ok() {}
    }

    /// Returns when the server may go: it was asked to and has answered, or was idle for long enough.
    pub(crate) async fn done(&self) {
        loop {
            let free = self.is_empty() && self.calls.get() == 0;
            let left = if free { IDLE.saturating_sub(self.used.get().elapsed()) } else { IDLE };
            if free && (self.leaving.get() || left.is_zero()) {
                return;
            }
            if self.is_wanted() {
                self.leaving.set(false);
            }
            let _ = time::timeout(left, self.left.notified()).await;
        }
    }
}
