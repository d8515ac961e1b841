//! TTRPC: frames of a ten-byte head (length, stream, kind, flags; big endian) and a message.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{Request, Response, Status};

use crate::failure::{Check, broken};

/// The time limit of a call.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// The largest message (the protocol's own limit).
const LARGEST: u32 = 4 << 20;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// One frame.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The number of the call.
    pub(crate) stream: u32,
    /// Request or response.
    kind: u8,
    /// The encoded message.
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// The answer to a request.
    pub(crate) fn response(stream: u32, body: Vec<u8>) -> Self {
        Self { stream, kind: RESPONSE, body }
    }

    fn request(stream: u32, body: Vec<u8>) -> Self {
        Self { stream, kind: REQUEST, body }
    }

    /// Writes the frame in one piece.
    ///
    /// # Errors
    /// The peer is gone.
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let length = u32::try_from(self.body.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(self.body.len() + 10);
        bytes.extend(length.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend([self.kind, 0]);
        bytes.extend(&self.body);
        to.write_all(&bytes)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// The peer is gone, or sends more than a message can hold.
    pub(crate) fn read(mut from: impl Read) -> io::Result<Self> {
        let (mut length, mut stream, mut rest) = ([0; 4], [0; 4], [0; 2]);
        from.read_exact(&mut length)?;
        from.read_exact(&mut stream)?;
        from.read_exact(&mut rest)?;
        let length = u32::from_be_bytes(length);
        if length > LARGEST {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut body = Vec::new();
        from.take(length.into()).read_to_end(&mut body)?;
        Ok(Self { stream: u32::from_be_bytes(stream), kind: rest[0], body })
    }
}

/// Why a call has no answer.
#[derive(Debug)]
enum Trouble {
    Refused(Status),
    Lost(String),
}

/// How a call ended.
#[derive(Debug)]
#[must_use]
pub(crate) struct Reply<A> {
    method: String,
    result: Result<A, Trouble>,
}

impl<A: fmt::Debug> Reply<A> {
    /// The answer.
    ///
    /// # Errors
    /// The call was refused, or nothing came back.
    pub(crate) fn ok(self) -> Check<A> {
        match self.result {
            Ok(answer) => Ok(answer),
            Err(Trouble::Refused(status)) => broken(format!(
                "{}: refused with code {}: {}",
                self.method,
                status.code.value(),
                status.message
            )),
            Err(Trouble::Lost(why)) => broken(format!("{}: {why}", self.method)),
        }
    }

    /// The call must be refused, with whatever code; its words are returned.
    ///
    /// # Errors
    /// It succeeded, or nothing came back.
    pub(crate) fn fails(self) -> Check<Status> {
        match self.result {
            Ok(answer) => broken(format!("{}: must be refused, answered {answer:?}", self.method)),
            Err(Trouble::Refused(status)) if status.code.value() == 0 => {
                broken(format!("{}: refused without a code", self.method))
            }
            Err(Trouble::Refused(status)) => Ok(status),
            Err(Trouble::Lost(why)) => broken(format!("{}: {why}", self.method)),
        }
    }

    /// The call must be refused with this code; its words are returned.
    ///
    /// # Errors
    /// It succeeded, was refused with another code, or nothing came back.
    pub(crate) fn refused(self, code: i32) -> Check<String> {
        let method = self.method.clone();
        let status = self.fails()?;
        let found = status.code.value();
        if found == code {
            return Ok(status.message);
        }
        broken(format!("{method}: code {found} ({}), wanted {code}", status.message))
    }

    /// Nothing came back: the connection or the time ended.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.result, Err(Trouble::Lost(_)))
    }

    /// The call was answered.
    pub(crate) fn is_ok(&self) -> bool {
        self.result.is_ok()
    }
}

type Waiting = Mutex<Option<HashMap<u32, Sender<Vec<u8>>>>>;

/// A connection to one service.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    writer: Mutex<u32>,
    waiting: Arc<Waiting>,
    service: String,
}

/// A call on its way.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pending {
    method: String,
    stream: u32,
    answer: Receiver<Vec<u8>>,
}

impl Connection {
    /// Connects to the service of this name.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn open(path: &Path, service: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        let waiting: Arc<Waiting> = Arc::new(Mutex::new(Some(HashMap::new())));
        let (reader, answers) = (stream.try_clone()?, Arc::clone(&waiting));
        thread::spawn(move || {
            while let Ok(frame) = Frame::read(&reader) {
                let mut list = answers.lock().unwrap_or_else(PoisonError::into_inner);
                let waiting = list.as_mut().and_then(|list| list.remove(&frame.stream));
                // Nobody waits for the answer to a call that was given up.
                let _ = waiting.map(|waiting| waiting.send(frame.body));
            }
            answers.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        let service = service.to_owned();
        Ok(Self { stream, writer: Mutex::new(1), waiting, service })
    }

    /// Sends a request and does not wait; the server is told to give up after `limit`.
    pub(crate) fn begin(&self, method: &str, request: &impl Message, limit: Duration) -> Pending {
        let (sender, answer) = channel();
        let mut next = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = *next;
        // Streams of a client are odd and grow.
        *next += 2;
        if let Some(list) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            list.insert(stream, sender);
        }
        let whole = Request {
            service: self.service.clone(),
            method: method.to_owned(),
            payload: request.write_to_bytes().unwrap_or_default(),
            timeout_nano: i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let body = whole.write_to_bytes().unwrap_or_default();
        // A peer that is gone is seen where the answer is waited for.
        let _ = Frame::request(stream, body).write(&self.stream);
        Pending { method: method.to_owned(), stream, answer }
    }

    /// Makes a call.
    pub(crate) fn call<A: Message>(&self, method: &str, request: &impl Message) -> Reply<A> {
        self.begin(method, request, LIMIT).wait(LIMIT + Duration::from_secs(1))
    }

    /// Sends bytes that need not be a frame.
    ///
    /// # Errors
    /// The peer is gone.
    pub(crate) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Pending {
    /// Waits for the answer.
    pub(crate) fn wait<A: Message>(self, limit: Duration) -> Reply<A> {
        let result = match self.answer.recv_timeout(limit) {
            Ok(body) => decode(&body),
            Err(RecvTimeoutError::Timeout) => {
                Err(Trouble::Lost(format!("no answer in {limit:?} (stream {})", self.stream)))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Trouble::Lost("the connection ended without an answer".to_owned()))
            }
        };
        Reply { method: self.method, result }
    }

    /// Whether there is no answer yet after this time.
    pub(crate) fn is_open_after(&self, time: Duration) -> bool {
        // An answer that is taken here is lost, and so is the case that looks.
        matches!(self.answer.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

fn decode<A: Message>(body: &[u8]) -> Result<A, Trouble> {
    let lost = |error: containerd_shim_protos::protobuf::Error| Trouble::Lost(error.to_string());
    let response = Response::parse_from_bytes(body).map_err(lost)?;
    match response.status.into_option().filter(|status| status.code.value() != 0) {
        Some(status) => Err(Trouble::Refused(status)),
        None => A::parse_from_bytes(&response.payload).map_err(lost),
    }
}
