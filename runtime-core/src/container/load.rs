//! Finding a container again.

use std::path::PathBuf;

use super::{Container, Known, Runtime};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::state::{Entry, Journal, Reader, Record};

/// Reads what the state directory holds.
pub(super) fn load(runtime: &Runtime, id: &ContainerId) -> Result<Container> {
    let reader = Reader::open(runtime.root(), id)?;
    let known = match reader.read("state.json")? {
        Some(bytes) => Known::Created(Box::new(
            Record::decode(&bytes).context(format!("load container {id}"))?,
        )),
        None => creating(&reader, id)?,
    };
    let pidfd = match &known {
        Known::Created(record) => record.init.open_even_ended(),
        Known::Creating { .. } => None,
    };
    Ok(Container { runtime: runtime.clone(), id: id.clone(), known, pidfd, console: None })
}

fn creating(reader: &Reader, id: &ContainerId) -> Result<Known> {
    let locked = reader.is_locked();
    let bytes = reader.read(Journal::name())?.unwrap_or_default();
    let (mut bundle, mut init) = (PathBuf::new(), 0);
    for entry in Journal::entries(&bytes) {
        match entry {
            Entry::Creating { bundle: path } => bundle = path,
            Entry::Init(identity) => init = identity.pid,
            Entry::Cgroup(_) | Entry::Hook(_) => {}
        }
    }
    if bundle.as_os_str().is_empty() && !locked {
        return Err(Error::new(
            ErrorKind::System,
            format!("the state of container {id} is broken: neither state.json nor journal"),
        )
        .with_hint("delete --force removes it"));
    }
    Ok(Known::Creating { bundle, init, locked })
}
