//! The id maps of a new user namespace, written from outside.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::IdMapping;

/// The maps of a user namespace (user_namespaces(7)).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IdMaps {
    /// User ids.
    pub(crate) uid: Vec<IdMapping>,
    /// Group ids.
    pub(crate) gid: Vec<IdMapping>,
}

impl IdMaps {
    /// Gives the maps to the process `pid`, which must be in a new user namespace.
    ///
    /// A caller without the privilege writes a map of one id itself, with setgroups denied, and leaves
    /// larger maps to `newuidmap` and `newgidmap`.
    ///
    /// # Errors
    /// The failure of a write, or what the programs print.
    pub(crate) fn apply(&self, pid: i32, privileged: bool) -> Result<()> {
        if privileged {
            write(pid, "gid_map", &lines(&self.gid)).map_err(|error| error.with_field("linux.gidMappings"))?;
            return write(pid, "uid_map", &lines(&self.uid))
                .map_err(|error| error.with_field("linux.uidMappings"));
        }
        if is_own(&self.gid, nix::unistd::getegid().as_raw()) {
            write(pid, "setgroups", "deny")?;
            write(pid, "gid_map", &lines(&self.gid))?;
        } else {
            run("newgidmap", pid, &self.gid, "linux.gidMappings")?;
        }
        if is_own(&self.uid, nix::unistd::geteuid().as_raw()) {
            write(pid, "uid_map", &lines(&self.uid))
        } else {
            run("newuidmap", pid, &self.uid, "linux.uidMappings")
        }
    }

    /// What a user id of the caller's user namespace is inside; the kernel's overflow id if unmapped.
    pub(crate) fn inside(&self, host: u32) -> u32 {
        const OVERFLOW: u32 = 65_534;
        self.uid
            .iter()
            .find_map(|map| {
                let offset = host.checked_sub(map.host_id)?;
                (offset < map.size).then(|| map.container_id.wrapping_add(offset))
            })
            .unwrap_or(OVERFLOW)
    }
}

fn is_own(maps: &[IdMapping], own: u32) -> bool {
    matches!(maps, [map] if map.size == 1 && map.host_id == own)
}

fn lines(maps: &[IdMapping]) -> String {
    maps.iter()
        .map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size))
        .collect()
}

fn write(pid: i32, file: &str, content: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    std::fs::write(&path, content).attempt_on("write", &path)
}

/// Maps through the set-user-id programs of shadow-utils, which check /etc/subuid and /etc/subgid.
fn run(program: &str, pid: i32, maps: &[IdMapping], field: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.container_id, map.host_id, map.size].map(|number| number.to_string()));
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .attempt(&format!("run {program} (package uidmap)"))
        .map_err(|error| error.with_field(field))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(ErrorKind::Denied, format!("{program} failed: {said}"))
        .with_field(field)
        .with_hint("the ranges must be granted in /etc/subuid and /etc/subgid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_translated_or_overflow() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let maps = IdMaps { uid: vec![map(0, 1000, 1), map(1, 5000, 10)], gid: Vec::new() };
        assert_eq!(maps.inside(1000), 0);
        assert_eq!(maps.inside(5009), 10);
        assert_eq!(maps.inside(5010), 65_534);
        assert_eq!(lines(&maps.uid), "0 1000 1\n1 5000 10\n");
    }
}
