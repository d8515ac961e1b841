//! An init program that only waits: a process to hold something for a moment.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::control::Control;
use crate::error::{Attempt, Result};
use crate::sys::pidfd;
use crate::sys::spawn::Spawn;

/// How long it may take to end.
const BOUND: Duration = Duration::from_secs(10);

/// The process. It ends when this is dropped, and when the caller dies: it waits for a program on a
/// control socket that is closed then. Dropping waits for its end and reaps it; one that a freezer of
/// cgroup v1 holds for longer than [`BOUND`] ends when it is let go, and is the caller's to reap.
#[derive(Debug)]
pub(crate) struct Idle {
    pid: i32,
    pidfd: OwnedFd,
    control: Option<Control>,
}

impl Idle {
    /// Starts it, in new namespaces of these kinds (`CLONE_NEW*`).
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn start(image: BorrowedFd<'_>, namespaces: u64) -> Result<Self> {
        let (control, theirs) = Control::pair()?;
        let number = CString::new(theirs.as_raw_fd().to_string()).unwrap_or_default();
        let spawned = Spawn {
            image,
            args: [c"coracle-init", &number, c"0"],
            namespaces,
            cgroup: None,
            entrances: &[],
            entrance_directory: None,
            control: theirs.as_fd(),
            ambient: false,
        }
        .run()
        .attempt("start a process that waits")?;
        Ok(Self { pid: spawned.pid, pidfd: spawned.pidfd, control: Some(control) })
    }

    /// Its number in the caller's pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.control.take());
        // Should it be gone, nothing is lost.
        let _ended = pidfd::wait_within(self.pidfd.as_fd(), BOUND);
    }
}
