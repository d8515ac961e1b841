//! One file per command.

mod spec;

use coracle::{Error, ErrorKind};

use crate::args::table::Verb;
use crate::args::{Globals, Matches};
use crate::failure::Failure;

/// Runs the command; the result is the exit status.
pub(crate) fn run(_globals: &Globals, matches: &Matches) -> Result<u8, Failure> {
    match matches.command.verb {
        Verb::Spec => spec::run(matches)?,
        _ => {
            let message = format!("{} is not supported yet", matches.command.name);
            return Err(Error::new(ErrorKind::Unsupported, message).into());
        }
    }
    Ok(0)
}
