//! The part of containerd that shims meet: it starts them, receives their events, ends them.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{ConnectResponse, DeleteResponse};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::Options;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::bootstrap::{Address, Ended, Invocation};
use super::sink::{Event, Sink};
use super::stdio::Stdio;
use super::task::{Creation, Task};
use super::wire::Reply;
use super::{NAMESPACE, messages, order};
use crate::bundle::Bundle;
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;

/// The log of one task: its id, the reading end, and what came.
type Log = (String, File, String);

/// Containerd, for one case.
#[derive(Debug)]
pub(crate) struct Daemon<'t> {
    /// The case.
    pub(crate) trial: &'t Trial,
    sink: Mutex<Sink>,
    tasks: Mutex<Vec<Arc<Task>>>,
    sockets: Mutex<Vec<PathBuf>>,
    stale: Mutex<Vec<PathBuf>>,
    logs: Mutex<Vec<Log>>,
}

/// Runs the steps of a case with a containerd, and then ends every task and shim and looks at what
/// is left and at the order of all events.
///
/// # Errors
/// A step fails, or the end is not as it must be.
pub(crate) fn with(trial: &Trial, steps: impl FnOnce(&Daemon<'_>) -> Check) -> Check {
    let daemon = Daemon::new(trial)?;
    let mut result = steps(&daemon);
    if result.is_ok() {
        result = daemon.finish();
    } else if !daemon.is_stuck() {
        // What is left is looked at after this; what went wrong is known already.
        let _ = daemon.finish();
    }
    if result.is_err() {
        daemon.tell_all();
    }
    daemon.sweep();
    result
}

/// As `with`, with a task of these operations of the probe that is created.
///
/// # Errors
/// As `with`.
pub(crate) fn created(
    trial: &Trial,
    ops: &[&str],
    steps: impl FnOnce(&Daemon<'_>, &Task) -> Check,
) -> Check {
    with(trial, |daemon| {
        let task = daemon.create(trial.bundle().ops(ops), Stdio::default())?;
        steps(daemon, &task)
    })
}

/// As `with`, with a task of these operations of the probe that is started.
///
/// # Errors
/// As `with`.
pub(crate) fn started(
    trial: &Trial,
    ops: &[&str],
    steps: impl FnOnce(&Daemon<'_>, &Task) -> Check,
) -> Check {
    created(trial, ops, |daemon, task| {
        task.start("").ok()?;
        steps(daemon, task)
    })
}

impl<'t> Daemon<'t> {
    fn new(trial: &'t Trial) -> Check<Self> {
        Ok(Self {
            trial,
            sink: Mutex::new(Sink::new(trial.path("containerd.sock.ttrpc"))?),
            tasks: Mutex::default(),
            sockets: Mutex::default(),
            stale: Mutex::default(),
            logs: Mutex::default(),
        })
    }

    /// The runtime options of every task: where state goes, and the runtime of shims that need one.
    pub(crate) fn options(&self) -> Options {
        Options {
            root: self.trial.roots().display().to_string(),
            binary_name: self.trial.shim_runtime().unwrap_or_default(),
            ..Default::default()
        }
    }

    /// Writes the bundle, and prepares an invocation of the binary for it. The log is there too.
    ///
    /// # Errors
    /// The bundle cannot be written.
    pub(crate) fn invocation(&self, bundle: &mut Bundle<'t>) -> Check<Invocation<'t>> {
        bundle.write()?;
        let log = bundle.dir.join("log");
        if !log.exists() {
            mkfifo(&log, Mode::from_bits_truncate(0o700))?;
            // Open for both, so that it neither waits for a writer nor ends with one.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(log)?;
            locked(&self.logs).push((bundle.id().to_owned(), file, String::new()));
        }
        Ok(self.invocation_for(bundle.id(), &bundle.dir))
    }

    /// An invocation for a bundle that is there.
    pub(crate) fn invocation_for(&self, id: &str, bundle: &Path) -> Invocation<'t> {
        let events = locked(&self.sink).path().to_owned();
        let mut invocation = Invocation::new(self.trial, &events, (id, bundle));
        invocation.options = messages::runc_options(&self.options());
        invocation
    }

    /// `start`, and a connection for the task, which is not created yet.
    ///
    /// # Errors
    /// One of them fails.
    pub(crate) fn launch(&self, mut bundle: Bundle<'t>) -> Check<Arc<Task>> {
        let invocation = self.invocation(&mut bundle)?;
        self.launch_by(&invocation)
    }

    /// As `launch`, by an invocation.
    ///
    /// # Errors
    /// As `launch`.
    pub(crate) fn launch_by(&self, invocation: &Invocation<'t>) -> Check<Arc<Task>> {
        let address = invocation.start()?;
        self.attach(&address, (&invocation.id, invocation.bundle.clone()))
    }

    /// A connection for a task of a shim that is there.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn attach(&self, address: &Address, place: (&str, PathBuf)) -> Check<Arc<Task>> {
        locked(&self.sockets).push(address.socket.clone());
        let options = messages::runc_options(&self.options());
        let task = Arc::new(Task::connect_to(address, place, options)?);
        locked(&self.tasks).push(Arc::clone(&task));
        Ok(task)
    }

    /// `start` and `Create`.
    ///
    /// # Errors
    /// One of them fails.
    pub(crate) fn create(&self, bundle: Bundle<'t>, stdio: Stdio) -> Check<Arc<Task>> {
        let task = self.launch(bundle)?;
        task.create(Creation { stdio, ..Creation::default() }).ok()?;
        Ok(task)
    }

    /// `start`, `Create` and `Start`.
    ///
    /// # Errors
    /// One of them fails.
    pub(crate) fn start(&self, bundle: Bundle<'t>, stdio: Stdio) -> Check<Arc<Task>> {
        let task = self.create(bundle, stdio)?;
        task.start("").ok()?;
        Ok(task)
    }

    /// Events no longer arrive.
    pub(crate) fn stop_listening(&self) {
        locked(&self.sink).close();
    }

    /// Events arrive again.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn listen_again(&self) -> Check {
        Ok(locked(&self.sink).open()?)
    }

    /// The events of a task so far.
    pub(crate) fn events(&self, task: &Task) -> Vec<Event> {
        locked(&self.sink).of(&task.id)
    }

    /// The event of this kind, of the init process or an exec, when it has come.
    ///
    /// # Errors
    /// It does not come.
    pub(crate) fn event(&self, task: &Task, what: &str, exec: &str) -> Check<Event> {
        let find = || {
            let events = self.events(task);
            events.into_iter().find(|event| event.what == what && event.exec == exec)
        };
        self.trial.until(&format!("the event {what} {exec:?}"), || find().is_some())?;
        find().map_or_else(|| broken("the event is gone"), Ok)
    }

    /// Waits until the kinds of the task's events are these, `what` or `what:exec`, in this order.
    ///
    /// # Errors
    /// They are others.
    pub(crate) fn story(&self, task: &Task, wanted: &str) -> Check {
        let names = || {
            let events = self.events(task);
            let name = |event: &Event| match event.exec.as_str() {
                "" => event.what.clone(),
                exec => format!("{}:{exec}", event.what),
            };
            events.iter().map(name).collect::<Vec<_>>().join(" ")
        };
        let end = Instant::now() + Duration::from_secs(5);
        while names() != wanted && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(3));
        }
        // One that comes too often comes soon.
        std::thread::sleep(Duration::from_millis(20));
        crate::value::equal("events", &names().as_str(), &wanted)
    }

    /// `Shutdown`, then `delete`, as containerd does after every task.
    ///
    /// # Errors
    /// One of them fails.
    pub(crate) fn retire(&self, task: &Task) -> Check {
        self.shut_down(task)?;
        self.clean_up(task).map(drop)
    }

    /// `Shutdown`; a shim that ends may do so before it has answered.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn shut_down(&self, task: &Task) -> Check {
        let reply = task.shutdown();
        if reply.is_lost() {
            return self.trial.until("the end of the shim", || task.connection.is_closed());
        }
        reply.ok().map(drop)
    }

    /// `delete`; what it answered.
    ///
    /// # Errors
    /// It fails, or answers something else.
    pub(crate) fn clean_up(&self, task: &Task) -> Check<DeleteResponse> {
        let ended = self.invocation_for(&task.id, &task.bundle).other("delete")?;
        read_deleted(&ended)
    }

    /// The shim of this socket was killed: whether `delete` removes it is a question of its own.
    pub(crate) fn expect_stale(&self, socket: &Path) {
        locked(&self.sockets).retain(|other| other != socket);
        locked(&self.stale).push(socket.to_owned());
    }

    /// From now on this connection is the one to a task.
    pub(crate) fn replace(&self, task: Task) {
        self.drop_task(&task);
        locked(&self.tasks).push(Arc::new(task));
    }

    /// Nobody reads the logs any more.
    pub(crate) fn close_logs(&self) {
        locked(&self.logs).clear();
    }

    /// The log of a task so far.
    pub(crate) fn log(&self, task: &Task) -> String {
        let mut logs = locked(&self.logs);
        let found = logs.iter_mut().map(read_on).find(|(id, ..)| *id == task.id);
        found.map(|(_, _, text)| text.clone()).unwrap_or_default()
    }

    /// Forgets a task that is retired.
    pub(crate) fn drop_task(&self, task: &Task) {
        locked(&self.tasks).retain(|other| other.id != task.id);
    }

    /// Ends every task and shim that is left.
    fn finish(&self) -> Check {
        let tasks = std::mem::take(&mut *locked(&self.tasks));
        for task in tasks.iter().filter(|task| task.exists() && !task.connection.is_closed()) {
            // Refused where it has ended.
            let killed = task.kill_all(9);
            ensure(!killed.is_lost(), "the shim does not answer a kill at the end")?;
            task.wait("").ok()?;
            task.delete("").ok()?;
        }
        for task in &tasks {
            let retired = self.retire(task);
            // There is nothing to clean up for a task that never was.
            if task.was_created() {
                retired?;
            }
        }
        let shims = || locked(&self.sockets).iter().any(|socket| socket.exists());
        self.trial.until("the end of the shims' sockets", || !shims())?;
        for task in &tasks {
            let closed = || task.connection.is_closed();
            self.trial.until("the end of the shim after Shutdown", closed)?;
        }
        order::check(&locked(&self.sink).events(), NAMESPACE)
    }

    /// A shim does not answer.
    fn is_stuck(&self) -> bool {
        let answers = |task: &Arc<Task>| {
            let pending = task.begin_connect();
            let reply: Reply<ConnectResponse> = pending.wait(Duration::from_secs(2));
            reply.is_ok() || task.connection.is_closed()
        };
        !locked(&self.tasks).iter().all(answers)
    }

    fn tell_all(&self) {
        for log in &mut *locked(&self.logs) {
            let (id, _, text) = read_on(log);
            self.trial.tell(format!("log of {id}: {text}"));
        }
    }

    /// Removes sockets that are left, so that they do not stay on the host.
    fn sweep(&self) {
        for socket in locked(&self.sockets).iter().chain(locked(&self.stale).iter()) {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Reads what has come to a log since.
fn read_on(log: &mut Log) -> &Log {
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = log.1.read(&mut part) {
        log.2 += &String::from_utf8_lossy(part.get(..count).unwrap_or_default());
    }
    log
}

/// Reads the answer of `delete`.
///
/// # Errors
/// It failed, or answered something else.
pub(crate) fn read_deleted(ended: &Ended) -> Check<DeleteResponse> {
    let words = String::from_utf8_lossy(&ended.stderr);
    ensure(ended.code == 0, format!("delete ended with {}: {words}", ended.code))?;
    DeleteResponse::parse_from_bytes(&ended.stdout)
        .map_err(|error| format!("the answer of delete: {error}").into())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
