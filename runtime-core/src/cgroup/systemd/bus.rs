//! A connection to the manager of services: its private socket, else a message bus.
//!
//! Every wait has a bound; a manager that does not answer fails the call and nothing else.

use std::collections::VecDeque;
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::message::{self, Call, FIXED, Message, Reader, Writer};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::sys::stream;

/// How long a call, or a job of a unit, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// More signals than come while one job runs; older ones are forgotten.
const KEPT: usize = 256;

pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
const DBUS: &str = "org.freedesktop.DBus";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    path: PathBuf,
    serial: u32,
    /// Jobs that have ended: path and result.
    ended: VecDeque<(String, String)>,
    deadline: Instant,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The manager's own error.
    Answered {
        /// Its name, as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// Its words.
        text: String,
    },
    /// The connection failed.
    Lost(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

impl Refusal {
    /// As an error of the library.
    pub(super) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Lost(error) => error.context(what),
            Self::Answered { name, text } => {
                let kind = match &*name {
                    "org.freedesktop.DBus.Error.AccessDenied"
                    | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
                        ErrorKind::Denied
                    }
                    _ => ErrorKind::System,
                };
                Error::new(kind, format!("{what}: systemd answers: {text} [{name}]"))
            }
        }
    }
}

impl Bus {
    /// Connects to the system's manager, or to the user's.
    ///
    /// # Errors
    /// When no socket is there or none answers.
    pub(super) fn connect(user: bool) -> Result<Self> {
        let mut first = None;
        for (path, private) in sockets(user) {
            match Self::open(&path, private) {
                Ok(bus) => return Ok(bus),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        let error = first.unwrap_or_else(|| {
            Error::new(ErrorKind::Unsupported, "no socket of systemd's user manager is known")
        });
        let hint = if user {
            "is a user manager running (loginctl enable-linger), and is XDG_RUNTIME_DIR set?"
        } else {
            "the systemd cgroup driver needs systemd; the cgroupfs driver does not"
        };
        Err(error.with_hint(hint))
    }

    fn open(path: &Path, private: bool) -> Result<Self> {
        let stream = stream::connect(path, "systemd")?;
        let mut bus = Self {
            stream,
            path: path.to_owned(),
            serial: 0,
            ended: VecDeque::new(),
            deadline: Instant::now() + PATIENCE,
        };
        bus.authenticate()?;
        if !private {
            bus.greet().map_err(|refusal| refusal.into_error("greet the message bus"))?;
        }
        Ok(bus)
    }

    /// SASL EXTERNAL without a name: the other side takes the socket's own credentials, which also
    /// holds across user namespaces. Everything is sent at once, the answer is read after it.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.extend(byte);
            if !line.ends_with(b"\r\n") {
                if line.len() > 512 {
                    return Err(self.failure("is no message bus"));
                }
                continue;
            }
            if line.starts_with(b"OK ") {
                return Ok(());
            }
            if !line.starts_with(b"DATA") {
                return Err(self.failure("does not accept this user"));
            }
            line.clear();
        }
    }

    fn greet(&mut self) -> Result<(), Refusal> {
        let mut rule = Writer::default();
        rule.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
        let call = |interface, member, signature, body| Call {
            destination: DBUS,
            path: "/org/freedesktop/DBus",
            interface,
            member,
            signature,
            body,
        };
        self.call(&call(DBUS, "Hello", "", Writer::default()))?;
        self.call(&call(DBUS, "AddMatch", "s", rule))?;
        // A manager sends signals to a bus only for those who asked.
        self.call(&Call {
            destination: SYSTEMD,
            path: MANAGER_PATH,
            interface: MANAGER,
            member: "Subscribe",
            signature: "",
            body: Writer::default(),
        })?;
        Ok(())
    }

    /// Sends a call and waits for its answer; the body.
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Vec<u8>, Refusal> {
        self.deadline = Instant::now() + PATIENCE;
        self.serial += 1;
        let serial = self.serial;
        let bytes = call.encode(serial);
        if bytes.len() > message::MAX {
            return Err(self.failure("would be sent a message that is too long").into());
        }
        self.send(&bytes)?;
        loop {
            match self.next()? {
                Message::Answer { to, body } if to == serial => return Ok(body),
                Message::Error { to, name, text } if to == serial => {
                    return Err(Refusal::Answered { name, text });
                }
                other => self.keep(other),
            }
        }
    }

    /// Waits for the end of a job; its result, `done` when all went well.
    pub(super) fn wait_for_job(&mut self, job: &str) -> Result<String> {
        self.deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.ended.iter().position(|(path, _)| path == job) {
                return Ok(self.ended.remove(at).map(|(_, result)| result).unwrap_or_default());
            }
            let message = self.next()?;
            self.keep(message);
        }
    }

    fn keep(&mut self, message: Message) {
        let Message::Signal { member, body } = message else { return };
        if member != "JobRemoved" {
            return;
        }
        let mut body = Reader::new(&body);
        let parts = (body.u32(), body.text(), body.text(), body.text());
        if let (Some(_number), Some(job), Some(_unit), Some(result)) = parts {
            if self.ended.len() == KEPT {
                self.ended.pop_front();
            }
            self.ended.push_back((job.to_owned(), result.to_owned()));
        }
    }

    fn next(&mut self) -> Result<Message> {
        let mut fixed = [0; FIXED];
        self.receive(&mut fixed)?;
        let length = message::length(&fixed)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(length, 0);
        if let Some(rest) = bytes.get_mut(FIXED..) {
            self.receive(rest)?;
        }
        message::decode(&bytes)
    }

    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, "systemd has not answered for 30 s at")
                .with_path(&self.path));
        }
        Ok(left)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let left = self.left()?;
        self.stream.set_write_timeout(Some(left)).attempt("set a time limit")?;
        self.stream.write_all(bytes).attempt_on("write to systemd's socket", &self.path)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let left = self.left()?;
            self.stream.set_read_timeout(Some(left)).attempt("set a time limit")?;
            match self.stream.read(rest) {
                Ok(0) => return Err(self.failure("has closed the connection")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == IoKind::Interrupted => {}
                // The time limit: the next round says so.
                Err(error) if error.kind() == IoKind::WouldBlock => {}
                Err(error) => {
                    return Err(error).attempt_on("read from systemd's socket", &self.path);
                }
            }
        }
        Ok(())
    }

    fn failure(&self, what: &str) -> Error {
        let message = format!("systemd's socket {} {what}", self.path.display());
        Error::new(ErrorKind::System, message)
    }
}

/// The sockets to try, and whether each is the manager's own. Only root may use the system's.
fn sockets(user: bool) -> Vec<(PathBuf, bool)> {
    if !user {
        return vec![
            (PathBuf::from("/run/systemd/private"), true),
            (PathBuf::from("/run/dbus/system_bus_socket"), false),
        ];
    }
    let directory = std::env::var_os("XDG_RUNTIME_DIR")
        .map_or_else(|| PathBuf::from(format!("/run/user/{}", geteuid())), PathBuf::from);
    let mut all = vec![(directory.join("systemd/private"), true)];
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    let named = address.as_deref().and_then(|address| address.strip_prefix("unix:path="));
    let named = named.and_then(|rest| rest.split([',', ';']).next()).map(PathBuf::from);
    all.push((named.unwrap_or_else(|| directory.join("bus")), false));
    all
}
