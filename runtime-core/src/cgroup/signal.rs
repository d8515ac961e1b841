//! Killing every process of a cgroup where the kernel has no `cgroup.kill`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, ErrorKind, Result};

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
/// Frozen processes cannot fork and cannot end, so their pids cannot be given to others between
/// the reading and the signal; where they would not freeze, rounds outrun the forks.
pub(super) fn kill_all(cgroup: &dyn Killable) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut last = Vec::new();
    while Instant::now() < deadline {
        let held = cgroup.hold() && wait_until_held(cgroup);
        let pids = cgroup.processes();
        if let Ok(pids) = &pids {
            pids.iter().for_each(|pid| send(*pid));
        }
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

fn send(pid: i32) {
    // What ended by itself is ESRCH; what is left shows in the next round.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}
