//! The options of the cgroup v2 hierarchy: it exists once, so that a mount of it without them, as criu
//! makes one, takes them from everybody (`nsdelegate` above all, which holds containers in their part).

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::error::{Attempt, Result};
use crate::sys::mount;
use crate::sys::mountinfo;

/// How long other commands with a criu of their own are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The options that were found, while no other command should change them.
#[derive(Debug)]
pub(super) struct Hierarchy {
    options: Vec<String>,
    _lock: Option<File>,
}

impl Hierarchy {
    /// Looks at them; `None` where there is no such hierarchy. Memory that is fetched when it is needed may
    /// need two criu at once, so that these are not `alone`.
    pub(super) fn look(alone: bool) -> Option<Self> {
        let (point, _) = read()?;
        let lock = alone.then(|| lock(&point)).flatten();
        let (_, options) = read()?;
        Some(Self { options, _lock: lock })
    }

    /// Sets them again if they have changed: one more mount, which nobody sees, has them for all.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn put_back(&self) -> Result<()> {
        if read().is_none_or(|(_, options)| options == self.options) {
            return Ok(());
        }
        let step = "set the options of the cgroup hierarchy again";
        let filesystem = mount::fsopen(c"cgroup2").attempt(step)?;
        for option in &self.options {
            let option = CString::new(option.as_str()).unwrap_or_default();
            mount::fsconfig_set(filesystem.as_fd(), &option, None).attempt(step)?;
        }
        mount::fsmount(filesystem.as_fd(), 0).attempt(step).map(drop)
    }
}

/// The mount point and the options.
fn read() -> Option<(String, Vec<String>)> {
    let mounts = mountinfo::read().ok()?;
    let found = mounts.into_iter().find(|mount| mount.kind == "cgroup2")?;
    let options = found.options.split(',').filter(|option| !matches!(*option, "rw" | "ro"));
    Some((found.point, options.map(str::to_owned).collect()))
}

/// Keeps other commands from finding the options while they are missing.
fn lock(point: &str) -> Option<File> {
    let directory = File::open(point).ok()?;
    let end = Instant::now() + PATIENCE;
    while directory.try_lock().is_err() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(directory)
}
