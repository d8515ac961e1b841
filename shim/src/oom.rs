//! Kills for lack of memory, on the loop.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use coracle::OomWatch;
use nix::poll::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::readiness::register;

/// How long after being told of a shortage the kernel is asked again for the kill: on cgroup v1 it tells
/// first and kills then, and it tells of a kill in a neighbour below the same limit too.
const LOOKS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(200),
];

/// A watch that is registered with the loop.
#[derive(Debug)]
pub(crate) struct Watch {
    fd: AsyncFd<Source>,
    interest: Interest,
    /// Kills that were counted, but not asked for yet.
    counted: Cell<u64>,
}

#[derive(Debug)]
struct Source(RefCell<OomWatch>);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.borrow().as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Registers it.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn new(watch: OomWatch) -> io::Result<Self> {
        let interest = match watch.events() {
            events if events.contains(PollFlags::POLLPRI) => Interest::PRIORITY,
            _ => Interest::READABLE,
        };
        let fd = register(Source(RefCell::new(watch)), interest)?;
        Ok(Self { fd, interest, counted: Cell::new(0) })
    }

    /// Returns when there was a kill, with `true`, or when the cgroup is gone, with `false`.
    pub(crate) async fn changed(&self) -> bool {
        loop {
            match self.fd.ready(self.interest).await {
                // Before the look at the counter, so that no later change goes unnoticed.
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return false,
            }
            for pause in LOOKS {
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                match self.count() {
                    Some(0) => {}
                    Some(_) => return true,
                    None => return false,
                }
            }
        }
    }

    /// How many kills there were since the last call. Reads the counter, whether the kernel has told
    /// of a change or not.
    pub(crate) fn kills(&self) -> u64 {
        self.count();
        self.counted.take()
    }

    fn count(&self) -> Option<u64> {
        let new = self.fd.get_ref().0.borrow_mut().counted_kills()?;
        self.counted.set(self.counted.get() + new);
        Some(self.counted.get())
    }
}

#[cfg(test)]
mod tests;
