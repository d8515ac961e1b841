//! Events for containerd: one queue, sent in its order and never out of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::ttrpc::{Code, Request, Response};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time;

use crate::frame::{self, Kind};
use crate::message::{any, timestamp};

/// How many events wait while containerd is away.
const BOUND: usize = 4096;

/// How long an answer may take before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shortest and the longest pause before the next attempt to reach containerd.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

/// An event that waits.
#[derive(Debug)]
struct Queued {
    /// The encoded request.
    request: Vec<u8>,
    /// Whether it is about a further process, and so the first to be given up.
    of_exec: bool,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Events {
    namespace: String,
    /// Containerd's ttrpc socket; empty if there is none.
    address: String,
    queue: RefCell<VecDeque<Queued>>,
    /// Whether the first of the queue is on its way.
    sending: Cell<bool>,
    added: Notify,
    emptied: Notify,
}

impl Events {
    /// A queue for this socket, which is a path with or without `unix://`.
    pub(crate) fn new(namespace: &str, address: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            address: address.strip_prefix("unix://").unwrap_or(address).to_owned(),
            queue: RefCell::default(),
            sending: Cell::new(false),
            added: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Puts an event at the end of the queue. `of_exec`: it is about a further process.
    pub(crate) fn publish<M: Message>(&self, topic: &str, event: &M, of_exec: bool) {
        if self.address.is_empty() {
            return;
        }
        let envelope = Envelope {
            timestamp: MessageField::some(timestamp(SystemTime::now())),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: MessageField::some(any("containerd.events", event)),
            ..Envelope::default()
        };
        let forward =
            ForwardRequest { envelope: MessageField::some(envelope), ..ForwardRequest::default() };
        match forward.write_to_bytes() {
            Ok(request) => self.push(Queued { request, of_exec }),
            Err(error) => log::error!("encode the event {topic}: {error}"),
        }
    }

    fn push(&self, queued: Queued) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= BOUND {
            // The first one may be on its way.
            let first = usize::from(self.sending.get());
            let of_exec = queue.iter().skip(first).position(|queued| queued.of_exec);
            queue.remove(of_exec.unwrap_or_default() + first);
            log::error!("containerd is away: an event was dropped");
        }
        queue.push_back(queued);
        self.added.notify_one();
    }

    /// Sends what is in the queue, for ever.
    pub(crate) async fn send_all(self: Rc<Self>) {
        let mut connection = None;
        let mut pause = PAUSES.0;
        loop {
            let request = self.next().await;
            self.sending.set(true);
            let sent = self.send(&mut connection, request).await;
            self.sending.set(false);
            match sent {
                Ok(()) => {
                    pause = PAUSES.0;
                    self.queue.borrow_mut().pop_front();
                    if self.queue.borrow().is_empty() {
                        self.emptied.notify_waiters();
                    }
                }
                Err(error) => {
                    log::debug!("send an event to {}: {error}", self.address);
                    connection = None;
                    time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// The first of the queue, which stays there until it was sent.
    async fn next(&self) -> Vec<u8> {
        loop {
            if let Some(first) = self.queue.borrow().front() {
                return first.request.clone();
            }
            self.added.notified().await;
        }
    }

    async fn send(&self, kept: &mut Option<Connection>, payload: Vec<u8>) -> io::Result<()> {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(Connection::open(&self.address).await?),
        };
        match time::timeout(PATIENCE, connection.forward(payload)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// How many events are not sent yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Waits until everything was sent, for at most `bound`.
    pub(crate) async fn flush(&self, bound: Duration) {
        let emptied = self.emptied.notified();
        if !self.queue.borrow().is_empty() && time::timeout(bound, emptied).await.is_err() {
            log::warn!("{} events were not sent", self.queue.borrow().len());
        }
    }
}

/// A connection to containerd.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// The number of the next call: odd ones are the client's.
    next: u32,
}

impl Connection {
    async fn open(address: &str) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(address).await?, next: 1 })
    }

    async fn forward(&mut self, payload: Vec<u8>) -> io::Result<()> {
        let request = Request {
            service: SERVICE.to_owned(),
            method: "Forward".to_owned(),
            payload,
            timeout_nano: i64::try_from(PATIENCE.as_nanos()).unwrap_or_default(),
            ..Request::default()
        };
        let id = self.next;
        self.next = self.next.wrapping_add(2);
        frame::write(&mut self.stream, (id, Kind::Request), &request).await?;
        loop {
            let answer = frame::read(&mut self.stream).await?;
            let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
            if answer.stream != id || answer.kind != Kind::Response {
                continue;
            }
            let response = Response::parse_from_bytes(&answer.payload.unwrap_or_default())?;
            let code = response.status.code.enum_value_or(Code::UNKNOWN);
            return match (response.status.is_none(), code) {
                (true, _) | (false, Code::OK) => Ok(()),
                (false, Code::UNAVAILABLE | Code::DEADLINE_EXCEEDED | Code::CANCELLED) => {
                    Err(io::Error::other(response.status.message.clone()))
                }
                // It will not take it the next time either.
                _ => {
                    log::error!("containerd refuses an event: {}", response.status.message);
                    Ok(())
                }
            };
        }
    }
}
