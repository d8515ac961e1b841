//! `start`: runs the program of a created container.

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    container(globals, matches)?.start()?;
    Ok(())
}
