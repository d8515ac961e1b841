//! What a case may not leave behind: processes, mounts, cgroups, state.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::CGROUP_ROOT;
use crate::trial::Trial;

/// How long the end of killed processes may take to be complete.
const PATIENCE: Duration = Duration::from_secs(3);

/// The machine before the case.
#[derive(Debug)]
pub(crate) struct Before {
    mounts: Vec<String>,
}

impl Before {
    /// Looks at the mounts.
    pub(crate) fn look() -> Self {
        Self { mounts: mounts() }
    }
}

/// Everything that is left, in words.
pub(crate) fn check(trial: &Trial, before: &Before) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        trial.reap();
        let mut found = Vec::new();
        found.extend(
            descendants(std::process::id())
                .into_iter()
                .map(|pid| format!("process {pid} {}", describe(pid))),
        );
        found.extend(new_mounts(trial, before).map(|line| format!("mount {line}")));
        found.extend(cgroups(&trial.id()).iter().map(|dir| format!("cgroup {}", dir.display())));
        found.extend(
            entries(&trial.state_root()).iter().map(|path| format!("state {}", path.display())),
        );
        if found.is_empty() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes what is left, so that later cases do not suffer.
pub(crate) fn clean(trial: &Trial) {
    for dir in cgroups(&trial.id()).iter().rev() {
        let _ = fs::write(dir.join("freezer.state"), "THAWED");
        let _ = fs::write(dir.join("cgroup.freeze"), "0");
    }
    let end = Instant::now() + PATIENCE;
    while !descendants(std::process::id()).is_empty() && Instant::now() < end {
        kill_tree(std::process::id());
        trial.reap();
        std::thread::sleep(Duration::from_millis(10));
    }
    for dir in cgroups(&trial.id()).iter().rev() {
        let _ = fs::remove_dir(dir);
    }
    for line in mounts().iter().rev().filter(|line| in_case(line, trial)) {
        if let Some(point) = line.split(' ').nth(4) {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
}

/// The direct children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// Kills every descendant of a process, but not the process.
pub(crate) fn kill_tree(pid: u32) {
    for child in descendants(pid) {
        if let Ok(raw) = i32::try_from(child) {
            let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
        }
    }
}

/// The cgroup directories whose name holds the id, parents first.
pub(crate) fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new(CGROUP_ROOT), id, false, 0, &mut found);
    found
}

fn walk(dir: &Path, id: &str, inside: bool, depth: u32, found: &mut Vec<PathBuf>) {
    let Ok(list) = fs::read_dir(dir) else { return };
    for entry in list.flatten() {
        if depth > 12 || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let name = entry.file_name();
        let inside = inside || names_case(&name.to_string_lossy(), id);
        if inside {
            found.push(path.clone());
        }
        walk(&path, id, inside, depth + 1, found);
    }
}

/// The id is in the name and not only the start of a longer number.
fn names_case(name: &str, id: &str) -> bool {
    name.find(id)
        .and_then(|at| name.get(at + id.len()..))
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = children(pid);
    while let Some(child) = waiting.pop() {
        if !found.contains(&child) {
            found.push(child);
            waiting.extend(children(child));
        }
    }
    found
}

fn describe(pid: u32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).replace('\0', " ")
}

fn mounts() -> Vec<String> {
    let content = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    content.lines().map(|line| without_shared_options(line).to_owned()).collect()
}

/// The hierarchy of cgroup v2 has one set of options for all mounts, and criu's mount of it changes them
/// for a moment, in whichever case it is.
fn without_shared_options(line: &str) -> &str {
    line.split_once(" - cgroup2 ").map_or(line, |(place, _)| place)
}

fn in_case(line: &str, trial: &Trial) -> bool {
    line.contains(&format!("{}/", trial.dir().display()))
}

/// New mounts, without those of other cases that run at the same time.
fn new_mounts<'b>(trial: &Trial, before: &'b Before) -> impl Iterator<Item = String> + 'b {
    let suite = trial.dir().parent().map(|dir| format!("{}/", dir.display())).unwrap_or_default();
    let own = format!("{}/", trial.dir().display());
    mounts().into_iter().filter(move |line| {
        !before.mounts.contains(line) && (!line.contains(&suite) || line.contains(&own))
    })
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(list) = fs::read_dir(dir) else {
        return Vec::new();
    };
    list.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::{children, descendants, names_case};

    #[test]
    fn a_name_belongs_to_a_case_by_its_whole_number() {
        for name in ["conf-12", "conf-12-3", "crun-conf-12-3.scope", "conf-12.x"] {
            assert!(names_case(name, "conf-12"), "{name}");
        }
        for name in ["conf-123", "conf-1", "other"] {
            assert!(!names_case(name, "conf-12"), "{name}");
        }
    }

    #[test]
    fn children_and_their_children_are_found() {
        let mut shell =
            std::process::Command::new("/bin/sh").args(["-c", "sleep 5 & wait"]).spawn().unwrap();
        let own = std::process::id();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while children(shell.id()).is_empty() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(children(own).contains(&shell.id()));
        let below = children(shell.id());
        assert_eq!(below.len(), 1);
        assert!(descendants(own).contains(&below[0]));
        super::kill_tree(shell.id());
        shell.wait().unwrap();
    }
}
