//! Children of the shim: those it has started are reaped by whoever waits for them; strangers, which
//! come to it as the subreaper of its containers, are reaped here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

/// What is known of the children. Threads of operations change it too.
#[derive(Debug, Default)]
struct Known {
    /// Children that somebody else waits for. With a flag: nobody needs to know how it has ended, so it
    /// can be reaped here, which the flag then says.
    claimed: BTreeMap<i32, Option<Arc<AtomicBool>>>,
    /// Operations under way: each can have children that only it knows.
    operations: usize,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { claimed: BTreeMap::new(), operations: 0 });

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
pub(crate) struct Claim {
    pid: i32,
    reaped: Option<Arc<AtomicBool>>,
}

impl Claim {
    /// Claims the child with this pid.
    pub(crate) fn new(pid: i32) -> Self {
        with_known(|known| known.claimed.insert(pid, None));
        Self { pid, reaped: None }
    }

    /// Claims a child that may end long before its claimant asks: strangers behind it are reaped
    /// nevertheless.
    pub(crate) fn of_long_lived(pid: i32) -> Self {
        let reaped = Arc::new(AtomicBool::new(false));
        with_known(|known| known.claimed.insert(pid, Some(Arc::clone(&reaped))));
        Self { pid, reaped: Some(reaped) }
    }

    /// Acts on the child, unless it was reaped here: then its pid may be somebody else's, and the result
    /// is `None`.
    pub(crate) fn unless_reaped<T>(&self, action: impl FnOnce() -> T) -> Option<T> {
        with_known(|_| (!self.is_reaped()).then(action))
    }

    fn is_reaped(&self) -> bool {
        self.reaped.as_ref().is_some_and(|reaped| reaped.load(Ordering::Relaxed))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        with_known(|known| {
            // The pid can belong to somebody else since it was reaped.
            if !self.is_reaped() {
                known.claimed.remove(&self.pid);
            }
        });
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
            match known.claimed.get(&pid.as_raw()) {
                Some(None) => return false,
                Some(Some(reaped)) => {
                    reaped.store(true, Ordering::Relaxed);
                    known.claimed.remove(&pid.as_raw());
                }
                None => {}
            }
            let _reaped = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        }
    })
}
