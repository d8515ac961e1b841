//! `create`: sets a container up without running its program.

use super::{creation, id};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::root;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let id = id(matches)?;
    let runtime = root::runtime(globals)?;
    let bundle = creation::bundle(matches)?;
    let options = creation::options(globals, matches, &bundle, true)?;
    root::prepare(globals)?;
    runtime.create(&id, &bundle, &options)?;
    Ok(())
}
