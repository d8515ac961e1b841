//! The process that serves: what it holds.

use std::fs;
use std::path::Path;

use crate::failure::Check;
use crate::leftovers;

/// A shim process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server(pub(crate) u32);

impl Server {
    /// The descriptors that are open, by what they are.
    ///
    /// # Errors
    /// The process is gone.
    pub(crate) fn descriptors(self) -> Check<Vec<String>> {
        let dir = format!("/proc/{}/fd", self.0);
        let list = fs::read_dir(&dir).map_err(|error| format!("{dir}: {error}"))?;
        let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
        Ok(list
            .flatten()
            .filter_map(target)
            .map(|path| path.to_string_lossy().into_owned())
            .collect())
    }

    /// How many threads there are.
    ///
    /// # Errors
    /// The process is gone.
    pub(crate) fn threads(self) -> Check<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.0))?.count())
    }

    /// The children that have ended and that nobody waits for.
    pub(crate) fn zombies(self) -> Vec<u32> {
        let ended = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        };
        leftovers::children(self.0).into_iter().filter(ended).collect()
    }

    /// Whether the process lives.
    pub(crate) fn lives(self) -> bool {
        Path::new(&format!("/proc/{}/fd", self.0)).exists()
            && fs::read_dir(format!("/proc/{}/fd", self.0)).is_ok()
    }
}
