//! Carrying a plan out: open what it needs, start the init program, serve its gates.
//!
//! Nothing here outlives a failure: descriptors close, and the caller, who knows what it has recorded,
//! kills the process.

mod control;
mod failure;
mod gates;
mod idle;
mod image;
mod node;
mod scheduling;
mod sources;
mod user_namespace;

use std::os::fd::OwnedFd;

pub(crate) use control::{Control, Message};
pub(crate) use failure::explain_start;
pub(crate) use gates::{Gates, KILLED, Process, serve, was_executed};
pub(crate) use idle::Idle;
pub(crate) use image::Image;
pub(crate) use scheduling::apply as schedule;
pub(crate) use sources::{Opened, Resolver, check_kept, open as open_sources};
pub(crate) use user_namespace::with_maps as user_namespace;

use crate::error::Result;
use crate::plan::Plan;

/// A plan's program, sealed in memory.
///
/// # Errors
/// The failure of a system call.
pub(crate) fn program(plan: &Plan) -> Result<OwnedFd> {
    image::memory("coracle-program", &plan.program)
}
