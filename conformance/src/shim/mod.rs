//! Conformance of shims for containerd.
//!
//! The suite plays containerd: it calls the shim binary as every version of containerd does, owns
//! the socket for events, and speaks TTRPC with the task service. No containerd and no image is
//! needed.
#![allow(
    clippy::indexing_slicing,
    reason = "reading a JSON value by key gives null where nothing is, never a panic"
)]

mod bootstrap;
mod cases;
mod daemon;
mod messages;
mod order;
mod server;
mod sink;
mod stdio;
mod task;
mod wire;

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;

use crate::failure::{Check, ensure};

pub(crate) use cases::GROUPS;

/// The namespace of all containers of the suite.
pub(crate) const NAMESPACE: &str = "conformance";

/// The codes of refusals (those of gRPC).
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const ALREADY_EXISTS: i32 = 6;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const UNIMPLEMENTED: i32 = 12;
}

/// The time of something that has just happened.
///
/// # Errors
/// There is none, or it is more than two minutes away.
fn recent(what: &str, time: Option<Timestamp>) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seconds = time.map_or(0, |time| time.seconds);
    let away = seconds.abs_diff(i64::try_from(now).unwrap_or(0));
    ensure(away < 120, format!("the time of {what} is {seconds}, {away} s from now"))
}
