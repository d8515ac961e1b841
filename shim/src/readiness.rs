//! Descriptors on the loop.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the loop that runs this task.
///
/// # Errors
/// The failure of epoll_ctl: what is always ready (a regular file) cannot be waited for.
#[allow(
    deprecated,
    reason = "the function that takes its place is unsafe, for types whose descriptor changes or is \
              closed behind their back; every type here owns or borrows its descriptor"
)]
pub(crate) fn register<T: AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, interest)
}
