//! `manual`: the manual pages, as files.

use std::fs;
use std::path::Path;

use coracle::Error;

use crate::args::{Matches, manual};
use crate::failure::Failure;

pub(super) fn run(matches: &Matches) -> Result<(), Failure> {
    let directory = Path::new(matches.argument(0)?.unwrap_or_default());
    for (name, text) in manual::pages() {
        let path = directory.join(name);
        fs::write(&path, text)
            .map_err(|source| Error::io("write the manual page", &source).with_path(path))?;
    }
    Ok(())
}
