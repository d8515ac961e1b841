//! `pause`: stops the processes of a container where they are.

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    Ok(container(globals, matches)?.pause()?)
}
