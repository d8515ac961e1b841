//! Finding a container again.

use super::{Container, Known, Runtime};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::state::{Entry, Journal, Reader, Record};

/// Reads what the state directory holds.
pub(super) fn load(runtime: &Runtime, id: &ContainerId) -> Result<Container> {
    let reader = Reader::open(runtime.root(), id)?;
    if let Some(record) = record(&reader, id)? {
        return Ok(Container::of_record(runtime, id, record));
    }
    let locked = reader.is_locked();
    // Its creation may have come to its end between the two looks.
    if !locked && let Some(record) = record(&reader, id)? {
        return Ok(Container::of_record(runtime, id, record));
    }
    let known = creating(&reader, id, locked)?;
    Ok(Container { runtime: runtime.clone(), id: id.clone(), known, pidfd: None, console: None })
}

impl Container {
    /// A container with this record.
    pub(super) fn of_record(runtime: &Runtime, id: &ContainerId, record: Record) -> Self {
        let pidfd = record.init.open_even_ended();
        let known = Known::Created(Box::new(record));
        Self { runtime: runtime.clone(), id: id.clone(), known, pidfd, console: None }
    }
}

fn record(reader: &Reader, id: &ContainerId) -> Result<Option<Record>> {
    let bytes = reader.read("state.json")?;
    let record = bytes.map(|bytes| Record::decode(&bytes)).transpose();
    record.context(format!("load container {id}"))
}

fn creating(reader: &Reader, id: &ContainerId, locked: bool) -> Result<Known> {
    let bytes = reader.read(Journal::name())?.unwrap_or_default();
    let (mut beginning, mut init) = (None, 0);
    for entry in Journal::entries(&bytes) {
        match entry {
            Entry::Creating(first) => beginning = Some(first),
            Entry::Init(identity) => init = identity.pid,
            Entry::Cgroup(_) | Entry::Resctrl(_) | Entry::ResctrlGone => {}
            Entry::Hook(_) | Entry::Ended => {}
        }
    }
    if beginning.is_none() && !locked {
        return Err(Error::new(
            ErrorKind::System,
            format!("the state of container {id} is broken: neither state.json nor journal"),
        )
        .with_hint("delete --force removes it"));
    }
    Ok(Known::Creating { beginning, init, locked })
}
