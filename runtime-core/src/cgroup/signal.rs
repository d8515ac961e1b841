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
///
/// # Errors
/// The first failure to list or to reach one when time has run out, which ends no round for the others.
pub(super) fn kill_all(cgroup: &dyn Killable) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut first = None;
    let mut last = Vec::new();
    while Instant::now() < deadline {
        let held = cgroup.hold() && wait_until_held(cgroup);
        let sent = send(&|| cgroup.processes(), libc::SIGKILL);
        cgroup.release();
        match sent {
            Ok(pids) if pids.is_empty() || held => return Ok(()),
            Ok(pids) => last = pids,
            Err(error) => first = first.or(Some(error)),
        }
        sleep(Duration::from_millis(1));
    }
    Err(first.unwrap_or_else(|| {
        Error::new(
            ErrorKind::TimedOut,
            format!("{} processes of the cgroup fork faster than they can be killed", last.len()),
        )
    }))
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
/// The first failure to list them, to open one or to send; the others have the signal all the same.
pub(super) fn send(processes: &dyn Fn() -> Result<Vec<i32>>, signal: i32) -> Result<Vec<i32>> {
    let pids = processes()?;
    let mut first = Ok(());
    let mut rest = &*pids;
    let mut size = BATCH;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        match send_to(batch, processes, signal) {
            // Nothing has been sent yet, and what was open is closed again.
            Err(error) if is_exhausted(error.errno()) && batch.len() > 1 => size = batch.len() / 2,
            sent => {
                first = first.and(sent);
                rest = after;
            }
        }
    }
    first.map(|()| pids)
}

/// Sends it to these, all of which are open at once.
fn send_to(batch: &[i32], processes: &dyn Fn() -> Result<Vec<i32>>, signal: i32) -> Result<()> {
    const WHAT: &str = "send the signal";
    let mut first = Ok(());
    let mut opened = Vec::new();
    for pid in batch {
        match pidfd::open(*pid) {
            Ok(process) => opened.push((pid, process)),
            Err(error) if is_exhausted(error.raw_os_error()) => return Err(error).attempt(WHAT),
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
    first.attempt(WHAT)
}

/// Whether this process, or the host, has no descriptor left.
fn is_exhausted(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::EMFILE | libc::ENFILE))
}

/// One that has ended needs no signal.
fn unless_ended(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Set in the run of the test that has few descriptors.
    const FEW: &str = "CORACLE_TEST_FEW_DESCRIPTORS";

    fn sleepers(count: usize) -> Vec<Child> {
        let one = |_| Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep");
        (0..count).map(one).collect()
    }

    fn pids(of: &[Child]) -> Vec<i32> {
        of.iter().map(|child| i32::try_from(child.id()).expect("a pid")).collect()
    }

    /// How many the signal ended; the others are killed.
    fn ended_by(signal: i32, children: Vec<Child>) -> usize {
        let mut count = 0;
        for mut child in children {
            for _ in 0..100 {
                if child.try_wait().expect("wait").is_some() {
                    break;
                }
                sleep(Duration::from_millis(1));
            }
            child.kill().expect("kill");
            count += usize::from(child.wait().expect("wait").signal() == Some(signal));
        }
        count
    }

    #[test]
    fn many_have_the_signal_through_few_descriptors() {
        const MANY: usize = 60;
        if std::env::var_os(FEW).is_none() {
            let name = "cgroup::signal::tests::many_have_the_signal_through_few_descriptors";
            let program = std::env::current_exe().expect("a program");
            let run = "ulimit -n 20 && exec \"$0\" --exact \"$1\" --test-threads 1";
            let mut shell = Command::new("sh");
            let shell = shell.args(["-c", run]).arg(program).arg(name).env(FEW, "1");
            let output = shell.output().expect("sh");
            let text = String::from_utf8_lossy(&output.stdout);
            // A test that was not found passes as well.
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let children = sleepers(MANY);
        let all = pids(&children);
        let sent = send(&|| Ok(all.clone()), libc::SIGTERM);
        let ended = ended_by(libc::SIGTERM, children);
        assert_eq!(sent.expect("sent").len(), MANY);
        assert_eq!(ended, MANY);
    }

    /// Processes whose list cannot be read the first times.
    struct Unread {
        failures: Cell<u32>,
        all: Vec<i32>,
    }

    impl Killable for Unread {
        fn processes(&self) -> Result<Vec<i32>> {
            let left = self.failures.get();
            self.failures.set(left.saturating_sub(1));
            if left > 0 {
                return Err(Error::system("list", libc::EIO));
            }
            Ok(self.all.clone())
        }

        fn hold(&self) -> bool {
            true
        }

        fn held(&self) -> bool {
            true
        }

        fn release(&self) {}
    }

    #[test]
    fn a_failed_round_is_not_the_last() {
        let children = sleepers(3);
        let cgroup = Unread { failures: Cell::new(2), all: pids(&children) };
        kill_all(&cgroup).expect("killed");
        assert_eq!(ended_by(libc::SIGKILL, children), 3);
        let cgroup = Unread { failures: Cell::new(u32::MAX), all: Vec::new() };
        assert_eq!(kill_all(&cgroup).expect_err("never listed").errno(), Some(libc::EIO));
    }
}
