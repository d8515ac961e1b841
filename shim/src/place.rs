//! The cgroup of the shim itself (option `ShimCgroup`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Where hierarchies are mounted: the one of cgroup v2 here, those of v1 below.
const MOUNTS: &str = "/sys/fs/cgroup";

/// Without these no process may enter a cpuset.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Puts a process into a cgroup, in each hierarchy; it is made where it does not exist. An empty path:
/// nothing is done.
///
/// # Errors
/// The cgroup cannot be made or entered.
pub(crate) fn join(pid: i32, cgroup: &str) -> Result<(), Failure> {
    let below = Path::new(cgroup.trim_start_matches('/'));
    if below.as_os_str().is_empty() {
        return Ok(());
    }
    for hierarchy in hierarchies()? {
        let directory = hierarchy.join(below);
        make(&hierarchy, below)
            .and_then(|()| fs::write(directory.join("cgroup.procs"), pid.to_string()))
            .map_err(|error| {
                Failure::from(error).context(&format!("ShimCgroup {}", directory.display()))
            })?;
    }
    Ok(())
}

fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let top = PathBuf::from(MOUNTS);
    if top.join("cgroup.procs").exists() {
        return Ok(vec![top]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        // Links are second names.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn make(hierarchy: &Path, below: &Path) -> io::Result<()> {
    let mut directory = hierarchy.to_owned();
    for name in below.components() {
        let parent = directory.clone();
        directory.push(name);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        for file in CPUSET.iter().filter(|file| parent.join(file).exists()) {
            fs::write(directory.join(file), fs::read(parent.join(file))?)?;
        }
    }
    Ok(())
}
