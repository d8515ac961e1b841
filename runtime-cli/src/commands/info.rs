//! `info`: what containers find on this host, for reports of problems.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::sys::utsname::uname;
use nix::unistd::{geteuid, getuid};

use crate::args::Globals;
use crate::failure::Failure;
use crate::{output, root, version};

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

pub(super) fn run(globals: &Globals) -> Result<(), Failure> {
    let root = root::runtime(globals)?.root().display().to_string();
    let mut rows = vec![("version", version::line()), ("state root", root)];
    rows.extend([
        ("system", system()),
        ("kernel", kernel()),
        ("processors", fields("/proc/cpuinfo", "processor").count().to_string()),
        ("memory", fields("/proc/meminfo", "MemTotal").next().unwrap_or_default()),
        ("swap", fields("/proc/meminfo", "SwapTotal").next().unwrap_or_default()),
        ("user", user()),
        ("capabilities", fields("/proc/self/status", "CapEff").next().unwrap_or_default()),
        ("namespaces", namespaces()),
        ("user namespaces", word("/proc/sys/user/max_user_namespaces")),
        ("cgroups", cgroups()),
        ("controllers", controllers()),
        ("own cgroup", own_cgroup()),
        ("systemd", Path::new("/run/systemd/system").is_dir().to_string()),
        ("security modules", word("/sys/kernel/security/lsm")),
        ("seccomp", word("/proc/sys/kernel/seccomp/actions_avail")),
        ("memfd_noexec", word("/proc/sys/vm/memfd_noexec")),
    ]);
    let mut text = String::new();
    for (name, value) in rows {
        let value = if value.is_empty() { "not known" } else { &value };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:17} {value}", format!("{name}:"));
    }
    output::text(&text)?;
    Ok(())
}

/// The content of a small file, in one line; empty where there is none.
fn word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The values of the lines `NAME: VALUE` or `NAME=VALUE` of a file.
fn fields(path: &str, name: &str) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let values = text.lines().filter_map(|line| {
        let value = line.strip_prefix(name)?.trim_start().strip_prefix([':', '='])?;
        Some(value.trim().trim_matches('"').to_owned())
    });
    values.collect::<Vec<_>>().into_iter()
}

fn system() -> String {
    fields("/etc/os-release", "PRETTY_NAME").next().unwrap_or_default()
}

fn kernel() -> String {
    let names = uname().map(|name| {
        [name.release(), name.machine()].map(|part| part.to_string_lossy().into_owned())
    });
    names.map(|names| names.join(" ")).unwrap_or_default()
}

fn user() -> String {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    let first = fs::read_to_string("/proc/self/uid_map").is_ok_and(whole);
    let place = if first { "the first user namespace" } else { "a user namespace" };
    format!("{} (effective {}) in {place}", getuid(), geteuid())
}

fn namespaces() -> String {
    let entries = fs::read_dir("/proc/self/ns").into_iter().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| !name.ends_with("_for_children"));
    names.sort();
    names.join(" ")
}

fn cgroups() -> String {
    let unified =
        |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let base = Path::new(CGROUPS);
    if unified(base) {
        "v2".to_owned()
    } else if unified(&base.join("unified")) {
        "v1, with v2 in /sys/fs/cgroup/unified".to_owned()
    } else if base.is_dir() {
        "v1".to_owned()
    } else {
        String::new()
    }
}

/// The controllers of v2, or else the hierarchies of v1.
fn controllers() -> String {
    let unified = word("/sys/fs/cgroup/cgroup.controllers");
    if !unified.is_empty() {
        return unified;
    }
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split(':').nth(1));
    names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The place of this process in the v2 hierarchy, or in the first of v1.
fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let first = text.lines().next().and_then(|line| line.splitn(3, ':').nth(2));
    unified.or(first).unwrap_or_default().to_owned()
}
