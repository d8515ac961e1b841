//! `state`: shows the state of a container as JSON.

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::output;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let state = container(globals, matches)?.state()?;
    output::indented_json(&state)?;
    Ok(())
}
