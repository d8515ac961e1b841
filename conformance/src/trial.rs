//! One run of a case: its directory, its calls and its containers.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::args::{Job, ShimTest};
use crate::bundle::Bundle;
use crate::call::{Call, Output};
use crate::failure::{Check, broken};
use crate::host::Host;
use crate::leftovers;

/// What a case works with.
#[derive(Debug)]
pub(crate) struct Trial {
    /// Facts of the machine.
    pub(crate) host: Host,
    dir: PathBuf,
    runtime: PathBuf,
    probe: PathBuf,
    shim: Option<ShimTest>,
    counter: AtomicU32,
    calls: Mutex<HashSet<u32>>,
    live: Mutex<Vec<String>>,
    story: Mutex<Vec<String>>,
}

impl Trial {
    /// A trial in the directory of the job.
    ///
    /// # Errors
    /// The directory cannot be prepared.
    pub(crate) fn new(job: &Job, host: Host) -> std::io::Result<Self> {
        fs::create_dir(job.dir.join("state"))?;
        Ok(Self {
            host,
            dir: job.dir.clone(),
            runtime: job.runtime.clone(),
            probe: job.probe.clone(),
            shim: job.shim.clone(),
            counter: AtomicU32::new(0),
            calls: Mutex::default(),
            live: Mutex::default(),
            story: Mutex::default(),
        })
    }

    /// The private directory of the case.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the private directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A path in the private directory that was never used before.
    pub(crate) fn new_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.{}", self.counter.fetch_add(1, Ordering::Relaxed)))
    }

    /// What the runtime gets as `--root`.
    pub(crate) fn state_root(&self) -> PathBuf {
        match self.shim {
            Some(_) => self.roots().join(crate::shim::NAMESPACE),
            None => self.dir.join("state"),
        }
    }

    /// Where the bundle of a container goes. Shims find it beside other bundles by its id.
    pub(crate) fn bundle_directory(&self, id: &str) -> PathBuf {
        match self.shim {
            Some(_) => self.dir.join("tasks").join(id),
            None => self.new_path("b"),
        }
    }

    /// What a shim gets as its root; it adds the namespace.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The runtime that a shim is told to use.
    pub(crate) fn shim_runtime(&self) -> Option<String> {
        self.shim.as_ref().and_then(|shim| shim.runtime.clone())
    }

    /// Whether the loads on a shim are wanted in full.
    pub(crate) fn is_full(&self) -> bool {
        self.shim.as_ref().is_some_and(|shim| shim.full)
    }

    /// The runtime binary.
    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The probe on the host.
    pub(crate) fn probe(&self) -> &Path {
        &self.probe
    }

    /// The id of the first container; other ids start with it.
    pub(crate) fn id(&self) -> String {
        format!("conf-{}", std::process::id())
    }

    /// Another id.
    pub(crate) fn new_id(&self) -> String {
        format!("{}-{}", self.id(), self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// A bundle whose container reports about itself.
    pub(crate) fn bundle(&self) -> Bundle<'_> {
        Bundle::new(self)
    }

    /// A call of the runtime.
    pub(crate) fn call(&self, args: &[&str]) -> Call<'_> {
        Call::new(self, args)
    }

    /// A call of the runtime, made at once.
    ///
    /// # Errors
    /// It cannot be started, or it hangs.
    pub(crate) fn run(&self, args: &[&str]) -> Check<Output> {
        self.call(args).run()
    }

    /// Remembers a container that must be deleted at the end.
    pub(crate) fn live(&self, id: &str) {
        if let Ok(mut list) = self.live.lock() {
            list.push(id.to_owned());
        }
    }

    /// Forgets a container that is deleted.
    pub(crate) fn gone(&self, id: &str) {
        if let Ok(mut list) = self.live.lock() {
            list.retain(|live| live != id);
        }
    }

    /// Adds a line to what is shown when the case fails.
    pub(crate) fn tell(&self, line: String) {
        if let Ok(mut story) = self.story.lock() {
            story.push(line);
        }
    }

    /// The calls so far.
    pub(crate) fn story(&self) -> String {
        let lines = self.story.lock().map(|story| story.join("\n  ")).unwrap_or_default();
        format!("calls:\n  {lines}")
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// It does not within ten seconds.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Check {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition() {
            if Instant::now() > end {
                return broken(format!("waited in vain: {what}"));
            }
            self.reap();
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    }

    /// Starts a program that the caller waits for; `disown` must follow the wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        // The lock is held so that another thread cannot take the child for an orphan.
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        calls.insert(child.id());
        Ok(child)
    }

    /// A child process that was waited for.
    pub(crate) fn disown(&self, pid: u32) {
        if let Ok(mut calls) = self.calls.lock() {
            calls.remove(&pid);
        }
    }

    /// Reaps the orphans that came to this subreaper, as an engine would.
    pub(crate) fn reap(&self) {
        // The lock is held so that no call is started between the look and the wait.
        let Ok(calls) = self.calls.lock() else { return };
        for pid in leftovers::children(std::process::id()) {
            if calls.contains(&pid) {
                continue;
            }
            if let Ok(raw) = i32::try_from(pid) {
                let _ = waitpid(Pid::from_raw(raw), Some(WaitPidFlag::WNOHANG));
            }
        }
    }

    /// Deletes the containers that still live.
    ///
    /// # Errors
    /// `delete --force` fails.
    pub(crate) fn tear_down(&self) -> Check {
        let list = self.live.lock().map(|list| list.clone()).unwrap_or_default();
        for id in list {
            self.run(&["delete", "--force", &id])?.ok()?;
        }
        Ok(())
    }
}
