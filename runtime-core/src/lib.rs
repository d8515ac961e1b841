//! An embeddable OCI container runtime.

pub mod cgroup;
mod console;
pub mod error;
mod hooks;
pub mod host;
mod id;
mod idmap;
pub mod plan;
mod program;
pub mod seccomp;
pub mod spec;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use id::ContainerId;
