//! `start`: runs the program of a created container.

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::notify::Notify;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let container = container(globals, matches)?;
    let notify = Notify::open(&container)?;
    container.start()?;
    match notify {
        Some(notify) => Ok(notify.await_ready(&container)?),
        None => Ok(()),
    }
}
