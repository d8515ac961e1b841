//! What is kept about a container between commands: one directory below the state root.
//!
//! | file | holds |
//! |---|---|
//! | `journal` | one line before each act that leaves something behind, so that [`delete`] needs nothing else |
//! | `state.json` | the [`Record`], written once, atomically, when the container is created |
//! | `start.sock` | the socket on which the init program waits; gone once the container was started |
//! | `notify/` | the directory with the socket for messages to the service manager, if asked for |
//! | `filter` | the compiled seccomp filter, for processes that join later |
//!
//! Making the directory is what makes a name taken; `flock` on it serialises the commands that change
//! the container, and ends with the process that holds it.
//!
//! [`delete`]: crate::Container::delete

mod directory;
mod identity;
mod journal;
mod record;

pub(crate) use directory::{Directory, NOTIFY_DIRECTORY, Reader, START_SOCKET};
pub(crate) use identity::Identity;
pub(crate) use journal::{Beginning, Entry, Journal};
pub(crate) use record::{Record, VERSION};
