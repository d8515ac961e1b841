//! The place where the faults happen, and the search for what they leave.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::directories::named;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How deep cgroups are searched.
const DEPTH: u32 = 6;

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

    /// Where the command writes its errors.
    fn log(&self) -> PathBuf {
        self.directory.path().join("said")
    }

    /// A fresh file for the errors of a command; its reader must not keep a traced process waiting.
    pub(crate) fn said(&self) -> File {
        File::create(self.log()).expect("a file for errors")
    }

    /// What the last command wrote as its error.
    pub(crate) fn last_said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default().trim().to_owned()
    }

    /// What the command prints on standard output, if it succeeds.
    pub(crate) fn printed(&self, args: &[&str]) -> Option<Vec<u8>> {
        let path = self.directory.path().join("printed");
        let file = File::create(&path).expect("a file for output");
        let status = self.coracle(args, Stdio::from(file));
        matches!(status, WaitStatus::Exited(_, 0)).then(|| fs::read(path).expect("output"))
    }

    /// Runs the command to its end.
    ///
    /// Meanwhile this process reaps what it has adopted, as an init process does: the first process of
    /// a pid namespace cannot end before those in it that have a parent outside are reaped.
    fn coracle(&self, args: &[&str], stdout: Stdio) -> WaitStatus {
        #[allow(clippy::zombie_processes, reason = "the loop waits for it")]
        let child = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .arg("--root")
            .arg(self.root())
            .args(args)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(self.said())
            .spawn()
            .expect("coracle runs");
        let pid = Some(Pid::from_raw(i32::try_from(child.id()).expect("pid")));
        loop {
            let status = waitpid(None, Some(WaitPidFlag::__WALL)).expect("a child");
            if status.pid() == pid {
                return status;
            }
        }
    }

    /// Runs the command, which must succeed.
    pub(crate) fn succeed(&self, args: &[&str]) {
        if let Some(failure) = self.failure(args) {
            panic!("{failure}");
        }
    }

    /// Runs the command; what it says if it fails.
    pub(crate) fn failure(&self, args: &[&str]) -> Option<String> {
        match self.coracle(args, Stdio::null()) {
            WaitStatus::Exited(_, 0) => None,
            status => Some(format!("{args:?}: {status:?}: {}", self.last_said())),
        }
    }

    /// The arguments of `create`.
    pub(crate) fn creation(&self) -> Vec<String> {
        let bundle = self.bundle().display().to_string();
        ["create", "--bundle", &bundle, &self.id].map(str::to_owned).to_vec()
    }

    /// `delete --force`; its complaint if it fails.
    pub(crate) fn delete_by_force(&self) -> Option<String> {
        self.failure(&["delete", "--force", &self.id])
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

    /// The cgroups that are named after the container, deepest first.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        named(Path::new("/sys/fs/cgroup"), &self.id, DEPTH, &mut found);
        found
    }

    pub(crate) fn look(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.root().join(&self.id).exists() {
            found.push("the state directory".to_owned());
        }
        for cgroup in self.cgroups() {
            found.push(format!("the cgroup {}", cgroup.display()));
        }
        for pid in children() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("the process {pid} {}", name.trim()));
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
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
        for cgroup in self.cgroups() {
            let _gone = fs::remove_dir(cgroup);
        }
        let _gone = fs::remove_dir_all(self.root().join(&self.id));
    }
}

/// The mounts of this mount namespace.
fn host_mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines().count()
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
