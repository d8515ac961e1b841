//! What the measurement changes on this machine, and undoes: a private mount namespace, a work
//! directory on tmpfs, one parent cgroup in each hierarchy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::measure;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Fails once SIGINT, SIGTERM or SIGHUP came, so that everything unwinds and is cleaned up.
pub(crate) fn check_interrupt() -> Outcome<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(()) }
}

/// Waits for the signals in a thread instead of dying from them. Children do not inherit the mask:
/// the standard library clears it.
fn watch_signals() -> Outcome<()> {
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    thread::spawn(move || {
        while signals.wait().is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// The work directory and the cgroups; dropping it kills and removes all that is left.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) directory: PathBuf,
    /// The parent of all containers' cgroups, absolute below each hierarchy.
    pub(crate) cgroup_parent: String,
    hierarchies: Vec<PathBuf>,
}

impl Workspace {
    /// Prepares the machine; `hide_unified` unmounts the cgroup2 half of a hybrid host.
    pub(crate) fn new(hide_unified: bool) -> Outcome<Self> {
        watch_signals()?;
        set_child_subreaper(true)?;
        let directory = PathBuf::from(format!("/run/coracle-bench-{}", process::id()));
        fs::create_dir_all(&directory)?;
        let workspace = Self {
            hierarchies: Vec::new(),
            cgroup_parent: format!("/coracle-bench-{}", process::id()),
            directory,
        };
        workspace.with_mounts(hide_unified)
    }

    fn with_mounts(mut self, hide_unified: bool) -> Outcome<Self> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), &self.directory, Some("tmpfs"), MsFlags::empty(), none)?;
        if hide_unified {
            umount2(&unified(), MntFlags::MNT_DETACH)?;
        }
        let mut hierarchies = Vec::new();
        for root in hierarchy_roots()? {
            let path = root.join(self.cgroup_parent.trim_start_matches('/'));
            hierarchies.push(path);
        }
        self.hierarchies = hierarchies;
        self.hierarchies.iter().try_for_each(|path| make_cgroup(path))?;
        Ok(self)
    }

    /// Kills what is left of these containers and removes their cgroups and state, without asking
    /// their runtime.
    pub(crate) fn clear(&self, ids: &[&str]) {
        let below = |path: &PathBuf| ids.iter().map(|id| path.join(id)).collect::<Vec<_>>();
        let paths: Vec<PathBuf> = self.hierarchies.iter().flat_map(below).collect();
        paths.iter().for_each(|path| kill_all(path));
        remove_all(&paths);
        for runtime in fs::read_dir(self.directory.join("state")).into_iter().flatten().flatten() {
            for id in ids {
                let _ = fs::remove_dir_all(runtime.path().join(id));
            }
        }
    }
}

/// Kills what runs in the cgroups and removes them, waiting at most ten seconds.
fn remove_all(paths: &[PathBuf]) {
    let limit = Instant::now() + Duration::from_secs(10);
    for path in paths {
        while path.exists() && !remove_tree(path) && Instant::now() < limit {
            thread::sleep(Duration::from_millis(1));
            measure::reap();
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove_all(&self.hierarchies);
        // The tmpfs is visible only here and dies with the namespace; what stays is its mount point.
        let _ = umount2(&self.directory, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.directory);
    }
}

fn unified() -> PathBuf {
    Path::new(CGROUP_ROOT).join("unified")
}

/// True on a host with cgroup v1 controllers and a cgroup2 mount that holds controllers too.
pub(crate) fn is_hybrid_with_controllers() -> bool {
    fs::read_to_string(unified().join("cgroup.controllers"))
        .is_ok_and(|text| !text.trim().is_empty())
}

fn hierarchy_roots() -> Outcome<Vec<PathBuf>> {
    let root = Path::new(CGROUP_ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let is_link = path.symlink_metadata()?.file_type().is_symlink();
        if !is_link && path.join("cgroup.procs").exists() {
            roots.push(path);
        }
    }
    Ok(roots)
}

/// A v1 cpuset takes no process until it has CPUs and memory nodes; cgroup v2 passes on only the
/// controllers that the parent enables.
fn make_cgroup(path: &Path) -> Outcome<()> {
    fs::create_dir(path)?;
    let parent = path.parent().unwrap_or(path);
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if path.join(name).exists() && path.starts_with("/sys/fs/cgroup/cpuset") {
            fs::write(path.join(name), fs::read(parent.join(name))?)?;
        }
    }
    if parent == Path::new(CGROUP_ROOT) {
        for directory in [parent, path] {
            let controllers = fs::read_to_string(directory.join("cgroup.controllers"))?;
            for controller in controllers.split_whitespace() {
                fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
        }
    }
    Ok(())
}

/// True when the cgroup and all below it are gone.
fn remove_tree(path: &Path) -> bool {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    kill_all(path);
    fs::remove_dir(path).is_ok()
}

fn kill_all(path: &Path) {
    let processes = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()) {
        if pid > 1 {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
