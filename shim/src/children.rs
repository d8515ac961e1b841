//! Children of the shim: those it has started are reaped by whoever waits for them; strangers, which
//! come to it as the subreaper of its containers, are reaped here.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

/// What is known of the children. Threads of operations change it too.
#[derive(Debug, Default)]
struct Known {
    /// Children that somebody else waits for.
    claimed: BTreeSet<i32>,
    /// Operations under way: each can have children that only it knows.
    operations: usize,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { claimed: BTreeSet::new(), operations: 0 });

fn with_known<T>(action: impl FnOnce(&mut Known) -> T) -> T {
    action(&mut KNOWN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// While it is there, nothing is reaped here.
#[derive(Debug)]
pub(crate) struct Operation(());

impl Operation {
    /// Begins one.
    pub(crate) fn begin() -> Self {
        with_known(|known| known.operations += 1);
        Self(())
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        with_known(|known| known.operations = known.operations.saturating_sub(1));
    }
}

/// A child that is reaped by whoever holds this. Made while an [`Operation`] is under way, or before the
/// loop has turned since the child was made.
#[derive(Debug)]
pub(crate) struct Claim(i32);

impl Claim {
    /// Claims the child with this pid.
    pub(crate) fn new(pid: i32) -> Self {
        with_known(|known| known.claimed.insert(pid));
        Self(pid)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        with_known(|known| known.claimed.remove(&self.0));
    }
}

/// Reaps strangers that have ended. Returns `false` if some may be left, because an operation is under
/// way or a claimed child stands before them: it is to be called again after either's end.
pub(crate) fn reap_strangers() -> bool {
    with_known(|known| {
        if known.operations > 0 {
            return false;
        }
        loop {
            let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let pid = match waitid(Id::All, peek) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                // Nothing has ended, or there are no children.
                _ => return true,
            };
            if known.claimed.contains(&pid.as_raw()) {
                return false;
            }
            let _reaped = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        }
    })
}
