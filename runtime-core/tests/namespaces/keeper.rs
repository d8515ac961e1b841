//! Namespaces that containers join.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kinds: the name in a configuration, the file below /proc/PID/ns.
pub(crate) const KINDS: [(&str, &str); 8] = [
    ("user", "user"),
    ("mount", "mnt"),
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// What a namespace is, as the links below /proc say it.
pub(crate) fn link(pid: u32, file: &str) -> Option<String> {
    let path = format!("/proc/{pid}/ns/{file}");
    Some(fs::read_link(path).ok()?.to_string_lossy().into_owned())
}

/// A sleeping process in namespaces of its own, of all kinds; they end with this value.
pub(crate) struct Keeper {
    parent: Child,
    pid: u32,
}

impl Keeper {
    /// `user`: in a user namespace too, which owns the others; without, the host's owns them.
    pub(crate) fn new(user: bool) -> Self {
        let mut command = Command::new("unshare");
        let kinds = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--time"];
        command.args(["--fork", "--kill-child"]).args(kinds);
        if user {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["/bin/busybox", "sleep", "3600"]).stdin(Stdio::null());
        let parent = command.spawn().expect("unshare of util-linux");
        let pid = sleeper(parent.id());
        Self { parent, pid }
    }

    /// The file of a namespace.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        format!("/proc/{}/ns/{file}", self.pid).into()
    }

    /// What it is.
    pub(crate) fn link(&self, file: &str) -> String {
        link(self.pid, file).expect("the keeper lives")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _killed = self.parent.kill();
        let _reaped = self.parent.wait();
    }
}

/// The child of `unshare`, once it sleeps.
fn sleeper(parent: u32) -> u32 {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let child = children.ok().and_then(|list| list.trim().parse().ok());
        let sleeps = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"/bin/busybox"))
        };
        if let Some(pid) = child.filter(sleeps) {
            return pid;
        }
        assert!(Instant::now() < end, "unshare does not come up");
        std::thread::sleep(Duration::from_millis(1));
    }
}
