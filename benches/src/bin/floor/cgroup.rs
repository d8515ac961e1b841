//! The container's cgroups: made, filled with the default device rules, removed.

use std::ffi::CString;
use std::mem;

use crate::call::{check, open, read, write};

/// The default device rules on cgroup v1: all is denied, then these are allowed.
const ALLOWED: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// One hierarchy and the container's place in it.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    /// The directory's name below /sys/fs/cgroup: `memory`, `unified`, or empty on pure cgroup v2.
    pub(crate) name: String,
    /// The container's cgroup, absolute.
    pub(crate) path: CString,
    /// Its `tasks`, which only cgroup v1 has.
    pub(crate) tasks: CString,
    /// Its directory below the container's /sys/fs/cgroup.
    pub(crate) view: CString,
    parent: String,
}

impl Hierarchy {
    fn new(name: &str, below: &str) -> Result<Self, String> {
        let root = if name.is_empty() { String::new() } else { format!("/{name}") };
        let path = format!("/sys/fs/cgroup{root}{below}");
        let parent = path.rsplit_once('/').map_or(path.as_str(), |(parent, _)| parent).to_owned();
        let c = |text: String| CString::new(text).map_err(|e| e.to_string());
        Ok(Self {
            name: name.to_owned(),
            tasks: c(format!("{path}/tasks"))?,
            path: c(path)?,
            view: c(name.to_owned())?,
            parent,
        })
    }

    /// True for the one hierarchy of cgroup v2, beside v1 or alone.
    pub(crate) fn is_v2(&self) -> bool {
        matches!(self.name.as_str(), "" | "unified")
    }

    fn file(&self, name: &str) -> Result<CString, String> {
        CString::new([self.path.as_bytes(), b"/", name.as_bytes()].concat())
            .map_err(|e| e.to_string())
    }

    fn set(&self, name: &str, value: &str) -> Result<(), String> {
        write(open(&self.file(name)?, libc::O_WRONLY)?, value.as_bytes(), name)
    }
}

/// The hierarchies of this host, from /proc/self/cgroup.
pub(crate) fn hierarchies(below: &str) -> Result<Vec<Hierarchy>, String> {
    let text = read(open(c"/proc/self/cgroup", libc::O_RDONLY)?, "read /proc/self/cgroup")?;
    let mut found = Vec::new();
    for line in text.lines() {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        match controllers.strip_prefix("name=").unwrap_or(controllers) {
            "" if text.lines().count() == 1 => found.push(Hierarchy::new("", below)?),
            "" if is_cgroup2(c"/sys/fs/cgroup/unified") => {
                found.push(Hierarchy::new("unified", below)?);
            }
            "" => {}
            name => found.push(Hierarchy::new(name, below)?),
        }
    }
    Ok(found)
}

fn is_cgroup2(path: &std::ffi::CStr) -> bool {
    // SAFETY: statfs is plain data, for which all zeros is a valid value.
    let mut facts: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: a NUL-terminated path and a valid place for the result.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut facts) };
    result == 0 && facts.f_type == 0x6367_7270
}

/// Makes the cgroups with the settings that a container of the default configuration needs.
pub(crate) fn make(hierarchies: &[Hierarchy], memory: Option<&str>) -> Result<(), String> {
    for hierarchy in hierarchies {
        // SAFETY: a NUL-terminated path that outlives the call.
        let result = unsafe { libc::mkdir(hierarchy.path.as_ptr(), 0o755) };
        check(result, "make a cgroup")?;
        match hierarchy.name.as_str() {
            "cpuset" => copy_cpuset(hierarchy)?,
            "devices" => allow_devices(hierarchy)?,
            "memory" => {
                if let Some(bytes) = memory {
                    hierarchy.set("memory.limit_in_bytes", bytes)?;
                }
            }
            "" => {
                crate::device_filter::attach(&hierarchy.path)?;
                if let Some(bytes) = memory {
                    hierarchy.set("memory.max", bytes)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A v1 cpuset starts empty and takes no process until it has CPUs and memory nodes.
fn copy_cpuset(hierarchy: &Hierarchy) -> Result<(), String> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let parent =
            CString::new(format!("{}/{name}", hierarchy.parent)).map_err(|e| e.to_string())?;
        let value = read(open(&parent, libc::O_RDONLY)?, name)?;
        hierarchy.set(name, &value)?;
    }
    Ok(())
}

fn allow_devices(hierarchy: &Hierarchy) -> Result<(), String> {
    hierarchy.set("devices.deny", "a")?;
    let fd = open(&hierarchy.file("devices.allow")?, libc::O_WRONLY)?;
    ALLOWED.iter().try_for_each(|rule| write(fd, rule.as_bytes(), "allow a device"))
}

/// Removes the cgroups.
pub(crate) fn remove(hierarchies: &[Hierarchy]) -> Result<(), String> {
    for hierarchy in hierarchies {
        // SAFETY: a NUL-terminated path that outlives the call.
        let result = unsafe { libc::rmdir(hierarchy.path.as_ptr()) };
        check(result, "remove a cgroup")?;
    }
    Ok(())
}
