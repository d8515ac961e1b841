//! Control groups v1, v2 and hybrid behind one trait (cgroups(7)).
//!
//! [`Layout::detect`] finds the hierarchies, [`Layout::place`] says where a container goes and makes
//! nothing, so that its [`Record`] can be written down before anything exists, and once more when
//! [`Manager::create`] has succeeded: then what is in it is the container's. [`open`] makes a
//! [`Manager`] of a record, at creation and in every later command.
//!
//! A v1 container joins every hierarchy, as with runc: engines read `/proc/PID/cgroup`. On a hybrid
//! host it also gets a directory in the v2 hierarchy, where a process can be born into it
//! (`CLONE_INTO_CGROUP`) and where all can be killed with one write.
//!
//! With systemd the directories are those of a unit that systemd makes ([`Layout::place_unit`]).

mod conditions;
mod device_program;
mod devices;
mod layout;
mod limits;
mod manager;
mod mountinfo;
mod oom;
mod path;
mod pressure;
mod record;
mod removal;
mod setting;
mod signal;
pub mod stats;
mod support;
mod systemd;
mod tree;
mod unified;
mod v1;
mod v2;
mod weight;

pub use layout::{Layout, MountPoint};
pub use manager::{Entrances, Entry, Leftover, Manager};
pub use oom::OomWatch;
pub use pressure::{PressureResource, PressureTasks, PressureTrigger, PressureWatch};
pub use record::{Record, Version};
pub use stats::Stats;
pub use support::{unsupported, without};
pub use systemd::Occupant;

use crate::error::Result;

/// The manager of the cgroup that a record describes, whether it exists or not.
///
/// # Errors
/// When the base of the hierarchies cannot be opened.
pub fn open(record: Record) -> Result<Box<dyn Manager>> {
    if let Some(unit) = record.systemd.clone() {
        return Ok(Box::new(systemd::Scope::open(record, unit)?));
    }
    if !record.hierarchies.is_empty() {
        return Ok(Box::new(v1::Hierarchies::open(record)?));
    }
    Ok(Box::new(v2::Single::open(record)?))
}

/// The manager of a cgroup that is about to be created, as [`open`]; what systemd shall make needs
/// an occupant.
///
/// # Errors
/// As [`open`], or when an annotation asks for a property that it may not set.
pub fn open_for(record: Record, occupant: Option<&Occupant<'_>>) -> Result<Box<dyn Manager>> {
    match (record.systemd.clone(), occupant) {
        (Some(unit), Some(occupant)) => {
            let scope = systemd::Scope::open(record, unit)?;
            Ok(Box::new(scope.with_occupant(occupant)?))
        }
        _ => open(record),
    }
}

/// Sends a signal to every process in a cgroup and below, and to no other, whatever becomes of their
/// numbers meanwhile. What they start at that moment may escape it.
///
/// # Errors
/// When the kernel refuses.
pub fn signal_all(cgroup: &dyn Manager, signal: i32) -> Result<()> {
    signal::send(&|| cgroup.processes(), signal).map(drop)
}
