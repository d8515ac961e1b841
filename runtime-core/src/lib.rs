//! An embeddable OCI container runtime.

pub mod error;
mod id;
mod program;
pub mod spec;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use id::ContainerId;
