//! Starts the init program with a program of steps and reads what it reports.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use crate::program::{Encoder, FDS_PER_MESSAGE, Gate, List, Op, Report, Slot, Step};

/// The number of the control socket in the init program.
const CONTROL: RawFd = 100;

static SKIPPED: AtomicU32 = AtomicU32::new(0);

/// Whether the tests can run; says so once for each that cannot.
pub fn privileged() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    eprintln!("skipped ({count} so far): needs root");
    false
}

/// A report as it has arrived.
#[derive(Debug)]
pub struct Message {
    pub report: Report,
    pub text: String,
    pub fds: Vec<OwnedFd>,
}

impl Message {
    pub fn gate(&self) -> Option<u64> {
        (self.report.tag == Report::GATE).then_some(self.report.detail)
    }

    /// Step, operation, errno and text of a failure.
    pub fn failure(&self) -> (u32, u32, i32, &str) {
        assert_eq!(self.report.tag, Report::FAILED, "{self:?}");
        (self.report.step, self.report.op, self.report.errno, &self.text)
    }
}

/// A program being written, with the descriptors of its slots.
pub struct Setup {
    encoder: Encoder,
    fds: Vec<OwnedFd>,
    more: u32,
    pub namespaces: CloneFlags,
    pub keep: u32,
    /// Descriptors of this process that the child inherits at these numbers.
    pub inherit: Vec<(RawFd, RawFd)>,
    /// Signals that the child ignores before it executes the init program.
    pub ignore: Vec<i32>,
    /// The user that starts the init program, if it is not root.
    pub user: Option<u32>,
}

impl Setup {
    pub fn new(namespaces: CloneFlags) -> Self {
        Self {
            encoder: Encoder::default(),
            fds: Vec::new(),
            more: 0,
            namespaces,
            keep: 0,
            inherit: Vec::new(),
            ignore: Vec::new(),
            user: None,
        }
    }

    /// A new mount namespace whose mounts are private.
    pub fn mounts() -> Self {
        let mut setup = Self::new(CloneFlags::CLONE_NEWNS);
        setup.step(&Step::Propagation { propagation: libc::MS_PRIVATE });
        setup
    }

    /// In the cage of a root file system.
    pub fn caged(root: &Path) -> Self {
        let mut setup = Self::mounts();
        let tree = setup.send(clone_tree(root));
        let path = path_text(root);
        setup.step(&Step::Root { tree, path: &path, propagation: libc::MS_PRIVATE });
        setup
    }

    /// All descriptors that are sent come before the slots that steps fill.
    pub fn send(&mut self, fd: OwnedFd) -> Slot {
        assert_eq!(self.more, 0, "slots are sent first");
        self.fds.push(fd);
        Slot(u32::try_from(self.fds.len() - 1).unwrap())
    }

    pub fn slot(&mut self) -> Slot {
        self.more += 1;
        Slot(u32::try_from(self.fds.len()).unwrap() + self.more - 1)
    }

    pub fn step(&mut self, step: &Step<'_>) -> u32 {
        self.encoder.push(step)
    }

    /// A file system attached at `target`.
    pub fn mount(&mut self, kind: &CStr, options: &[u8], target: &CStr) -> Slot {
        let slot = self.slot();
        self.step(&Step::NewFilesystem {
            slot,
            kind,
            source: c"",
            options: List::new(options).unwrap(),
            attributes: 0,
            otherwise: c"",
        });
        self.attach(slot, target);
        slot
    }

    pub fn attach(&mut self, slot: Slot, target: &CStr) -> u32 {
        self.step(&attach(slot, target))
    }

    /// Executes busybox's shell with this script.
    pub fn shell(&mut self, script: &str) {
        self.step(&Step::FindExecutable { name: c"/bin/busybox", path: c"" });
        let args = list(&["sh", "-c", script]);
        self.step(&Step::Execute {
            args: List::new(&args).unwrap(),
            env: List::new(b"PATH=/bin\0").unwrap(),
        });
    }

    /// Starts the init program.
    pub fn start(self) -> Running {
        let received = u32::try_from(self.fds.len()).unwrap();
        let bytes = self.encoder.finish(received, received + self.more);
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .unwrap();
        let mut command = Command::new(env!("CORACLE_INIT_PATH"));
        command.arg(CONTROL.to_string()).arg(self.keep.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut targets = vec![(theirs.as_raw_fd(), CONTROL)];
        targets.extend(self.inherit);
        let (namespaces, ignore) = (self.namespaces, self.ignore);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let prepare = move || {
            for &(from, to) in &targets {
                // SAFETY: numbers only; dup2 is safe between fork and exec.
                if unsafe { libc::dup2(from, to) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            for &signal in &ignore {
                // SAFETY: as above.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            // What a shell gives; the tests themselves may have more.
            let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
            // SAFETY: as above.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
            unshare(namespaces).map_err(io::Error::from)
        };
        // SAFETY: the closure calls async-signal-safe functions only and does not allocate.
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn().unwrap();
        drop(theirs);
        send_program(&ours, &bytes, &self.fds);
        Running { child: Some(child), socket: ours }
    }

    /// Starts, and expects a failure.
    pub fn fails(self) -> Message {
        let running = self.start();
        let message = running.receive().expect("a report");
        assert_eq!(running.end().0.code(), Some(1), "{message:?}");
        message
    }

    /// Starts, and expects that the payload ends well with this output.
    pub fn prints(self) -> String {
        let running = self.start();
        if let Some(message) = running.receive() {
            panic!("{message:?}: {}", crate::program::Op::text(message.report.op));
        }
        let (status, output) = running.end();
        assert!(status.success(), "{status}: {output}");
        output
    }
}

fn send_program(socket: &OwnedFd, bytes: &[u8], fds: &[OwnedFd]) {
    let mut file = File::from(memfd_create(c"program", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    let all: Vec<RawFd> =
        [file.as_raw_fd()].into_iter().chain(fds.iter().map(|fd| fd.as_raw_fd())).collect();
    for part in all.chunks(FDS_PER_MESSAGE) {
        let rights = [ControlMessage::ScmRights(part)];
        sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(b"fds")],
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .unwrap();
    }
}

/// The init program at work.
pub struct Running {
    child: Option<Child>,
    pub socket: OwnedFd,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The next report; none when the socket is closed.
    pub fn receive(&self) -> Option<Message> {
        receive(&self.socket)
    }

    pub fn expect_gate(&self, gate: Gate) {
        let message = self.receive().expect("a report");
        assert_eq!(message.gate(), Some(gate as u64), "{message:?}");
    }

    pub fn go(&self, bytes: &[u8]) {
        nix::sys::socket::send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).unwrap();
    }

    /// Closes the socket, waits, and gives what was printed.
    pub fn end(mut self) -> (ExitStatus, String) {
        let child = self.child.take().unwrap();
        drop(self.socket);
        let output = child.wait_with_output().unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status, text)
    }
}

/// The next report but that of the departure, which most tests take for granted.
pub fn receive(socket: &OwnedFd) -> Option<Message> {
    match receive_any(socket) {
        Some(message) if message.report.tag == Report::DEPARTS => receive_any(socket),
        other => other,
    }
}

pub fn receive_any(socket: &OwnedFd) -> Option<Message> {
    // An error of its own when the other end has left a message unread; reports come after it.
    receive_once(socket).unwrap_or_else(|| receive_once(socket).flatten())
}

/// `None` if the connection has been reset.
fn receive_once(socket: &OwnedFd) -> Option<Option<Message>> {
    let mut buffer = [0u8; 512];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let received =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
    let received = match received {
        Err(nix::Error::ECONNRESET) => return None,
        other => other.unwrap(),
    };
    let mut fds = Vec::new();
    for message in received.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(list) = message {
            // SAFETY: just received; nobody else owns them.
            fds.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let length = received.bytes;
    if length == 0 {
        return Some(None);
    }
    let (report, text) = Report::from_bytes(&buffer[..length]).expect("a report");
    let text = String::from_utf8_lossy(text).into_owned();
    Some(Some(Message { report, text, fds }))
}

pub fn attach<'a>(slot: Slot, target: &'a CStr) -> Step<'a> {
    Step::Attach {
        slot,
        target,
        set: 0,
        clear: 0,
        set_recursive: 0,
        clear_recursive: 0,
        propagation: 0,
        propagation_recursive: false,
        over_proc: false,
        no_symlink: false,
        keep_mode: false,
        copy: false,
    }
}

/// Strings, each ended by a NUL.
pub fn list(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

pub fn path_text(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// A detached copy of the mounts at a path.
pub fn clone_tree(path: &Path) -> OwnedFd {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let path = path_text(path);
    let flags = OPEN_TREE_CLONE | 0o2_000_000 | 0x8000;
    // SAFETY: the path lives through the call; the descriptor is new.
    unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags);
        assert!(fd >= 0, "open_tree: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap())
    }
}

/// Copies a file that is to be executed. Not written by this process: a child that another test forks
/// meanwhile would have it open for writing, too, and the kernel executes no such file (`ETXTBSY`).
pub fn install(from: &Path, to: &Path, mode: u32) {
    let copied =
        Command::new("install").arg("-m").arg(format!("{mode:o}")).arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "install {}", from.display());
}

/// A root file system with a static busybox as /bin/busybox.
pub fn rootfs() -> tempfile::TempDir {
    let root = tempfile::Builder::new().prefix("coracle-init-").tempdir().unwrap();
    for directory in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    install(Path::new("/bin/busybox"), &root.path().join("bin/busybox"), 0o755);
    for applet in ["sh", "ls", "cat", "stat", "grep", "mount", "readlink", "id"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet)).unwrap();
    }
    root
}

/// A program that executes `script` in the root of `setup`, entered for good.
pub fn pivot(setup: &mut Setup) {
    setup.step(&Step::Pivot { pivot: true, propagation: 0, recursive: false });
}

/// What a failure must be, on `text`.
pub fn failure(step: u32, op: Op, errno: i32, text: &str) -> (u32, u32, i32, &str) {
    (step, op as u32, errno, text)
}

/// A new file system in `slot`, with options each ended by a NUL.
pub fn filesystem<'a>(slot: Slot, kind: &'a CStr, options: &'a [u8]) -> Step<'a> {
    Step::NewFilesystem {
        slot,
        kind,
        source: c"",
        options: List::new(options).unwrap(),
        attributes: 0,
        otherwise: c"",
    }
}
