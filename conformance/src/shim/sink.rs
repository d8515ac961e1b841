//! The event service that containerd offers to its shims.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use containerd_shim_protos::events::task as messages;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::ttrpc::{Code, Request, Response, Status};

use super::wire::Frame;

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

/// One event as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    /// The last part of the topic (`create`, `exec-added` …), or all of a strange one.
    pub(crate) what: String,
    /// The container.
    pub(crate) container: String,
    /// The exec; empty for the init process.
    pub(crate) exec: String,
    /// The process, where the message has one.
    pub(crate) pid: u32,
    /// The exit status, where the message has one.
    pub(crate) status: u32,
    /// When the process ended, where the message tells (seconds).
    pub(crate) exited: i64,
    /// The checkpoint, where the message has one.
    pub(crate) checkpoint: String,
    /// The namespace of the envelope.
    pub(crate) namespace: String,
    /// When it happened, as the envelope tells (seconds).
    pub(crate) time: i64,
    /// What was wrong with the envelope or the message.
    pub(crate) problem: Option<String>,
    /// The bundle and the standard streams of a `create`.
    pub(crate) origin: Vec<String>,
}

type Log = Arc<Mutex<Vec<Event>>>;

/// A server that notes every event.
#[derive(Debug)]
pub(crate) struct Sink {
    path: PathBuf,
    log: Log,
    running: Option<Server>,
}

#[derive(Debug)]
struct Server {
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Sink {
    /// Listens.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        let mut sink = Self { path, log: Log::default(), running: None };
        sink.open()?;
        Ok(sink)
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Listens again, after `close`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        let listener = UnixListener::bind(&self.path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let server = Server { stop: Arc::clone(&stop), open: Arc::clone(&open) };
        let log = Arc::clone(&self.log);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(copy) = stream.try_clone() {
                    open.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
                }
                let log = Arc::clone(&log);
                thread::spawn(move || serve(&stream, &log));
            }
        });
        self.running = Some(server);
        Ok(())
    }

    /// Ends every connection and listens no longer, as when containerd is gone.
    pub(crate) fn close(&mut self) {
        if let Some(server) = self.running.take() {
            server.stop.store(true, Ordering::SeqCst);
            // Wakes the thread that accepts.
            let _ = UnixStream::connect(&self.path);
            let _ = std::fs::remove_file(&self.path);
            for stream in server.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events of one container so far.
    pub(crate) fn of(&self, container: &str) -> Vec<Event> {
        self.events().into_iter().filter(|event| event.container == container).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(stream: &UnixStream, log: &Log) {
    while let Ok(frame) = Frame::read(stream) {
        let response = match Request::parse_from_bytes(&frame.body) {
            Ok(request) if request.service == SERVICE && request.method == "Forward" => {
                let event = read(&request.payload);
                log.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                Response::new()
            }
            _ => refusal(),
        };
        let body = response.write_to_bytes().unwrap_or_default();
        if Frame::response(frame.stream, body).write(stream).is_err() {
            break;
        }
    }
}

fn refusal() -> Response {
    let mut status = Status::new();
    status.code = Code::UNIMPLEMENTED.into();
    "there is the event service only".clone_into(&mut status.message);
    Response { status: Some(status).into(), ..Default::default() }
}

fn read(payload: &[u8]) -> Event {
    let strange =
        |text: String| Event { problem: Some(text), what: "?".into(), ..Default::default() };
    let request = match ForwardRequest::parse_from_bytes(payload) {
        Ok(request) => request,
        Err(error) => return strange(format!("no envelope: {error}")),
    };
    let envelope = request.envelope.unwrap_or_default();
    let topic = envelope.topic.clone();
    let any = envelope.event.unwrap_or_default();
    let what = topic.strip_prefix("/tasks/").unwrap_or(&topic).to_owned();
    let mut event = match decode(&what, &any.value) {
        Some((name, event)) if any.type_url == format!("containerd.events.{name}") => event,
        Some(_) => strange(format!("{topic} with a message {}", any.type_url)),
        None => strange(format!("{topic} with a message that cannot be read")),
    };
    event.what = what;
    event.namespace = envelope.namespace;
    event.time = seconds(envelope.timestamp.into_option());
    event
}

fn seconds(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds)
}

/// The message's name and what it says.
fn decode(what: &str, body: &[u8]) -> Option<(&'static str, Event)> {
    let base = |container: String| Event { container, ..Default::default() };
    Some(match what {
        "create" => {
            let m = messages::TaskCreate::parse_from_bytes(body).ok()?;
            let io = m.io.unwrap_or_default();
            let origin = vec![m.bundle, io.stdin, io.stdout, io.stderr];
            let checkpoint = m.checkpoint;
            ("TaskCreate", Event { pid: m.pid, origin, checkpoint, ..base(m.container_id) })
        }
        "start" => {
            let m = messages::TaskStart::parse_from_bytes(body).ok()?;
            ("TaskStart", Event { pid: m.pid, ..base(m.container_id) })
        }
        "exit" => {
            let m = messages::TaskExit::parse_from_bytes(body).ok()?;
            // The init process goes by the id of its container.
            let exec = if m.id == m.container_id { String::new() } else { m.id };
            let exited = seconds(m.exited_at.into_option());
            let base = base(m.container_id);
            ("TaskExit", Event { exec, pid: m.pid, status: m.exit_status, exited, ..base })
        }
        "delete" => {
            let m = messages::TaskDelete::parse_from_bytes(body).ok()?;
            let exited = seconds(m.exited_at.into_option());
            let base = base(m.container_id);
            ("TaskDelete", Event { exec: m.id, pid: m.pid, status: m.exit_status, exited, ..base })
        }
        "oom" => ("TaskOOM", base(messages::TaskOOM::parse_from_bytes(body).ok()?.container_id)),
        "exec-added" => {
            let m = messages::TaskExecAdded::parse_from_bytes(body).ok()?;
            ("TaskExecAdded", Event { exec: m.exec_id, ..base(m.container_id) })
        }
        "exec-started" => {
            let m = messages::TaskExecStarted::parse_from_bytes(body).ok()?;
            ("TaskExecStarted", Event { exec: m.exec_id, pid: m.pid, ..base(m.container_id) })
        }
        "paused" => {
            ("TaskPaused", base(messages::TaskPaused::parse_from_bytes(body).ok()?.container_id))
        }
        "resumed" => {
            ("TaskResumed", base(messages::TaskResumed::parse_from_bytes(body).ok()?.container_id))
        }
        "checkpointed" => {
            let m = messages::TaskCheckpointed::parse_from_bytes(body).ok()?;
            let base = base(m.container_id);
            ("TaskCheckpointed", Event { checkpoint: m.checkpoint, ..base })
        }
        _ => return None,
    })
}
