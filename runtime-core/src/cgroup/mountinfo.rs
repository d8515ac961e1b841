//! The cgroup mounts of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): for unusual hosts only.

use std::path::Path;

use crate::error::{Attempt, Result};

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
    let path = Path::new("/proc/self/mountinfo");
    let bytes = std::fs::read(path).attempt_on("read", path)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(text: &str) -> Vec<Mounted> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mounted> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    let options = file_system.nth(1)?;
    matches!(kind, "cgroup" | "cgroup2").then(|| Mounted {
        root: unescape(root),
        point: unescape(point),
        version_2: kind == "cgroup2",
        options: options.to_owned(),
    })
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchies() {
        let table = parse(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             32 31 0:29 /docker/a /mnt/my\\040cg rw shared:1 master:2 - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(table.len(), 2);
        assert_eq!((&*table[0].root, &*table[0].point), ("/docker/a", "/mnt/my cg"));
        assert!(table[0].has("cpu,cpuacct") && table[0].has("cpu") && !table[0].has("cpuset"));
        assert!(table[1].version_2);
    }
}
