//! `completion`: a script for a shell.

use crate::args::completion::Shell;
use crate::args::{Matches, Usage};
use crate::failure::Failure;
use crate::output;

pub(super) fn run(matches: &Matches) -> Result<(), Failure> {
    let name = matches.argument(0)?.or(matches.text("shell")?);
    let name = name.ok_or_else(|| Usage::new("completion: which shell? bash, zsh or fish"))?;
    let shell = Shell::named(name).ok_or_else(|| {
        Usage::new(format!("no completion for the shell {name:?}: there is bash, zsh and fish"))
    })?;
    output::text(&shell.script())?;
    Ok(())
}
