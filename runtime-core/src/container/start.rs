//! Letting the program of a created container run.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};

use super::{Container, Status, delete};
use crate::error::{Attempt, Context, Error, ErrorKind, Result};
use crate::hooks::Environment;
use crate::launch::{self, KILLED, Message, explain_start};
use crate::program::{REPORT_TEXT, Report};
use crate::seccomp::{Address, Agent};
use crate::state::{Directory, Journal, Record, START_SOCKET};
use crate::sys::{self, pidfd};

impl Container {
    /// Starts the program and runs the poststart hooks (runtime-spec, runtime.md "Start").
    ///
    /// Returns once execve has succeeded: a program that cannot be executed is an error here. A failed
    /// startContainer or poststart hook is the end of the container, which is deleted then, poststop
    /// hooks included ("Lifecycle", steps 7 and 9).
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`](crate::ErrorKind::WrongStatus) unless the container is created;
    /// what the hooks or execve answer. A seccomp agent that cannot be reached leaves the container as it
    /// is; one that does not take the listener is the end of its process.
    pub fn start(&self) -> Result<()> {
        let record = self.record()?;
        self.check_owner(record)?;
        self.start_recorded(record).map_err(|error| {
            if error.kind() != ErrorKind::Hook {
                return error;
            }
            match delete::delete(&self.runtime, &self.id, true) {
                Ok(()) => error,
                Err(left) => delete::left_behind(error, &left),
            }
        })
    }

    fn start_recorded(&self, record: &Record) -> Result<()> {
        let directory = self.lock()?;
        match self.status()? {
            Status::Created => {}
            Status::Stopped => {
                return Err(self.wrong_status("cannot start a container that has stopped"));
            }
            Status::Paused => {
                return Err(self.wrong_status("cannot start a container in the paused state"));
            }
            _ => return Err(self.wrong_status("cannot start an already running container")),
        }
        if record.hooks.poststart.is_empty() {
            return self.release(record, &directory);
        }
        // Their processes are recorded, so that a deletion by force can end a hook that hangs.
        let mut journal = Journal::open(&directory)?;
        self.release(record, &directory)?;
        // A hook, or anybody meanwhile, may execute more in it.
        let _shared = directory.share()?;
        let state = record.document(&self.id, "running").with_pid(record.init.pid);
        let environment =
            Environment { kind: "poststart", state: state.as_bytes(), bundle: &record.bundle };
        let hooks = &record.hooks.poststart;
        environment.run(hooks, &mut |pid, pidfd| journal.note_hook(pid, pidfd)).inspect_err(|_| {
            if let Some(pidfd) = record.init.open() {
                let _killed = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
            }
        })
    }

    /// The init program answers nobody but the user who created the container.
    fn check_owner(&self, record: &Record) -> Result<()> {
        if nix::unistd::geteuid().as_raw() == record.owner {
            return Ok(());
        }
        let message = format!("only the user {} can start container {}", record.owner, self.id);
        Err(Error::new(ErrorKind::Denied, message))
    }

    /// Connects to the init program and waits for its execve.
    fn release(&self, record: &Record, directory: &Directory) -> Result<()> {
        // An agent that is not there leaves the container as it is.
        let agent = record.agent.as_ref().map(Address::connect).transpose()?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let connection = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
            .attempt("make a socket")?;
        let path = directory.short_path(START_SOCKET);
        let address = UnixAddr::new(&path).attempt_on("name the start socket", &path)?;
        match connect(connection.as_raw_fd(), &address) {
            Ok(()) => {}
            Err(Errno::ECONNREFUSED) => {
                // Somebody else's start was killed after it had connected.
                directory.unlink(START_SOCKET)?;
                return Err(self.wrong_status("cannot start an already running container"));
            }
            Err(errno) => return Err(errno).attempt("connect to the init program"),
        }
        directory.unlink(START_SOCKET)?;
        self.await_execution(record, connection.as_fd(), agent)
            .context(format!("start container {}", self.id))
    }

    /// Waits until the init program has become the payload, or has failed or ended before.
    fn await_execution(
        &self,
        record: &Record,
        connection: BorrowedFd<'_>,
        mut agent: Option<Agent<'_>>,
    ) -> Result<()> {
        let mut departed = false;
        loop {
            let mut buffer = [0; Report::LENGTH + REPORT_TEXT];
            let (length, fds) = sys::socket::receive(connection, &mut buffer)
                .attempt("wait for the program to be executed")?;
            let fd = fds.into_iter().next();
            match Message::decode(buffer.get(..length).unwrap_or_default(), fd) {
                Some(message) if message.report.tag == Report::DEPARTS => departed = true,
                Some(Message { report, fd: Some(listener), .. })
                    if report.tag == Report::LISTENER =>
                {
                    self.hand_over(record, agent.take(), &listener)?;
                    let go = MsgFlags::MSG_NOSIGNAL;
                    // If it has ended meanwhile, the end of the connection will tell.
                    let _ended = send(connection.as_raw_fd(), b"g", go);
                }
                Some(message) if message.report.tag == Report::GATE => {
                    pass_scheduled(record)?;
                    send(connection.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL)
                        .attempt("send to the init program")?;
                }
                Some(message) => {
                    let hooks = &record.hooks.start_container;
                    return Err(explain_start(record.process.as_ref(), hooks, &message));
                }
                None if departed && self.runs(record) => return Ok(()),
                None => {
                    let message = "the init program has ended before it executed the program";
                    return Err(Error::new(ErrorKind::System, message).with_hint(KILLED));
                }
            }
        }
    }

    fn runs(&self, record: &Record) -> bool {
        self.pidfd().is_none_or(|pidfd| launch::was_executed(record.init.pid, pidfd))
    }

    /// Gives the agent the listener of the filter that the init program has just loaded. Without an agent
    /// the program must not run.
    fn hand_over(
        &self,
        record: &Record,
        agent: Option<Agent<'_>>,
        listener: &OwnedFd,
    ) -> Result<()> {
        let agent = agent.ok_or_else(|| {
            Error::new(ErrorKind::System, "a listener has come, but no agent is recorded")
        });
        let state = record.document(&self.id, "created").with_pid(record.init.pid);
        let sent = agent.and_then(|agent| agent.send(listener, record.init.pid, &state));
        sent.inspect_err(|_| {
            if let Some(pidfd) = record.init.open() {
                let _killed = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
            }
        })
    }
}

/// Sets a policy that forbids forks, after the startContainer hooks. The init program waits meanwhile,
/// so that its pid is its own.
fn pass_scheduled(record: &Record) -> Result<()> {
    match (&record.process, record.init.open()) {
        (Some(process), Some(_alive)) => launch::schedule(record.init.pid, process),
        _ => Ok(()),
    }
}
