//! The seccomp filter.

use nix::sched::CloneFlags;

use crate::harness::{Setup, privileged};
use crate::process::host_shell;
use crate::program::{List, Op, Report, Step};

/// A filter that makes `number` fail with EXDEV and allows everything else.
fn filter(flags: u32, number: i64) -> Vec<u8> {
    let mut bytes = flags.to_ne_bytes().to_vec();
    let number = u32::try_from(number).unwrap();
    let error = 0x0005_0000 | u32::try_from(libc::EXDEV).unwrap();
    for (code, jump, value) in
        [(0x20u16, 0u16, 0u32), (0x15, 0x0100, number), (0x06, 0, error), (0x06, 0, 0x7fff_0000)]
    {
        bytes.extend(code.to_ne_bytes());
        bytes.extend(jump.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}

/// A filter that kills at every call but execve.
fn only_execve(flags: u32) -> Vec<u8> {
    let mut bytes = flags.to_ne_bytes().to_vec();
    let number = u32::try_from(libc::SYS_execve).unwrap();
    for (code, jump, value) in [
        (0x20u16, 0u16, 0u32),
        (0x15, 0x0001, number),
        (0x06, 0, 0x7fff_0000),
        (0x06, 0, 0x8000_0000),
    ] {
        bytes.extend(code.to_ne_bytes());
        bytes.extend(jump.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}

#[test]
fn the_filter_is_loaded() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::ReceiveFilter {});
    setup.step(&Step::NoNewPrivileges {});
    setup.step(&Step::LoadFilter {});
    host_shell(&mut setup, "grep Seccomp: /proc/self/status; mkdir /tmp/coracle-init-none 2>&1");
    let running = setup.start();
    running.go(&filter(0, libc::SYS_mkdir));
    assert!(running.receive().is_none());
    let (_, output) = running.end();
    assert!(output.starts_with("Seccomp:\t2\n"), "{output}");
    assert!(output.contains("nvalid cross-device link"), "{output}");
}

#[test]
fn a_filter_may_forbid_everything_but_execve() {
    if !privileged() {
        return;
    }
    // The payload does not get far, but it is reached.
    let bytes = only_execve(0);
    let run = |name: &'static std::ffi::CStr| {
        let mut setup = Setup::new(CloneFlags::empty());
        setup.step(&Step::ReceiveFilter {});
        setup.step(&Step::FindExecutable { name, path: c"" });
        setup.step(&Step::LoadFilter {});
        setup.step(&Step::Execute {
            args: List::new(b"x\0").unwrap(),
            env: List::new(b"A=b\0").unwrap(),
        });
        let running = setup.start();
        let pid = running.pid();
        running.go(&bytes);
        (running, pid)
    };
    use std::os::unix::process::ExitStatusExt as _;
    let (running, _) = run(c"/bin/busybox");
    assert!(running.receive().is_none());
    assert_eq!(running.end().0.signal(), Some(libc::SIGSYS));
}

const NEW_LISTENER: u32 = 8;

#[test]
fn a_listener_is_sent_and_awaits_an_answer() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::ReceiveFilter {});
    setup.step(&Step::LoadFilter {});
    host_shell(&mut setup, "ls -l /proc/self/fd | grep -c seccomp; ls /proc/$$/task | wc -l");
    let running = setup.start();
    running.go(&filter(NEW_LISTENER, libc::SYS_mkdir));
    let message = running.receive().expect("a listener");
    assert_eq!((message.report.tag, message.fds.len()), (Report::LISTENER, 1));
    running.go(b"g");
    assert!(running.receive().is_none());
    // Neither the descriptor nor the thread that has sent it is left.
    assert_eq!(running.end().1, "0\n1\n");
}

#[test]
fn a_listener_is_sent_although_the_filter_forbids_every_call() {
    if !privileged() {
        return;
    }
    // Kills at each call but execve.
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::ReceiveFilter {});
    setup.step(&Step::FindExecutable { name: c"/bin/busybox", path: c"" });
    setup.step(&Step::LoadFilter {});
    setup.step(&Step::Execute {
        args: List::new(b"x\0").unwrap(),
        env: List::new(b"A=b\0").unwrap(),
    });
    let running = setup.start();
    running.go(&only_execve(NEW_LISTENER));
    let message = running.receive().expect("a listener");
    assert_eq!((message.report.tag, message.fds.len()), (Report::LISTENER, 1));
    running.go(b"g");
    assert!(running.receive().is_none());
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(running.end().0.signal(), Some(libc::SIGSYS));
}

/// Going round in a circle, it could keep a processor from the thread that it waits for.
#[test]
fn the_thread_with_the_filter_sleeps_until_the_listener_is_taken() {
    if !privileged() {
        return;
    }
    if !std::path::Path::new("/proc/sys/vm/unprivileged_userfaultfd").exists() {
        println!("skipped: this kernel has no userfaultfd");
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::ReceiveFilter {});
    setup.step(&Step::LoadFilter {});
    host_shell(&mut setup, "echo done");
    let running = setup.start();
    let pid = running.pid();
    running.go(&filter(NEW_LISTENER, libc::SYS_mkdir));
    assert_eq!(running.receive().expect("a listener").report.tag, Report::LISTENER);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
    let state = stat.rsplit(')').next().unwrap().split_whitespace().next();
    assert_eq!(state, Some("S"), "{stat}");
    running.go(b"g");
    assert!(running.receive().is_none());
    assert_eq!(running.end().1, "done\n");
}

#[test]
fn without_anybody_to_take_the_listener_nothing_is_executed() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::ReceiveFilter {});
    setup.step(&Step::LoadFilter {});
    host_shell(&mut setup, "echo executed");
    let running = setup.start();
    running.go(&filter(NEW_LISTENER, libc::SYS_mkdir));
    assert_eq!(running.receive().expect("a listener").report.tag, Report::LISTENER);
    let (status, output) = running.end();
    assert_eq!((status.code(), output.as_str()), (Some(1), ""));
}

#[test]
fn a_broken_filter_is_an_error() {
    if !privileged() {
        return;
    }
    for (bytes, op) in
        [(&b"abc"[..], Op::Receive), (&[0; 13][..], Op::Receive), (&[255; 12][..], Op::Seccomp)]
    {
        let mut setup = Setup::new(CloneFlags::empty());
        setup.step(&Step::ReceiveFilter {});
        setup.step(&Step::LoadFilter {});
        let running = setup.start();
        running.go(bytes);
        let message = running.receive().expect("a failure");
        assert_eq!((message.report.op, message.report.errno), (op as u32, libc::EINVAL));
        running.end();
    }
}
