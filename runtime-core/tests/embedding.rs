//! The library's promise to the programs that embed it: nothing about the caller changes, and
//! containers can be made from many threads at once.
#![allow(clippy::expect_used, reason = "a test fails where it expects in vain")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Mutex, PoisonError};

use coracle::{Bundle, Container, CreateOptions, ErrorKind, KillTarget, Runtime, Signal};

/// The snapshot is of the whole process, so the tests that make containers take turns.
static TURN: Mutex<()> = Mutex::new(());

fn assert_send_sync<T: Send + Sync>() {}

#[test]
fn every_handle_can_be_shared_between_threads() {
    assert_send_sync::<Runtime>();
    assert_send_sync::<Container>();
    assert_send_sync::<Bundle>();
    assert_send_sync::<coracle::ExecProcess>();
    assert_send_sync::<coracle::Plan>();
    assert_send_sync::<coracle::Error>();
}

/// Why containers cannot be made here, if so.
fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        Some("needs root")
    } else if !Path::new("/bin/busybox").exists() {
        Some("needs /bin/busybox (Debian package busybox-static)")
    } else {
        None
    }
}

/// A bundle whose program is busybox.
fn bundle(directory: &Path, command: &[&str]) -> Bundle {
    let bin = directory.join("rootfs/bin");
    fs::create_dir_all(&bin).expect("rootfs");
    for part in ["proc", "dev", "sys"] {
        fs::create_dir_all(directory.join("rootfs").join(part)).expect("rootfs");
    }
    fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox");
    let config = serde_json::json!({
        "ociVersion": "1.2.1",
        "process": {"user": {"uid": 0, "gid": 0}, "args": command, "cwd": "/",
                    "env": ["PATH=/bin"], "capabilities": {}},
        "root": {"path": "rootfs"},
        "hostname": "embedded",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"},
                                 {"type": "ipc"}, {"type": "network"}]}
    });
    fs::write(directory.join("config.json"), config.to_string()).expect("config");
    Bundle::load(directory).expect("bundle")
}

/// What a program can see of itself that a careless library might change.
struct Snapshot {
    directory: PathBuf,
    umask: String,
    environment: BTreeMap<String, String>,
    status: Vec<String>,
    limits: String,
    oom_score_adj: String,
    descriptors: BTreeMap<String, PathBuf>,
    namespaces: BTreeMap<String, PathBuf>,
}

impl Snapshot {
    /// Part by part; the environment is not printed.
    fn assert_same(&self, now: &Self) {
        assert!(self.environment == now.environment, "the environment has changed");
        assert_eq!(self.directory, now.directory);
        assert_eq!(self.umask, now.umask);
        assert_eq!(self.status, now.status);
        assert_eq!(self.limits, now.limits);
        assert_eq!(self.oom_score_adj, now.oom_score_adj);
        assert_eq!(self.descriptors, now.descriptors);
        assert_eq!(self.namespaces, now.namespaces);
    }
}

fn links(directory: &str) -> BTreeMap<String, PathBuf> {
    fs::read_dir(directory)
        .expect("directory")
        .filter_map(|entry| {
            let entry = entry.expect("entry");
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), target))
        })
        .filter(|(_, target)| !target.to_string_lossy().starts_with("/proc/"))
        .collect()
}

fn snapshot() -> Snapshot {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let keep =
        ["Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "Cap", "NoNewPrivs", "Seccomp"];
    let line = |name: &str| {
        status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    Snapshot {
        directory: std::env::current_dir().expect("cwd"),
        umask: line("Umask"),
        environment: std::env::vars().collect(),
        status: status
            .lines()
            .filter(|line| keep.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect(),
        limits: fs::read_to_string("/proc/self/limits").expect("limits"),
        oom_score_adj: fs::read_to_string("/proc/self/oom_score_adj").expect("oom_score_adj"),
        descriptors: links("/proc/self/fd"),
        namespaces: links("/proc/self/ns"),
    }
}

/// Standard streams that the payload may use.
fn null() -> OwnedFd {
    fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("null").into()
}

fn quiet() -> CreateOptions {
    let mut options = CreateOptions::default();
    options.stdio = coracle::Stdio::Fds { stdin: null(), stdout: null(), stderr: null() };
    options
}

#[test]
fn eight_threads_make_containers_and_the_caller_stays_as_it_is() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().expect("directory");
    let runtime = Runtime::new(directory.path().join("state"));
    // The first container makes what the runtime keeps for all: its copy of the init program.
    let warm = bundle(&directory.path().join("warm"), &["busybox", "true"]);
    one_life(&runtime, "embedding-warm", &warm);
    let before = snapshot();
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (runtime, barrier, directory) = (&runtime, &barrier, directory.path());
            scope.spawn(move || {
                let bundle =
                    bundle(&directory.join(thread.to_string()), &["busybox", "sleep", "60"]);
                barrier.wait();
                for round in 0..4 {
                    one_life(runtime, &format!("embedding-{thread}-{round}"), &bundle);
                }
            });
        }
    });
    before.assert_same(&snapshot());
    assert!(runtime.list().expect("list").is_empty());
}

fn one_life(runtime: &Runtime, name: &str, bundle: &Bundle) {
    let id = name.parse().expect("id");
    let container = runtime.create(&id, bundle, &quiet()).expect("create");
    let again = runtime.create(&id, bundle, &quiet()).expect_err("taken");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    container.start().expect("start");
    // A short program may have ended by itself.
    if let Err(error) = container.kill(Signal::KILL, KillTarget::Init) {
        assert_eq!(error.kind(), ErrorKind::WrongStatus, "{error}");
    }
    let status = container.wait().expect("wait");
    assert!([0, 137].contains(&status.code()), "{status:?}");
    container.delete(false).expect("delete");
}

#[test]
fn a_failed_create_leaves_nothing() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().expect("directory");
    let runtime = Runtime::new(directory.path().join("state"));
    let bundle = bundle(&directory.path().join("bundle"), &["no-such-program"]);
    let id = "embedding-missing".parse().expect("id");
    let error = runtime.create(&id, &bundle, &quiet()).expect_err("missing program");
    assert_eq!(error.kind(), ErrorKind::Executable);
    assert!(error.to_string().contains("executable file not found in $PATH"), "{error}");
    assert!(runtime.list().expect("list").is_empty());
    assert_eq!(runtime.load(&id).expect_err("gone").kind(), ErrorKind::NotFound);
}

/// Three files, and the streams that they are.
fn streams(directory: &Path, name: &str) -> ([PathBuf; 3], coracle::Stdio) {
    let paths = ["in", "out", "err"].map(|end| directory.join(format!("{name}.{end}")));
    fs::write(&paths[0], "asked\n").expect("file");
    let stdio = coracle::Stdio::Fds {
        stdin: fs::File::open(&paths[0]).expect("file").into(),
        stdout: fs::File::create(&paths[1]).expect("file").into(),
        stderr: fs::File::create(&paths[2]).expect("file").into(),
    };
    (paths, stdio)
}

/// The program copied its input to its output, wrote a word to its error, and had no other file open.
fn assert_used([_, out, err]: &[PathBuf; 3]) {
    assert_eq!(fs::read_to_string(out).expect("output"), "asked\n0\n1\n2\n");
    assert_eq!(fs::read_to_string(err).expect("error"), "heard\n");
}

#[test]
fn the_standard_streams_are_those_of_the_options() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().expect("directory");
    let directory = directory.path();
    let runtime = Runtime::new(directory.join("state"));
    // The shell lists what its own process has; a script that is not read from a file holds none.
    let script = "busybox cat; for n in 0 1 2 3 4 5 6 7 8 9; do \
                  [ -e /proc/$$/fd/$n ] && echo $n; done; echo heard >&2";
    let id = "embedding-streams".parse().expect("id");
    let wait = format!("{script}; exec busybox sleep 60");
    let bundle = bundle(&directory.join("bundle"), &["busybox", "sh", "-c", &wait]);
    let (files, stdio) = streams(directory, "create");
    let mut options = CreateOptions::default();
    options.stdio = stdio;
    let container = runtime.create(&id, &bundle, &options).expect("create");
    container.start().expect("start");
    let mut process = container.process().expect("process").clone();
    process.args = ["busybox", "sh", "-c", script].map(str::to_owned).to_vec();
    let (exec_files, stdio) = streams(directory, "exec");
    let mut options = coracle::ExecOptions::default();
    options.stdio = stdio;
    let further = container.exec(&process, &options).expect("exec");
    assert_eq!(further.wait().expect("wait").code(), 0);
    assert_used(&exec_files);
    for _ in 0..200 {
        if fs::read_to_string(&files[2]).expect("error").ends_with('\n') {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_used(&files);
    container.kill(Signal::KILL, KillTarget::Init).expect("kill");
    container.wait().expect("wait");
    container.delete(false).expect("delete");
}
