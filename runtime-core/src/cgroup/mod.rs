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

mod conditions;
mod device_program;
mod devices;
mod layout;
mod limits;
mod manager;
mod mountinfo;
mod path;
mod record;
mod removal;
mod setting;
mod signal;
mod support;
mod tree;
mod unified;
mod v1;
mod v2;
mod weight;

pub use layout::{Layout, MountPoint};
pub use manager::{Entrances, Entry, Leftover, Manager};
pub use record::{Record, Version};
pub use support::unsupported;

use crate::error::Result;

/// The manager of the cgroup that a record describes, whether it exists or not.
///
/// # Errors
/// When the base of the hierarchies cannot be opened.
pub fn open(record: Record) -> Result<Box<dyn Manager>> {
    if !record.hierarchies.is_empty() {
        return Ok(Box::new(v1::Hierarchies::open(record)?));
    }
    Ok(Box::new(v2::Single::open(record)?))
}
