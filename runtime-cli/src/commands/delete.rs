//! `delete`: removes what is left of a container.

use super::{each_match, id};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::root;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let force = matches.switch("force");
    if matches.switch("regex") {
        return each_match(globals, matches, |runtime, id| Ok(runtime.delete(id, force)?));
    }
    let id = id(matches)?;
    root::runtime(globals)?.delete(&id, force)?;
    Ok(())
}
