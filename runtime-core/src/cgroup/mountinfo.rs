//! The cgroup mounts of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): for unusual hosts only.

use std::path::Path;

use crate::error::{Attempt, Result};
use crate::sys::mountinfo;

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    /// The directory of the hierarchy that is the root of the mount.
    pub(super) root: String,
    /// The mount point.
    pub(super) point: String,
    /// Whether it is the v2 hierarchy.
    pub(super) version_2: bool,
    /// The super block's options, among them the controllers.
    options: String,
}

impl Mounted {
    /// Whether this is the v1 hierarchy with these controllers (`cpu,cpuacct`, `name=systemd`).
    pub(super) fn has(&self, controllers: &str) -> bool {
        !self.version_2
            && controllers
                .split(',')
                .all(|controller| self.options.split(',').any(|option| option == controller))
    }
}

/// Reads the table.
pub(super) fn read() -> Result<Vec<Mounted>> {
    let mounts = mountinfo::read().attempt_on("read", Path::new("/proc/self/mountinfo"))?;
    Ok(hierarchies(mounts))
}

fn hierarchies(mounts: Vec<mountinfo::Mount>) -> Vec<Mounted> {
    let hierarchy = |mountinfo::Mount { root, point, kind, options, .. }| {
        let version_2 = kind == "cgroup2";
        (version_2 || kind == "cgroup").then_some(Mounted { root, point, version_2, options })
    };
    mounts.into_iter().filter_map(hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchies() {
        let table = hierarchies(mountinfo::parse(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             32 31 0:29 /docker/a /mnt/my\\040cg rw shared:1 master:2 - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n",
        ));
        assert_eq!(table.len(), 2);
        assert_eq!((&*table[0].root, &*table[0].point), ("/docker/a", "/mnt/my cg"));
        assert!(table[0].has("cpu,cpuacct") && table[0].has("cpu") && !table[0].has("cpuset"));
        assert!(table[1].version_2);
    }
}
