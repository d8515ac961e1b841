//! The id maps of a new user namespace, written from outside.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::plan::IdMaps;
use crate::spec::IdMapping;
use crate::sys::file::read_text;
use crate::sys::process;

const UID: &str = "linux.uidMappings";
const GID: &str = "linux.gidMappings";

/// The size of the page that a map must be shorter than (map_write of the kernel).
const PAGE: usize = 4096;

/// Gives the maps to the process `pid`, which must be in a new user namespace.
///
/// A caller without the privilege writes a map of one id itself, with setgroups denied, and leaves
/// larger maps to `newuidmap` and `newgidmap`.
///
/// # Errors
/// The failure of a write, or what the programs print.
pub(crate) fn apply(maps: &IdMaps, pid: i32, privileged: bool) -> Result<()> {
    let (uid, gid) = (lines(&maps.uid, UID)?, lines(&maps.gid, GID)?);
    if privileged {
        write_map(pid, "gid_map", &gid, GID)?;
        return write_map(pid, "uid_map", &uid, UID);
    }
    if is_own(&maps.gid, nix::unistd::getegid().as_raw()) {
        write(pid, "setgroups", "deny")?;
        write_map(pid, "gid_map", &gid, GID)?;
    } else {
        run("newgidmap", pid, &maps.gid, GID)?;
    }
    if is_own(&maps.uid, nix::unistd::geteuid().as_raw()) {
        write_map(pid, "uid_map", &uid, UID)
    } else {
        run("newuidmap", pid, &maps.uid, UID)
    }
}

/// Compares the maps of a configuration with those of the user namespace that the process is in, as the
/// caller sees them. A map that is not given is not compared.
///
/// # Errors
/// [`ErrorKind::InvalidSpec`] for a difference; the failure to read.
pub(crate) fn compare(maps: &IdMaps, pid: i32) -> Result<()> {
    for (wanted, file, field) in [(&maps.uid, "uid_map", UID), (&maps.gid, "gid_map", GID)] {
        let path = PathBuf::from(format!("/proc/{pid}/{file}"));
        let text = read_text(&path).attempt_on("read", &path)?;
        let found: Vec<IdMapping> = text.lines().filter_map(parse).collect();
        if !wanted.is_empty() && merged(wanted) != merged(&found) {
            let words: Vec<&str> = text.split_whitespace().collect();
            let message = format!(
                "differs from the map of the user namespace that is joined, {}",
                words.join(" ")
            );
            return Err(Error::new(ErrorKind::InvalidSpec, message)
                .with_field(field)
                .with_hint("leave it out to take the namespace as it is"));
        }
    }
    Ok(())
}

fn parse(line: &str) -> Option<IdMapping> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
}

/// The ranges in order, those that continue another one joined to it: two maps are equal if these are.
fn merged(map: &[IdMapping]) -> Vec<IdMapping> {
    let mut sorted = map.to_vec();
    sorted.sort_by_key(|range| range.container_id);
    let mut merged: Vec<IdMapping> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last)
                if last.container_id.checked_add(last.size) == Some(range.container_id)
                    && last.host_id.checked_add(last.size) == Some(range.host_id) =>
            {
                last.size = last.size.saturating_add(range.size);
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn is_own(maps: &[IdMapping], own: u32) -> bool {
    matches!(maps, [map] if map.size == 1 && map.host_id == own)
}

/// The text of a map. The kernel takes it in one write that is shorter than a page.
fn lines(map: &[IdMapping], field: &'static str) -> Result<String> {
    let text: String = map
        .iter()
        .map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size))
        .collect();
    if text.len() < PAGE {
        return Ok(text);
    }
    let message =
        format!("is a text of {} bytes for the kernel, which takes fewer than {PAGE}", text.len());
    Err(Error::new(ErrorKind::InvalidSpec, message)
        .with_field(field)
        .with_hint("join ranges that continue each other, or leave some out"))
}

fn write(pid: i32, file: &str, content: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    std::fs::write(&path, content).attempt_on("write", &path)
}

fn write_map(pid: i32, file: &str, content: &str, field: &'static str) -> Result<()> {
    write(pid, file, content).map_err(|error| {
        let hint = match error.errno() {
            Some(libc::EPERM) => {
                "every hostID must be mapped in the runtime's own user namespace, and its user must \
                 have CAP_SETUID and CAP_SETGID there (for the host's root CAP_SETFCAP too)"
            }
            _ => return error.with_field(field),
        };
        error.with_field(field).with_hint(hint)
    })
}

/// Maps through the set-user-id programs of shadow-utils, which check /etc/subuid and /etc/subgid.
fn run(program: &str, pid: i32, maps: &[IdMapping], field: &'static str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.container_id, map.host_id, map.size].map(|number| number.to_string()));
    }
    command.stdin(Stdio::null());
    process::keep_to_itself(&mut command);
    let output = command.output().attempt(&format!("run {program}")).map_err(|error| {
        error.with_field(field).with_hint(
            "a map of more than the caller's own id needs the programs newuidmap and newgidmap \
             (package uidmap), set-user-id root",
        )
    })?;
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
        let text = lines(&[map(0, 1000, 1), map(1, 5000, 10)], UID).expect("short");
        assert_eq!(text, "0 1000 1\n1 5000 10\n");
        let many: Vec<IdMapping> = (0..340)
            .map(|index| map(4_000_000_000 + 2 * index, 3_000_000_000 + 2 * index, 1))
            .collect();
        assert_eq!(lines(&many, GID).expect_err("long").field(), Some(GID));
    }

    #[test]
    fn maps_are_equal_if_they_map_the_same() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let parts = [map(5, 105, 5), map(0, 100, 5), map(20, 7, 1)];
        assert_eq!(merged(&parts), [map(0, 100, 10), map(20, 7, 1)]);
        assert_ne!(merged(&[map(0, 100, 5), map(5, 106, 5)]), [map(0, 100, 10)]);
        assert_eq!(parse("         0     100000      65536"), Some(map(0, 100_000, 65_536)));
        assert_eq!(parse("0 1"), None);
    }

    #[test]
    fn only_a_map_of_the_own_id_needs_no_program() {
        let map = |host_id, size| IdMapping { container_id: 0, host_id, size };
        assert!(is_own(&[map(1000, 1)], 1000));
        assert!(!is_own(&[map(1000, 2)], 1000));
        assert!(!is_own(&[map(1000, 1), map(5, 1)], 1000));
    }
}
