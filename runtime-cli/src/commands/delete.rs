//! `delete`: removes what is left of a container.

use super::id;
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::root;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let id = id(matches)?;
    root::runtime(globals)?.delete(&id, matches.switch("force"))?;
    Ok(())
}
