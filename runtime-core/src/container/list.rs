//! All containers of a state root.

use super::Runtime;
use super::load::load;
use super::status::State;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::id::ContainerId;

/// A container as the list shows it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub id: ContainerId,
    /// Its state, or why it cannot be told; such a container can be deleted by force.
    pub state: Result<State>,
}

/// Reads the state root; containers that vanish meanwhile are left out.
pub(super) fn list(runtime: &Runtime) -> Result<Vec<Listed>> {
    let root = runtime.root();
    let entries = std::fs::read_dir(root).map_err(|source| {
        let missing = source.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io("read the state root", &source).with_path(root);
        if missing {
            Error::new(ErrorKind::NotFound, "the state root does not exist").with_path(root)
        } else {
            error
        }
    })?;
    let mut listed = Vec::new();
    for entry in entries {
        let entry = entry.attempt_on("read the state root", root)?;
        // Only a directory is a container; what cannot be told is looked at.
        if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<ContainerId>().ok()) else {
            continue;
        };
        match load(runtime, &id).and_then(|container| container.state()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            state => listed.push(Listed { id, state }),
        }
    }
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(listed)
}
