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
    /// need two criu at once, so that these keep away only those that are `alone`.
    pub(super) fn look(alone: bool) -> Option<Self> {
        let (point, _) = read()?;
        let lock = lock(&point, alone);
        let (_, options) = read()?;
        Some(Self { options, _lock: lock })
    }

    /// Sets those again that are missing: one more mount, which nobody sees, has them for all. None is ever
    /// taken away: they may have been missing because of another criu when they were looked at.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn put_back(&self) -> Result<()> {
        let Some((_, options)) = read() else { return Ok(()) };
        let Some(options) = together(&self.options, options) else { return Ok(()) };
        let step = "set the options of the cgroup hierarchy again";
        let filesystem = mount::fsopen(c"cgroup2").attempt(step)?;
        for option in &options {
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

/// The options that there are `now`, and those `before` that have gone; `None` if none has.
fn together(before: &[String], mut now: Vec<String>) -> Option<Vec<String>> {
    let found = now.len();
    now.extend(before.iter().filter(|option| !now.contains(option)).cloned().collect::<Vec<_>>());
    (now.len() > found).then_some(now)
}

/// Keeps other commands from finding the options while they are missing. Without it, after all patience,
/// options are still only added.
fn lock(point: &str, alone: bool) -> Option<File> {
    let directory = File::open(point).ok()?;
    let end = Instant::now() + PATIENCE;
    loop {
        let locked = if alone { directory.try_lock() } else { directory.try_lock_shared() };
        match locked {
            Ok(()) => return Some(directory),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_only_added() {
        let options = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let both = |before, now| together(&options(before), options(now));
        assert_eq!(both("nsdelegate", "nsdelegate"), None);
        assert_eq!(both("nsdelegate", "nsdelegate memory_recursiveprot"), None);
        assert_eq!(both("", "nsdelegate"), None);
        assert_eq!(both("a b", "b c"), Some(options("b c a")));
        assert_eq!(both("a", ""), Some(options("a")));
    }
}
