//! Waiting for start, and respawning in a joined pid namespace.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::CloneFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::harness::{
    Running, Setup, clone_tree, list, path_text, pivot, privileged, receive, receive_any, rootfs,
};
use crate::program::{CREATOR, Gate, List, Op, Report, Step};

fn new_socket() -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap()
}

fn listener(path: &Path) -> OwnedFd {
    let listener = new_socket();
    bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    listen(&listener, Backlog::new(5).unwrap()).unwrap();
    listener
}

/// A container that waits for `start`, with `peer` as the user that may start it.
fn waiting(root: &Path, address: &Path, peer: u32, script: &str) -> Running {
    let mut setup = Setup::mounts();
    let tree = setup.send(clone_tree(root));
    let listener = setup.send(listener(address));
    setup.step(&Step::Root { tree, path: &path_text(root), propagation: 0 });
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"", c"/dev");
    for name in 0..10 {
        let path = CString::new(format!("/dev/node{name}")).unwrap();
        setup.step(&Step::Device {
            path: &path,
            mode: libc::S_IFCHR | 0o666,
            major: 1,
            minor: 3,
            uid: 0,
            gid: 0,
        });
    }
    pivot(&mut setup);
    setup.step(&Step::WorkingDirectory { path: c"/tmp", create: false });
    setup.step(&Step::FindExecutable { name: c"/bin/sh", path: c"" });
    setup.step(&Step::AwaitStart { listener, peer_uid: peer });
    let args = list(&["sh", "-c", script]);
    setup.step(&Step::Execute {
        args: List::new(&args).unwrap(),
        env: List::new(b"PATH=/bin\0").unwrap(),
    });
    setup.start()
}

/// The resident pages of a process in KiB, counted page by page; VmRSS is an estimate on kernels
/// since 6.2.
fn resident(pid: impl std::fmt::Display) -> u32 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn start_is_a_connection_that_ends_with_the_exec() {
    if !privileged() {
        return;
    }
    let (root, directory) = (rootfs(), tempfile::tempdir().unwrap());
    let address = directory.path().join("start");
    let running =
        waiting(root.path(), &address, 0, "pwd; for f in /proc/self/fd/*; do echo $f; done");
    running.expect_gate(Gate::Ready);
    assert!(running.receive().is_none(), "the control socket is closed");

    // It gives up its last pages after the socket is closed, on its way to accept.
    let settled = (0..100).map(|_| resident(running.pid())).find(|kib| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        *kib <= 64
    });
    assert!(settled.is_some(), "{} KiB", resident(running.pid()));
    let open = fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    assert_eq!(open, 4, "three streams, the listener");

    let start = new_socket();
    connect(start.as_raw_fd(), &UnixAddr::new(&address).unwrap()).unwrap();
    assert_eq!(receive_any(&start).expect("a report").report.tag, Report::DEPARTS);
    assert!(receive_any(&start).is_none());
    let (status, output) = running.end();
    assert!(status.success());
    // The shell itself has the directory open while it looks.
    let output = output.replace("/proc/self/fd/3\n", "");
    assert_eq!(output, "/tmp\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n");
}

#[test]
fn the_exec_error_goes_to_start() {
    if !privileged() {
        return;
    }
    let (root, directory) = (rootfs(), tempfile::tempdir().unwrap());
    let address = directory.path().join("start");
    let running = waiting(root.path(), &address, 0, "echo unreachable");
    running.expect_gate(Gate::Ready);
    fs::remove_file(root.path().join("bin/busybox")).unwrap();
    let start = new_socket();
    connect(start.as_raw_fd(), &UnixAddr::new(&address).unwrap()).unwrap();
    let message = receive(&start).expect("a failure");
    assert_eq!((message.report.op, message.report.errno), (Op::Execute as u32, libc::ENOENT));
    assert_eq!(message.text, "/bin/sh");
    assert!(receive(&start).is_none());
    assert_eq!(running.end().0.code(), Some(1));
}

#[test]
fn who_creates_can_start() {
    if !privileged() {
        return;
    }
    let (root, directory) = (rootfs(), tempfile::tempdir().unwrap());
    let address = directory.path().join("start");
    let running = waiting(root.path(), &address, CREATOR, "echo started");
    running.expect_gate(Gate::Ready);
    let start = new_socket();
    connect(start.as_raw_fd(), &UnixAddr::new(&address).unwrap()).unwrap();
    assert!(receive(&start).is_none());
    assert_eq!(running.end().1, "started\n");
}

#[test]
fn another_user_cannot_start() {
    if !privileged() {
        return;
    }
    let (root, directory) = (rootfs(), tempfile::tempdir().unwrap());
    let address = directory.path().join("start");
    // Root is not the user that may.
    let running = waiting(root.path(), &address, 12345, "echo unreachable");
    running.expect_gate(Gate::Ready);
    let start = new_socket();
    connect(start.as_raw_fd(), &UnixAddr::new(&address).unwrap()).unwrap();
    let message = receive(&start).expect("a failure");
    assert_eq!(
        (message.report.op, message.report.errno),
        (Op::PeerCredentials as u32, libc::EPERM)
    );
    assert!(receive(&start).is_none(), "turned away");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(running.pid()).unwrap());
    let cmdline = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(cmdline.contains("coracle-init"), "still waiting: {cmdline}");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(running.end().1, "");
}

#[test]
fn a_respawned_process_is_in_the_joined_namespace() {
    if !privileged() {
        return;
    }
    let mut holder = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "sleep", "100"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/ns/pid_for_children", holder.id());
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    // Until the first process of the namespace is there.
    let namespace = loop {
        match fs::read_link(&path) {
            Ok(link) if link != own => break fs::File::open(&path).unwrap(),
            _ => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    };
    let mut setup = Setup::new(CloneFlags::empty());
    let namespace = setup.send(namespace.into());
    setup.step(&Step::Join { namespace, kinds: u32::try_from(libc::CLONE_NEWPID).unwrap() });
    setup.step(&Step::Respawn {});
    setup.step(&Step::Gate { gate: Gate::Mounted as u32 });
    setup.step(&Step::FindExecutable { name: c"sh", path: c"/bin" });
    let args = list(&["sh", "-c", "echo $$; ps -o sid= -p $$ >/dev/null; exit 7"]);
    setup.step(&Step::Execute { args: List::new(&args).unwrap(), env: List::new(b"").unwrap() });
    let running = setup.start();
    let message = running.receive().expect("a report");
    assert_eq!((message.report.tag, message.fds.len()), (Report::RESPAWNED, 1));
    let pid = i32::try_from(message.report.detail).unwrap();
    running.expect_gate(Gate::Mounted);
    // It leads its own session.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(
        (fields[1], fields[3]),
        (std::process::id().to_string().as_str(), pid.to_string().as_str())
    );
    running.go(b"go");
    assert!(running.receive().is_none());
    let (status, output) = running.end();
    assert!(status.success(), "the old process: {status}");
    assert!(output.trim().parse::<u32>().unwrap() < 10, "{output}");
    let ended = waitid(Id::PIDFd(message.fds[0].as_fd()), WaitPidFlag::WEXITED).unwrap();
    assert_eq!(ended, WaitStatus::Exited(nix::unistd::Pid::from_raw(pid), 7));
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_wrong_namespace_is_an_error() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let namespace = setup.send(fs::File::open("/proc/self/ns/uts").unwrap().into());
    let step =
        setup.step(&Step::Join { namespace, kinds: u32::try_from(libc::CLONE_NEWNET).unwrap() });
    let message = setup.fails();
    assert_eq!(message.failure(), crate::harness::failure(step, Op::Setns, libc::EINVAL, ""));
}
