//! Signals to every process of a cgroup, also where the kernel has no `cgroup.kill`.

use std::io;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::sys::pidfd;

/// How many processes are open at a time.
const BATCH: usize = 128;

/// What killing needs to know of a cgroup.
pub(super) trait Killable {
    /// The processes in it and below.
    fn processes(&self) -> Result<Vec<i32>>;
    /// Begins to freeze; `false` where there is no freezer.
    fn hold(&self) -> bool;
    /// Whether all stand still, so that none can fork.
    fn held(&self) -> bool;
    /// Thaws all, also what is frozen below.
    fn release(&self);
}

/// Freezes, kills all, thaws, until a round has killed all that there were, or none are left.
///
/// Frozen processes cannot fork; where they would not freeze, rounds outrun the forks.
pub(super) fn kill_all(cgroup: &dyn Killable) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut last = Vec::new();
    while Instant::now() < deadline {
        let held = cgroup.hold() && wait_until_held(cgroup);
        let pids = send(&|| cgroup.processes(), libc::SIGKILL);
        cgroup.release();
        let pids = pids?;
        if pids.is_empty() || held {
            return Ok(());
        }
        last = pids;
        sleep(Duration::from_millis(1));
    }
    Err(Error::new(
        ErrorKind::TimedOut,
        format!("{} processes of the cgroup fork faster than they can be killed", last.len()),
    ))
}

fn wait_until_held(cgroup: &dyn Killable) -> bool {
    let deadline = Instant::now() + Duration::from_millis(100);
    while !cgroup.held() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_micros(200));
    }
    true
}

/// Sends a signal to the processes of a cgroup, none of which need stand still; those that there were.
///
/// # Errors
/// The failure to list them, to open one or to send.
pub(super) fn send(processes: &dyn Fn() -> Result<Vec<i32>>, signal: i32) -> Result<Vec<i32>> {
    let pids = processes()?;
    let mut first = Ok(());
    for batch in pids.chunks(BATCH) {
        let mut opened = Vec::new();
        for pid in batch {
            match pidfd::open(*pid) {
                Ok(process) => opened.push((pid, process)),
                Err(error) => first = first.and(unless_ended(error)),
            }
        }
        // Between the list and the descriptor a number can pass to a process of the host.
        let inside = processes()?;
        for (_, process) in opened.iter().filter(|(pid, _)| inside.contains(pid)) {
            let sent = pidfd::send_signal(process.as_fd(), signal);
            // One that cannot be reached is no reason to spare the others.
            first = first.and(sent.or_else(unless_ended));
        }
    }
    first.attempt("send the signal").map(|()| pids)
}

/// One that has ended needs no signal.
fn unless_ended(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}
