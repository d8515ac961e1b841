//! The mounts of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): for what is looked for seldom.

use std::io;
use std::path::Path;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The number of the mount.
    pub(crate) id: u64,
    /// The number of the file system's device: `major:minor`.
    pub(crate) device: String,
    /// The directory of the file system that is the root of the mount.
    pub(crate) root: String,
    /// The mount point.
    pub(crate) point: String,
    /// The type of the file system.
    pub(crate) kind: String,
    /// The super block's options.
    pub(crate) options: String,
}

/// Reads the mounts that the calling process sees.
///
/// # Errors
/// The failure of open or read.
pub(crate) fn read() -> io::Result<Vec<Mount>> {
    read_from(Path::new("/proc/self/mountinfo"))
}

/// Reads the mounts that the process `pid` sees.
///
/// # Errors
/// The failure of open or read.
pub(crate) fn read_of(pid: i32) -> io::Result<Vec<Mount>> {
    read_from(Path::new(&format!("/proc/{pid}/mountinfo")))
}

fn read_from(path: &Path) -> io::Result<Vec<Mount>> {
    let bytes = std::fs::read(path)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// The mounts of such a text.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ');
    let id = place.next()?.parse().ok()?;
    let device = place.nth(1)?.to_owned();
    let (root, point) = (place.next()?, place.next()?);
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?.to_owned();
    let options = file_system.nth(1)?.to_owned();
    Some(Mount { id, device, root: unescape(root), point: unescape(point), kind, options })
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
