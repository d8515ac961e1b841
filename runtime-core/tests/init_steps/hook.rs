//! Hooks that run in the container.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

use crate::harness::{Message, Setup, clone_tree, list, path_text, pivot, privileged, rootfs};
use crate::program::{List, Op, Step};

struct Outcome {
    /// The report, if the init program failed.
    message: Option<Message>,
    /// What the hook printed, if it failed.
    output: String,
    pid: u32,
}

/// Runs a shell script as a hook.
fn run(script: &str, outside: bool, timeout_ms: u64) -> Outcome {
    let root = rootfs();
    fs::write(root.path().join("etc/marker"), "").unwrap();
    // The shell opens it for what it runs in the background.
    fs::write(root.path().join("dev/null"), "").unwrap();
    let mut setup = Setup::mounts();
    let tree = setup.send(clone_tree(root.path()));
    setup.step(&Step::Root { tree, path: &path_text(root.path()), propagation: 0 });
    if !outside {
        pivot(&mut setup);
    }
    let args = list(&["sh", "-c", script]);
    setup.step(&Step::RunHook {
        path: if outside { c"/bin/busybox" } else { c"/bin/sh" },
        args: List::new(&args).unwrap(),
        env: List::new(b"A=1\0PATH=/bin\0").unwrap(),
        timeout_ms,
        state_head: b"{\"pid\":",
        state_tail: b"}",
        outside,
    });
    setup.step(&Step::Gate { gate: 2 });
    let running = setup.start();
    let pid = running.pid();
    let message = running.receive().expect("a report");
    running.end();
    let mut output = String::new();
    if let Some(file) = message.fds.first() {
        let mut file = File::from(file.try_clone().unwrap());
        file.rewind().unwrap();
        file.read_to_string(&mut output).unwrap();
    }
    let message = message.gate().is_none().then_some(message);
    Outcome { message, output, pid }
}

#[test]
fn a_hook_gets_the_state_and_its_root() {
    if !privileged() {
        return;
    }
    assert!(run("echo well", false, 0).message.is_none());
    let script = "cat; echo; pwd; echo $A; ls -d /etc/marker; ls /proc/self/fd 2>/dev/null; \
                  umask; exit 9";
    let inside = run(script, false, 0);
    assert_eq!(inside.message.expect("a failure").report.detail, 9 << 8);
    let expected = format!("{{\"pid\":{}}}\n/\n1\n/etc/marker\n0000\n", inside.pid);
    assert_eq!(inside.output, expected);

    let script = "cat; echo; ls -d etc/marker; ls -d /etc/marker 2>&1; ls -d /proc/self; \
                  for f in /proc/self/fd/*; do echo ${f##*/}; done; exit 9";
    let outside = run(script, true, 5000);
    assert_eq!(outside.message.expect("a failure").report.detail, 9 << 8);
    let mut lines = outside.output.lines();
    assert_eq!(lines.next(), Some(format!("{{\"pid\":{}}}", outside.pid).as_str()));
    assert_eq!(lines.next(), Some("etc/marker"));
    assert!(lines.next().unwrap().contains("No such file"));
    assert_eq!(lines.next(), Some("/proc/self"));
    // Standard streams, and the directory that is being listed.
    let fds: Vec<&str> = lines.collect();
    assert!(fds.starts_with(&["0", "1", "2"]) && fds.len() <= 4, "{fds:?}");
}

#[test]
fn a_failing_hook_is_reported_with_its_status() {
    if !privileged() {
        return;
    }
    let outcome = run("echo why; exit 3", false, 0);
    let message = outcome.message.expect("a failure");
    assert_eq!(message.report.op, Op::Hook as u32);
    assert_eq!((message.report.detail, message.report.errno), (3 << 8, 0));
    assert_eq!((message.text.as_str(), outcome.output.as_str()), ("/bin/sh", "why\n"));

    let outcome = run("kill -9 $$", true, 1000);
    assert_eq!(outcome.message.expect("a failure").report.detail, 9);
}

#[test]
fn a_hook_that_is_not_there_is_reported() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    let step = setup.step(&Step::RunHook {
        path: c"/no/hook",
        args: List::new(b"hook\0").unwrap(),
        env: List::new(b"").unwrap(),
        timeout_ms: 0,
        state_head: b"",
        state_tail: b"",
        outside: true,
    });
    let message = setup.fails();
    let (at, op, errno, text) = message.failure();
    assert_eq!((at, op, errno, text), (step, Op::Hook as u32, libc::ENOENT, "/no/hook"));
    assert_eq!(message.report.detail, 127 << 8);
}

#[test]
fn a_hook_is_killed_with_its_group_when_its_time_is_over() {
    if !privileged() {
        return;
    }
    let start = Instant::now();
    let outcome = run("(while :; do :; done) & echo $!; wait", false, 300);
    let message = outcome.message.expect("a failure");
    assert_eq!(message.report.op, Op::HookTimeout as u32);
    assert_eq!(message.report.errno, libc::ETIMEDOUT);
    assert!(start.elapsed() < Duration::from_secs(20));
    let child: i32 = outcome.output.trim().parse().expect("the child's pid");
    // An orphan is reaped by whoever adopts it; a killed one is at most a zombie.
    let gone = |state: &str| state.is_empty() || state.contains(") Z") || state.contains(") X");
    let stat = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    // The signal is sent; when it is delivered is up to the scheduler.
    while !gone(&stat()) && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let state = stat();
    assert!(gone(&state), "{state}");
}

#[test]
fn a_hook_ends_with_the_caller() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    let args = list(&["busybox", "sleep", "1000"]);
    setup.step(&Step::RunHook {
        path: c"/bin/busybox",
        args: List::new(&args).unwrap(),
        env: List::new(b"").unwrap(),
        timeout_ms: 0,
        state_head: b"",
        state_tail: b"",
        outside: false,
    });
    let running = setup.start();
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(30));
}
