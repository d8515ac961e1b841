//! A bundle of busybox, a state root of its own, and the built command.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const BUSYBOX: &str = "/bin/busybox";

/// A bundle and a state root, removed at the end together with the containers below it.
pub(crate) struct Bundle {
    directory: PathBuf,
    /// The name for a container of this test.
    pub(crate) id: String,
}

impl Bundle {
    /// A bundle whose program is this script; `None` says on standard output why there is none.
    pub(crate) fn new(script: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            println!("skipped: needs a static {BUSYBOX}");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("coracle-cli-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&id);
        let bin = directory.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("a root file system");
        for name in ["etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir(directory.join("rootfs").join(name)).expect("a directory");
        }
        fs::copy(BUSYBOX, bin.join("busybox")).expect("busybox");
        for name in ["sh", "sleep", "true", "cat", "id", "tty", "stty", "kill", "ls"] {
            symlink("busybox", bin.join(name)).expect("a link");
        }
        let bundle = Self { directory, id };
        assert!(bundle.coracle(&["spec", "-b", &bundle.path("")]).status.success());
        bundle.edit(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        });
        Some(bundle)
    }

    /// Changes config.json.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path("config.json");
        let text = fs::read(&path).expect("config.json");
        let mut config = serde_json::from_slice(&text).expect("JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("config.json");
    }

    /// A path in the bundle.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// The command with the options that say where this bundle and its state are.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command
            .arg("--root")
            .arg(self.path("state"))
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn coracle(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("coracle runs")
    }

    /// Runs the command, which must succeed; its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.coracle(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the command, which must end with this status; its standard error.
    pub(crate) fn fail(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.coracle(arguments);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        stderr
    }

    /// The state of this test's container.
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.succeed(&["state", &self.id])).expect("JSON")
    }

    /// Waits until the container has this status.
    pub(crate) fn await_status(&self, status: &str) {
        await_true(status, || {
            let output = self.coracle(&["state", &self.id]);
            serde_json::from_slice::<Value>(&output.stdout)
                .is_ok_and(|state| state["status"] == status)
        });
    }

    /// Creates the container; its output does not go to a pipe of the test.
    pub(crate) fn create(&self, more: &[&str]) {
        let arguments = [&["create"], more, &[&self.id]].concat();
        let status = self.command(&arguments).stdout(Stdio::null()).status();
        assert!(status.expect("coracle runs").success());
    }

    /// Creates and starts a container that waits for its end.
    pub(crate) fn start_waiting(&self) {
        // In its own session nothing holds the pipes of the test open.
        let null = || Stdio::null();
        let mut run = self.command(&["run", "-d", &self.id]);
        let status = run.stdout(null()).stderr(null()).status().expect("coracle runs");
        assert!(status.success());
        self.await_status("running");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let output = self.coracle(&["list", "-q"]);
        for id in String::from_utf8_lossy(&output.stdout).lines() {
            self.coracle(&["delete", "--force", id]);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until this holds, at most ten seconds.
pub(crate) fn await_true(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
