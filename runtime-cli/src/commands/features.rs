//! `features`: what this runtime supports, as JSON.

use crate::failure::Failure;
use crate::output;

/// Engines read standard output and standard error together, so nothing else may be said.
pub(super) fn run() -> Result<(), Failure> {
    output::indented_json(&coracle::features())?;
    Ok(())
}
