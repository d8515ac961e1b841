//! Being told of pressure, on every host with a cgroup v2 hierarchy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle::cgroup::{self, Entry, Layout, Leftover, Manager};
use coracle::spec::Resources;
use coracle::{Error, ErrorKind, PressureResource, PressureTasks, PressureTrigger};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A cgroup that is removed at the end of its test.
struct Cgroup(Box<dyn Manager>);

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.0.delete(Leftover::Kill).expect("clean up");
    }
}

fn made(name: &str) -> Option<Cgroup> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root");
        return None;
    }
    let layout = Layout::detect().expect("detected");
    let id = format!("coracle-test-pressure-{}-{name}", std::process::id());
    let record = layout.place(&id.parse().unwrap(), Some(&format!("/{id}"))).unwrap();
    let mut manager = cgroup::open(record).unwrap();
    manager.create(&Resources::default()).unwrap();
    Some(Cgroup(manager))
}

fn trigger(stall: u64, window: u64) -> PressureTrigger {
    PressureTrigger {
        resource: PressureResource::Cpu,
        tasks: PressureTasks::Some,
        stall: Duration::from_millis(stall),
        window: Duration::from_millis(window),
    }
}

/// Whether this kernel cannot do it, which the error then says.
fn is_missing(error: &Error) -> bool {
    if error.kind() == ErrorKind::Unsupported {
        eprintln!("skipped: {error}");
        return true;
    }
    if matches!(error.errno(), Some(libc::ENOENT | libc::EOPNOTSUPP)) {
        assert!(error.hint().is_some_and(|hint| hint.contains("CONFIG_PSI")), "{error}");
        eprintln!("skipped: {error}");
        return true;
    }
    false
}

fn ready(watch: &coracle::PressureWatch, milliseconds: u16) -> PollFlags {
    let mut fds = [PollFd::new(watch.as_fd(), watch.events())];
    poll(&mut fds, PollTimeout::from(milliseconds)).unwrap();
    fds[0].revents().unwrap()
}

/// More busy processes than processors.
fn crowd(cgroup: &Cgroup) -> Vec<Child> {
    let count = std::thread::available_parallelism().unwrap().get() * 2 + 1;
    let start = |_| {
        let script = "read go; while :; do :; done";
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        cgroup.0.add(i32::try_from(child.id()).unwrap(), Entry::Moved).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    };
    (0..count).map(start).collect()
}

#[test]
fn tasks_that_wait_for_a_processor_are_told_of() {
    let Some(cgroup) = made("cpu") else { return };
    // A window of 2 seconds is one that every caller may have.
    let watch = match cgroup.0.pressure_watch(&trigger(100, 2000)) {
        Ok(watch) => watch,
        Err(error) if is_missing(&error) => return,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(ready(&watch, 100), PollFlags::empty(), "nothing waits yet");
    let mut children = crowd(&cgroup);
    assert_eq!(ready(&watch, 10_000), PollFlags::POLLPRI);
    let psi = cgroup.0.stats().unwrap().cpu.psi.expect("an account");
    assert!(psi.some.total >= 100_000, "{psi:?}");
    cgroup.0.kill().unwrap();
    for child in &mut children {
        child.wait().unwrap();
    }
}

#[test]
fn a_threshold_that_cannot_be_is_explained() {
    let Some(cgroup) = made("bad") else { return };
    for (stall, window, words) in
        [(0, 2000, "above 0"), (3000, 2000, "at most"), (50, 60_000, "window")]
    {
        let error = match cgroup.0.pressure_watch(&trigger(stall, window)) {
            Err(error) if is_missing(&error) => return,
            other => other.expect_err("refused"),
        };
        assert_eq!(error.errno(), Some(libc::EINVAL), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains(words)), "{words}: {error}");
        assert!(error.path().is_some_and(|path| path.ends_with("cpu.pressure")), "{error}");
    }
}

#[test]
fn the_end_of_the_cgroup_is_told() {
    let Some(cgroup) = made("gone") else { return };
    let watch = match cgroup.0.pressure_watch(&trigger(100, 2000)) {
        Ok(watch) => watch,
        Err(error) if is_missing(&error) => return,
        Err(error) => panic!("{error}"),
    };
    drop(cgroup);
    assert!(ready(&watch, 5000).contains(PollFlags::POLLERR));
}
