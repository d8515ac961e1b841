//! Checkpoint and restore through [criu](https://criu.org), which is run as `criu swrk` and spoken to over
//! a packet socket: requests and answers are protocol buffers (criu's `images/rpc.proto`).
//!
//! criu knows processes, not containers. What belongs to the host must be named at both times: mounts by
//! their [mount point](mounts), standard streams by the pipe they were, namespaces by a word.

mod hierarchy;
mod images;
mod log;
mod message;
mod mountpoints;
mod mounts;
mod options;
mod request;
mod response;
mod session;
mod sources;
mod streams;

pub use options::{CgroupsMode, CriuOptions, NetworkLock, PageServer};

pub(crate) use images::Images;
pub(crate) use mounts::external;
pub(crate) use request::{Kind, Request};
pub(crate) use response::{Feature, Notice};
pub(crate) use session::{Criu, Start};
pub(crate) use sources::{Sources, sources};
pub(crate) use streams::Streams;
