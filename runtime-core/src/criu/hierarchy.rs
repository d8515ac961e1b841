//! The options of the cgroup v2 hierarchy: it exists once, so that a mount of it without them, as criu
//! makes one, takes them from everybody (`nsdelegate` above all, which holds containers in their part).

use std::ffi::CString;
use std::os::fd::AsFd;

use crate::error::{Attempt, Result};
use crate::sys::mount;
use crate::sys::mountinfo;

/// The options that were found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy(Vec<String>);

impl Hierarchy {
    /// Looks at them; `None` where there is no such hierarchy.
    pub(super) fn look() -> Option<Self> {
        let mounts = mountinfo::read().ok()?;
        let found = mounts.into_iter().find(|mount| mount.kind == "cgroup2")?;
        let options = found.options.split(',').filter(|option| !matches!(*option, "rw" | "ro"));
        Some(Self(options.map(str::to_owned).collect()))
    }

    /// Sets them again if they have changed: one more mount, which nobody sees, has them for all.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn put_back(&self) -> Result<()> {
        if Self::look().as_ref() == Some(self) {
            return Ok(());
        }
        let step = "set the options of the cgroup hierarchy again";
        let filesystem = mount::fsopen(c"cgroup2").attempt(step)?;
        for option in &self.0 {
            let option = CString::new(option.as_str()).unwrap_or_default();
            mount::fsconfig_set(filesystem.as_fd(), &option, None).attempt(step)?;
        }
        mount::fsmount(filesystem.as_fd(), 0).attempt(step).map(drop)
    }
}
