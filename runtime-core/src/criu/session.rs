//! A running criu and the conversation with it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};

use super::hierarchy::Hierarchy;
use super::log;
use super::options::CriuOptions;
use super::request::{Kind, Request, acknowledgement, question};
use super::response::{Feature, Notice, Response, Version};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::sys::{pidfd, process, socket};

/// The oldest criu that has all that is used here: external pid namespaces came with 3.15, profiles of
/// security modules at a restore with 3.16.
const OLDEST: Version = (3, 16, 0);

/// The longest message of criu; it has 64 KiB for its own.
const LONGEST: usize = 64 * 1024;

/// How criu is started.
#[derive(Debug, Default)]
pub(crate) struct Start<'a> {
    /// Its standard streams, which restored processes can inherit; `None`: /dev/null.
    pub(crate) streams: Option<[OwnedFd; 3]>,
    /// Descriptors that it has under the same numbers.
    pub(crate) inherited: Vec<BorrowedFd<'a>>,
    /// Mounts of its own, in which this directory is a mount point: processes are restored below it.
    pub(crate) root: Option<&'a Path>,
    /// A session keyring of its own with this name, which restored processes inherit.
    pub(crate) keyring: Option<String>,
    /// It leads a process group of its own.
    pub(crate) group: bool,
}

/// A criu that waits for requests. When this is dropped, it ends and is reaped.
#[derive(Debug)]
pub(crate) struct Criu {
    child: Child,
    pidfd: OwnedFd,
    socket: Option<OwnedFd>,
}

impl Criu {
    /// Starts it, and makes sure that it is new enough.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is none or if it is too old; the failure of a system call.
    pub(crate) fn start(start: Start<'_>, options: &CriuOptions) -> Result<Self> {
        let program = options.program.as_deref().unwrap_or(Path::new("criu"));
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .attempt("make a pair of sockets")?;
        let mut command = command(program, &theirs, start)?;
        let child = command.spawn().map_err(|source| absent(program, &source))?;
        drop((command, theirs));
        let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
        let pidfd = pidfd::open(pid).attempt("open criu's process")?;
        let criu = Self { child, pidfd, socket: Some(ours) };
        criu.check_version()?;
        Ok(criu)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// The descriptor of its process.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn check_version(&self) -> Result<()> {
        let response = self.ask(&question(Kind::Version, None))?;
        let found = response.version.filter(|_| response.success).unwrap_or_default();
        if found >= OLDEST {
            return Ok(());
        }
        let text = |(major, minor, _): Version| format!("{major}.{minor}");
        let message = format!("criu {} is too old, {} is needed", text(found), text(OLDEST));
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// Makes sure that criu and the kernel have a feature.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] naming it; the failure of a system call.
    pub(crate) fn check_feature(&self, feature: Feature) -> Result<()> {
        let response = self.ask(&question(Kind::FeatureCheck, Some(feature)))?;
        if response.success && response.features.contains(&feature) {
            return Ok(());
        }
        let message = format!("criu or the kernel does not support {}", feature.name());
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// Has a request carried out. `notify` is told what happens meanwhile, and what it answers as an error
    /// ends the request. The result is the process that was restored.
    ///
    /// # Errors
    /// What `notify` answers; otherwise what criu says, with the failing lines of the log at this path.
    pub(crate) fn carry_out(
        mut self,
        kind: Kind,
        request: &Request<'_>,
        log: &Path,
        notify: &mut dyn FnMut(Notice) -> Result<()>,
    ) -> Result<Option<i32>> {
        let lazy = request.options.is_some_and(|options| options.lazy_pages);
        let hierarchy = Hierarchy::look(!lazy);
        log::clear(log);
        let done = self.converse(kind, request, log, notify);
        if let Some(Err(error)) = hierarchy.as_ref().map(Hierarchy::put_back) {
            ::log::warn!("{error}");
        }
        done
    }

    fn converse(
        &mut self,
        kind: Kind,
        request: &Request<'_>,
        log: &Path,
        notify: &mut dyn FnMut(Notice) -> Result<()>,
    ) -> Result<Option<i32>> {
        self.send(&request.encode(kind))?;
        let mut refusal = None;
        let response = loop {
            let (response, fd) = self.receive().map_err(|error| {
                let ended = log::failure("criu has ended without an answer", log);
                if error.errno().is_some() { error } else { ended }
            })?;
            let Some((word, pid)) = &response.notice else { break response };
            let told = notice(word, *pid, fd).map_or(Ok(()), &mut *notify);
            self.send(&acknowledgement(told.is_ok()))?;
            if let Err(error) = told {
                refusal.get_or_insert(error);
            }
        };
        // After a dump of memory alone it waits for the next request, and counts the end as a failure.
        self.socket = None;
        let ended = self.child.wait().attempt("wait for criu")?;
        if let Some(error) = refusal {
            return Err(error);
        }
        if !response.success {
            return Err(failed(&response, kind, log));
        }
        if ended.success() || kind == Kind::PreDump {
            return Ok(response.pid);
        }
        Err(log::failure(&format!("criu failed: {ended}"), log))
    }

    fn ask(&self, message: &[u8]) -> Result<Response> {
        self.send(message)?;
        self.receive().map(|(response, _)| response)
    }

    fn send(&self, message: &[u8]) -> Result<()> {
        let socket = self.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        match send(socket, message, MsgFlags::MSG_NOSIGNAL) {
            // It has ended; its last words are still to be received.
            Err(nix::errno::Errno::EPIPE | nix::errno::Errno::ECONNRESET) => Ok(()),
            sent => sent.attempt("send to criu").map(drop),
        }
    }

    fn receive(&self) -> Result<(Response, Option<OwnedFd>)> {
        let mut buffer = vec![0; LONGEST];
        let socket = self.socket.as_ref().map(AsFd::as_fd);
        let socket = socket.ok_or_else(|| Error::new(ErrorKind::System, "criu has ended"))?;
        let (length, fds) = socket::receive(socket, &mut buffer).attempt("receive from criu")?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let response = Response::decode(bytes).ok_or_else(|| {
            let how = if length == 0 { "has ended without an answer" } else { "has sent nonsense" };
            Error::new(ErrorKind::System, format!("criu {how}"))
        })?;
        Ok((response, fds.into_iter().next()))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        // At the end of the connection it gives up what it was doing.
        self.socket = None;
        let _reaped = self.child.wait();
    }
}

fn command(program: &Path, socket: &OwnedFd, start: Start<'_>) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg("swrk").arg(socket.as_raw_fd().to_string());
    match start.streams {
        Some([input, output, error]) => command.stdin(input).stdout(output).stderr(error),
        None => command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()),
    };
    if start.group {
        command.process_group(0);
    }
    process::keep_to_itself(&mut command);
    let mut kept: Vec<RawFd> = start.inherited.iter().map(AsRawFd::as_raw_fd).collect();
    kept.push(socket.as_raw_fd());
    process::inherit(&mut command, kept);
    let nul = |_| Error::new(ErrorKind::InvalidSpec, "a path has a NUL character");
    if let Some(root) = start.root {
        let root = CString::new(root.as_os_str().as_bytes()).map_err(nul)?;
        process::mount_apart(&mut command, root);
    }
    if let Some(name) = start.keyring {
        process::join_keyring(&mut command, CString::new(name).map_err(nul)?);
    }
    Ok(command)
}

/// What a notification is about; `None` for one that needs nothing.
fn notice(word: &str, pid: i32, fd: Option<OwnedFd>) -> Option<Notice> {
    match word {
        "setup-namespaces" => Some(Notice::Namespaces(pid)),
        "orphan-pts-master" => fd.map(Notice::Terminal),
        "status-ready" => Some(Notice::Ready),
        _ => None,
    }
}

fn absent(program: &Path, source: &io::Error) -> Error {
    if source.kind() == io::ErrorKind::PermissionDenied {
        let error = Error::io("start criu", source).with_path(program);
        return error.with_hint("it needs the privileges of root");
    }
    if source.kind() != io::ErrorKind::NotFound {
        return Error::io("start criu", source).with_path(program);
    }
    let message =
        format!("{:?}: executable file not found in $PATH", program.display().to_string());
    Error::new(ErrorKind::Unsupported, message)
        .with_hint("checkpoint and restore need criu to be installed")
        .context("start criu")
}

fn failed(response: &Response, kind: Kind, log: &Path) -> Error {
    let kinds = [Kind::Dump, Kind::Restore, Kind::PreDump, Kind::Notify];
    let kind = kinds.into_iter().find(|kind| kind.number() == response.kind).unwrap_or(kind);
    let message = format!("criu failed: type {} errno {}", kind.name(), response.errno);
    log::failure(&message, log)
}
