//! The id maps of a new user namespace, written from outside.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::plan::IdMaps;
use crate::spec::IdMapping;
use crate::sys::process;

/// Gives the maps to the process `pid`, which must be in a new user namespace.
///
/// A caller without the privilege writes a map of one id itself, with setgroups denied, and leaves
/// larger maps to `newuidmap` and `newgidmap`.
///
/// # Errors
/// The failure of a write, or what the programs print.
pub(crate) fn apply(maps: &IdMaps, pid: i32, privileged: bool) -> Result<()> {
    if privileged {
        write(pid, "gid_map", &lines(&maps.gid))
            .map_err(|error| error.with_field("linux.gidMappings"))?;
        return write(pid, "uid_map", &lines(&maps.uid))
            .map_err(|error| error.with_field("linux.uidMappings"));
    }
    if is_own(&maps.gid, nix::unistd::getegid().as_raw()) {
        write(pid, "setgroups", "deny")?;
        write(pid, "gid_map", &lines(&maps.gid))?;
    } else {
        run("newgidmap", pid, &maps.gid, "linux.gidMappings")?;
    }
    if is_own(&maps.uid, nix::unistd::geteuid().as_raw()) {
        write(pid, "uid_map", &lines(&maps.uid))
    } else {
        run("newuidmap", pid, &maps.uid, "linux.uidMappings")
    }
}

fn is_own(maps: &[IdMapping], own: u32) -> bool {
    matches!(maps, [map] if map.size == 1 && map.host_id == own)
}

fn lines(maps: &[IdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect()
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
    command.stdin(Stdio::null());
    process::keep_to_itself(&mut command);
    let output = command
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
    fn lines_are_what_the_kernel_reads() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(lines(&[map(0, 1000, 1), map(1, 5000, 10)]), "0 1000 1\n1 5000 10\n");
    }

    #[test]
    fn only_a_map_of_the_own_id_needs_no_program() {
        let map = |host_id, size| IdMapping { container_id: 0, host_id, size };
        assert!(is_own(&[map(1000, 1)], 1000));
        assert!(!is_own(&[map(1000, 2)], 1000));
        assert!(!is_own(&[map(1000, 1), map(5, 1)], 1000));
    }
}
