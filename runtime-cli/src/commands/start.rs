//! `start`: runs the program of a created container.

use coracle::Status;

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::notify::Notify;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let container = container(globals, matches)?;
    let notify = match container.state()?.status {
        Status::Created => Notify::open(&container)?,
        // The start will fail, and the socket is in use by whoever has started the container.
        _ => None,
    };
    container.start()?;
    match notify {
        Some(notify) => Ok(notify.await_ready(&container)?),
        None => Ok(()),
    }
}
