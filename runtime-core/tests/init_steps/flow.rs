//! Gates, waiting for start, execve.

use nix::sched::CloneFlags;

use crate::harness::{Setup, privileged, rootfs};
use crate::process::host_shell;
use crate::program::{Gate, List, Op, Step};

#[test]
fn a_payload_runs_in_its_root() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"mode=755\0size=65536k\0", c"/dev");
    setup.mount(c"devpts", b"newinstance\0ptmxmode=0666\0mode=0620\0", c"/dev/pts");
    setup.mount(c"tmpfs", b"mode=1777\0", c"/dev/shm");
    setup.step(&Step::Pivot { pivot: true, propagation: 0, recursive: false });
    setup.shell("ls /; ls /dev; cat /proc/self/mounts | wc -l");
    let output = setup.prints();
    assert_eq!(output, "bin\ndev\netc\nproc\nsys\ntmp\npts\nshm\n5\n");
}

#[test]
fn a_missing_program_is_an_error() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let index =
        setup.step(&Step::FindExecutable { name: c"no-such-program", path: c"/usr/bin:/bin" });
    let failure = setup.fails();
    let expected = (index, Op::Lookup as u32, libc::ENOENT, "no-such-program");
    assert_eq!(failure.failure(), expected);
}

#[test]
fn a_gate_waits_and_a_closed_socket_ends_it() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Gate { gate: Gate::Mapped as u32 });
    let args = crate::harness::list(&["echo", "x"]);
    setup.step(&Step::FindExecutable { name: c"echo", path: c"/bin" });
    setup.step(&Step::Execute { args: List::new(&args).unwrap(), env: List::new(b"").unwrap() });
    let running = setup.start();
    running.expect_gate(Gate::Mapped);
    let (status, output) = running.end();
    assert_eq!((status.code(), output.as_str()), (Some(1), ""));
}

#[test]
fn the_payload_starts_clean() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.ignore = vec![libc::SIGPIPE, libc::SIGUSR1, libc::SIGTERM];
    host_shell(&mut setup, "grep -E 'Sig(Ign|Blk)' /proc/self/status; umask; cat /proc/$$/stat");
    let running = setup.start();
    let pid = running.pid();
    assert!(running.receive().is_none());
    let output = running.end().1;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "SigBlk:\t0000000000000000");
    assert_eq!(lines[1], "SigIgn:\t0000000000000000");
    assert_eq!(lines[2].trim_start_matches('0'), "");
    // Process group and session are its own, and there is no terminal.
    let fields: Vec<&str> = lines[3].rsplit(") ").next().unwrap().split(' ').collect();
    let pid = pid.to_string();
    assert_eq!(fields[2..5], [pid.as_str(), pid.as_str(), "0"]);
}

#[test]
fn only_the_payloads_descriptors_stay() {
    if !privileged() {
        return;
    }
    use std::os::fd::AsRawFd as _;
    let file = std::fs::File::open("/dev/zero").unwrap();
    // Out of the way of the numbers that the child gets.
    let file = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(200)).unwrap();
    // SAFETY: just made.
    let file = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(file) };
    let from = file.as_raw_fd();
    let mut setup = Setup::new(CloneFlags::empty());
    setup.keep = 2;
    // Two for the payload, and some that the caller has left open on both sides of the socket.
    setup.inherit = vec![(from, 3), (from, 4), (from, 5), (from, 99), (from, 101), (from, 500)];
    let sent = setup.send(std::fs::File::open("/dev/null").unwrap().into());
    let _ = sent;
    host_shell(&mut setup, "ls /proc/$$/fd; readlink /proc/$$/fd/3; readlink /proc/$$/fd/4");
    assert_eq!(setup.prints(), "0\n1\n2\n3\n4\n/dev/zero\n/dev/zero\n");
}

#[test]
fn bytes_that_are_no_program_are_refused() {
    if !privileged() {
        return;
    }
    let message = Setup::new(CloneFlags::empty()).fails();
    // No step at all: a program must end in the payload.
    assert_eq!((message.report.op, message.report.errno), (Op::Decode as u32, libc::EINVAL));
}

#[test]
fn a_process_behind_the_first_gate_is_closed_to_its_user() {
    if !privileged() {
        return;
    }
    use std::os::unix::fs::MetadataExt as _;
    let mut setup = Setup::new(CloneFlags::empty());
    setup.user = Some(65533);
    for gate in [Gate::Mapped, Gate::Mounted] {
        setup.step(&Step::Gate { gate: gate as u32 });
    }
    let reachable = std::process::Command::new("setpriv")
        .args(["--reuid", "65533", "--clear-groups", "test", "-r", env!("CORACLE_INIT_PATH")])
        .status();
    if !reachable.is_ok_and(|status| status.success()) {
        eprintln!("skipped: the init program cannot be read by another user here");
        return;
    }
    let running = setup.start();
    running.expect_gate(Gate::Mapped);
    let owner = || std::fs::metadata(format!("/proc/{}/status", running.pid())).unwrap().uid();
    assert_eq!(owner(), 65533);
    running.go(b"go");
    running.expect_gate(Gate::Mounted);
    assert_eq!(owner(), 0, "undumpable: its files in /proc belong to root");
    running.end();
}

#[test]
fn a_report_arrives_although_a_message_was_left_unread() {
    if !privileged() {
        return;
    }
    for _ in 0..20 {
        let mut setup = Setup::new(CloneFlags::empty());
        setup.step(&Step::Gate { gate: Gate::Mounted as u32 });
        let step = setup.step(&Step::FindExecutable { name: c"none", path: c"/bin" });
        let running = setup.start();
        running.expect_gate(Gate::Mounted);
        running.go(b"go");
        // As the library sends the filter before it is asked for; the process may be gone by then.
        let _ = nix::sys::socket::send(
            std::os::fd::AsRawFd::as_raw_fd(&running.socket),
            b"unread",
            nix::sys::socket::MsgFlags::MSG_NOSIGNAL,
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
        let message = running.receive().expect("a report");
        let expected = (step, Op::Lookup as u32, libc::ENOENT, "none");
        assert_eq!(message.failure(), expected);
        running.end();
    }
}
