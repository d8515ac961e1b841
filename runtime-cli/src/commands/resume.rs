//! `resume`: lets the processes of a paused container go on.

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    Ok(container(globals, matches)?.resume()?)
}
