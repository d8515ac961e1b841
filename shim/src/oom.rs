//! Kills for lack of memory, on the loop.

use std::cell::RefCell;
use std::io;

use coracle::OomWatch;

/// A watch that is registered with the loop.
#[derive(Debug)]
pub(crate) struct Watch(RefCell<OomWatch>);

impl Watch {
    /// Registers it.
    ///
    /// # Errors
    /// The failure of a system call.
    #[expect(clippy::unnecessary_wraps, reason = "the loop is not asked yet")]
    pub(crate) fn new(watch: OomWatch) -> io::Result<Self> {
        Ok(Self(RefCell::new(watch)))
    }

    /// Returns when there may have been a kill; `false` once the cgroup is gone.
    pub(crate) async fn changed(&self) -> bool {
        std::future::pending().await
    }

    /// How many kills there were since the last call. Reads the counter, whether the kernel has told
    /// of a change or not.
    pub(crate) fn kills(&self) -> u64 {
        self.0.borrow_mut().kills().unwrap_or_default()
    }
}
