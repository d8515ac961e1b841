//! Work that can block, on threads that end with it.

use std::thread;

use tokio::sync::oneshot;

use crate::children::Operation;
use crate::failure::Failure;

/// Address space for the stack; only what is used becomes memory.
const STACK: usize = 1 << 20;

/// Runs `work` on a thread of its own and waits for its result without holding the loop. The work comes
/// to its end even if the waiting does not.
///
/// # Errors
/// No thread can be made, or the work has panicked.
pub(crate) async fn run<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let operation = Operation::begin();
    let (sender, receiver) = oneshot::channel();
    let body = move || {
        let result = work();
        // The children of the library are reaped by now.
        drop(operation);
        // Whoever asked may be gone.
        let _ = sender.send(result);
    };
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(body)
        .map_err(|error| Failure::from(error).context("make a thread"))?;
    receiver.await.map_err(|_| Failure::unknown("the operation has ended without a result"))
}
