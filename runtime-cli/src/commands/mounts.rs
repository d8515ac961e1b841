//! `mounts`: adds mounts to a container that exists, and removes them.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use coracle::Error;
use coracle::spec::Mount;

use crate::args::{Globals, Matches, Usage};
use crate::failure::Failure;
use crate::root;

/// The longest list of mounts that is read, in bytes.
const LONGEST: u64 = 1 << 20;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let change = matches.argument(0)?.unwrap_or_default();
    let add = match change {
        "add" => true,
        "remove" => false,
        other => return Err(Usage::new(format!("mounts: add or remove, not {other:?}")).into()),
    };
    let id = matches.argument(1)?.unwrap_or_default().parse()?;
    let container = root::runtime(globals)?.load(&id)?;
    let mounts = read(Path::new(matches.argument(2)?.unwrap_or_default()))?;
    if add {
        container.add_mounts(&mounts)?;
    } else {
        let places: Vec<_> = mounts.into_iter().map(|mount| mount.destination).collect();
        container.remove_mounts(&places)?;
    }
    Ok(())
}

/// The mounts of a file; `-` is the standard input.
fn read(path: &Path) -> Result<Vec<Mount>, Error> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        stdin().lock().take(LONGEST).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text))
    };
    read.map_err(|source| Error::io("read the mounts from", &source).with_path(path))?;
    let loaded =
        Mount::parse_list(&text).map_err(|error| error.context(path.display().to_string()))?;
    for warning in loaded.warnings {
        ::log::warn!("{warning}");
    }
    Ok(loaded.value)
}
