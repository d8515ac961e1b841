//! An embeddable OCI container runtime.

pub mod error;
mod id;
mod program;
pub mod spec;

pub use error::{Error, ErrorKind, Result};
pub use id::ContainerId;
