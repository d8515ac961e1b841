//! User namespaces that exist for their maps alone: id-mapped mounts take them from there.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

use super::control::Control;
use crate::error::{Attempt, Result};
use crate::idmap;
use crate::plan::IdMaps;
use crate::sys::pidfd;
use crate::sys::spawn::Spawn;

/// A new user namespace with these maps. A process is needed to make one: the init program, which ends
/// when its control socket is closed, also when the caller dies.
///
/// # Errors
/// The failure of a system call.
pub(crate) fn with_maps(image: BorrowedFd<'_>, maps: &IdMaps) -> Result<OwnedFd> {
    let (control, theirs) = Control::pair()?;
    let number = CString::new(theirs.as_raw_fd().to_string()).unwrap_or_default();
    let spawned = Spawn {
        image,
        args: [c"coracle-init", &number, c"0"],
        namespaces: u64::from(libc::CLONE_NEWUSER.cast_unsigned()),
        cgroup: None,
        entrances: &[],
        entrance_directory: None,
        control: theirs.as_fd(),
        ambient: false,
    }
    .run()
    .attempt("make a user namespace")?;
    drop(theirs);
    let path = PathBuf::from(format!("/proc/{}/ns/user", spawned.pid));
    let namespace = idmap::apply(maps, spawned.pid, true).and_then(|()| {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        fcntl::open(&path, flags, Mode::empty()).attempt_on("open the user namespace", &path)
    });
    drop(control);
    pidfd::wait(spawned.pidfd.as_fd()).attempt("wait for the maker of a user namespace")?;
    namespace
}
