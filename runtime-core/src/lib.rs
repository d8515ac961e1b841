//! An embeddable OCI container runtime.
//!
//! A [`Runtime`] is a state root; [`Runtime::create`] makes a [`Container`] of a [`Bundle`] as the
//! [OCI runtime specification](https://github.com/opencontainers/runtime-spec) says, and the methods of the
//! container are its operations: [`start`](Container::start), [`state`](Container::state),
//! [`exec`](Container::exec), [`kill`](Container::kill), [`delete`](Container::delete).
//!
//! ```no_run
//! use coracle::{Bundle, CreateOptions, Runtime};
//!
//! # fn main() -> coracle::Result<()> {
//! let runtime = Runtime::new("/run/example");
//! let bundle = Bundle::load("/var/lib/bundles/hello")?;
//! let container = runtime.create(&"hello".parse()?, &bundle, &CreateOptions::default())?;
//! container.start()?;
//! let status = container.wait()?;
//! container.delete(false)?;
//! println!("exit status {}", status.code());
//! # Ok(())
//! # }
//! ```
//!
//! # What a caller may rely on
//!
//! - Nothing about the calling process changes, not even for a moment: no working directory, umask,
//!   environment, signal mask or handler, resource limit, descriptor of its own. Every type is `Send` and
//!   `Sync`, and containers can be made from many threads at once.
//! - The cost does not depend on the caller's size: its memory is not forked. A small program, which the
//!   library carries, is executed from a sealed memory file and sets the container up.
//! - What fails leaves nothing behind, and says which step, field, path and errno it was ([`Error`]).
//! - Everything that takes time is a descriptor: poll [`Container::pidfd`] and [`ExecProcess::pidfd`].
//!
//! Linux 5.12 or newer is needed.

#[doc(hidden)] // for the project's own tests and benches; no promise is made about it
pub mod cgroup;
mod console;
mod container;
mod criu;
pub mod error;
pub mod features;
mod hooks;
pub mod host;
mod id;
mod idmap;
mod launch;
mod netdev;
pub mod plan;
mod program;
mod rdt;
#[doc(hidden)] // as above
pub mod seccomp;
pub mod spec;
mod state;
mod sys;

pub use cgroup::{
    OomWatch, PressureResource, PressureTasks, PressureTrigger, PressureWatch, stats,
};
pub use container::{
    Bundle, CgroupDriver, CheckpointOptions, ConsoleTarget, Container, CreateOptions, ExecOptions,
    ExecProcess, ExitStatus, KillTarget, Listed, RestoreOptions, Runtime, Signal, State, Status,
    Stdio, UpdateOptions,
};
pub use criu::{CgroupsMode, CriuOptions, NetworkLock, PageServer};
pub use error::{Error, ErrorKind, Result};
pub use features::features;
pub use id::ContainerId;
pub use plan::Plan;
pub use rdt::stats as rdt_stats;
pub use sys::clock::rfc3339;
