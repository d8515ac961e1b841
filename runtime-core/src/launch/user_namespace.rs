//! User namespaces that exist for their maps alone: id-mapped mounts take them from there.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

use super::idle::Idle;
use crate::error::{Attempt, Result};
use crate::idmap;
use crate::plan::IdMaps;

/// A new user namespace with these maps. A process is needed to make one.
///
/// # Errors
/// The failure of a system call.
pub(crate) fn with_maps(image: BorrowedFd<'_>, maps: &IdMaps) -> Result<OwnedFd> {
    let maker = Idle::start(image, u64::from(libc::CLONE_NEWUSER.cast_unsigned()))?;
    let path = PathBuf::from(format!("/proc/{}/ns/user", maker.pid()));
    idmap::apply(maps, maker.pid(), true)?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    fcntl::open(&path, flags, Mode::empty()).attempt_on("open the user namespace", &path)
}
