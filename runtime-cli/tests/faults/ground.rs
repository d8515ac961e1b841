//! The place where the faults happen, and the search for what they leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tempfile::TempDir;

/// A bundle, a state root and the name of the container.
pub(crate) struct Ground {
    directory: TempDir,
    pub(crate) id: String,
    mounts: usize,
}

impl Ground {
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let bundle = directory.path().join("bundle");
        let bin = bundle.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("rootfs");
        for part in ["proc", "dev", "sys"] {
            fs::create_dir_all(bundle.join("rootfs").join(part)).expect("rootfs");
        }
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox");
        fs::write(bundle.join("config.json"), include_str!("config.json")).expect("config");
        nix::sys::prctl::set_child_subreaper(true).expect("adopt orphans");
        let id = format!("faults-{name}-{}", std::process::id());
        Self { directory, id, mounts: host_mounts() }
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// A command line of the runtime; its output is of no interest.
    pub(crate) fn coracle(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command.arg("--root").arg(self.root()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn delete_by_force(&self) {
        let output = self.coracle(&["delete", "--force", &self.id]).stderr(Stdio::piped()).output();
        let output = output.expect("delete");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "delete --force failed: {said}");
    }

    /// Everything of the container that is still there; processes get two seconds to end.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            let found = self.look();
            if found.is_empty() || Instant::now() > end {
                return found;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn look(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.root().join(&self.id).exists() {
            found.push("the state directory".to_owned());
        }
        for cgroup in cgroups(Path::new("/sys/fs/cgroup"), &self.id) {
            found.push(format!("the cgroup {}", cgroup.display()));
        }
        for pid in children() {
            found.push(format!("the process {pid}"));
        }
        let mounts = host_mounts();
        if mounts != self.mounts {
            found.push(format!("{} mounts instead of {}", mounts, self.mounts));
        }
        found
    }

    /// Removes what was found, so that the next fault starts from nothing.
    pub(crate) fn sweep(&self) {
        for pid in children() {
            let _gone = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        std::thread::sleep(Duration::from_millis(20));
        for cgroup in cgroups(Path::new("/sys/fs/cgroup"), &self.id) {
            let _gone = fs::remove_dir(cgroup);
        }
        let _gone = fs::remove_dir_all(self.root().join(&self.id));
    }
}

/// The mounts of this mount namespace.
fn host_mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines().count()
}

/// Cgroups named after the container, two levels below each hierarchy at most.
fn cgroups(directory: &Path, id: &str) -> Vec<PathBuf> {
    let Ok(hierarchies) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let tops = hierarchies.flatten().map(|entry| entry.path()).chain([directory.to_owned()]);
    tops.map(|top| top.join(id)).filter(|path| path.is_dir()).collect()
}

/// The living children of this process, which adopts what a killed command leaves behind; dead ones
/// are reaped.
fn children() -> Vec<i32> {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            rest.split_ascii_whitespace().nth(1) == Some(own.as_str())
        })
        .collect()
}
