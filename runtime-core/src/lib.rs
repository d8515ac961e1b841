//! An embeddable OCI container runtime.

pub mod error;
mod id;

pub use error::{Error, ErrorKind, Result};
pub use id::ContainerId;
