//! Intel Resource Director Technology: the container's place in the resctrl file system (config-linux.md
//! "IntelRdt"; kernel: filesystems/resctrl.rst).
//!
//! A class of service is a directory with the shares of its processes; a monitoring group below it counts
//! what some of them use. What was made for a container goes with it. A class that the configuration names
//! may have become that of other processes meanwhile: it stays then, as without it they would get the shares
//! of the default class.

mod change;
mod schemata;
pub mod stats;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::spec::IntelRdt;
use crate::sys::file::read_text;
use crate::sys::mountinfo;

pub(crate) use change::Before;

/// How long other programs may hold the lock of the file system.
const BOUND: Duration = Duration::from_secs(10);

/// The files of a directory that the kernel makes, and that tests make in an imitation.
const FILES: [&str; 2] = ["tasks", "schemata"];

/// Where a container is, and what was made for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    root: PathBuf,
    class: PathBuf,
    /// The directory of the class was made for this container.
    made: bool,
    /// The configuration names the class, so that it can have other processes.
    shared: bool,
    /// The monitoring group.
    monitor: Option<PathBuf>,
    /// Ordinary directories imitate the file system, for tests: the kernel neither makes nor removes files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    imitation: bool,
}

impl Group {
    /// Makes what the configuration asks for. `announce` is called before something is made, with what will be;
    /// `imitation` is a directory to take for a resctrl file system, for tests.
    ///
    /// # Errors
    /// No resctrl file system, a class that is missing or has other shares, the failure of a system call; nothing
    /// is left then.
    pub(crate) fn create(
        settings: &IntelRdt,
        id: &ContainerId,
        imitation: Option<&Path>,
        announce: &mut dyn FnMut(&Self) -> Result<()>,
    ) -> Result<Self> {
        let root = match imitation {
            Some(root) => root.to_owned(),
            None => mounted()?,
        };
        let lock = lock(&root)?;
        let lines = schemata::writes(settings);
        let group = Self::place(settings, id, (root, imitation.is_some()), lines.is_empty())?;
        announce(&group)?;
        let made = group.make(&lines);
        if made.is_err() {
            // What could not be removed is in the journal.
            let _undone = group.remove_locked();
        }
        drop(lock);
        made.map(|()| group)
    }

    /// Looks where the container belongs and whether that is there.
    fn place(
        settings: &IntelRdt,
        id: &ContainerId,
        (root, imitation): (PathBuf, bool),
        must_exist: bool,
    ) -> Result<Self> {
        let class = match settings.clos_id.as_deref() {
            Some("/") => root.clone(),
            Some(name) => root.join(name),
            None => root.join(id.as_str()),
        };
        let shared = settings.clos_id.is_some();
        let exists = class.symlink_metadata().is_ok();
        if !exists && shared && must_exist {
            return Err(Error::new(ErrorKind::InvalidSpec, "there is no class of service")
                .with_path(class)
                .with_field("linux.intelRdt.closID")
                .with_hint("make it beforehand, or say in schemata what it gets"));
        }
        if exists && !shared {
            let message = "there is something with the container's name already:";
            return Err(Error::new(ErrorKind::AlreadyExists, message)
                .with_path(class)
                .with_field("linux.intelRdt")
                .with_hint("closID joins a class of service that exists"));
        }
        let monitoring = settings.enable_monitoring || settings.enable_cmt || settings.enable_mbm;
        let monitor = monitoring.then(|| class.join("mon_groups").join(id.as_str()));
        if exists && let Some(monitor) = monitor.as_ref().filter(|path| path.exists()) {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is a monitoring group")
                .with_path(monitor)
                .with_field("linux.intelRdt.enableMonitoring"));
        }
        Ok(Self { root, class, made: !exists, shared, monitor, imitation })
    }

    fn make(&self, lines: &[String]) -> Result<()> {
        let file = self.class.join("schemata");
        if self.made {
            self.directory(&self.class, "linux.intelRdt")?;
            for text in lines {
                self.write(&file, text, "write")
                    .map_err(|error| error.with_field("linux.intelRdt"))?;
            }
        } else if !lines.is_empty() {
            let found = read_text(&file).attempt_on("read", &file)?;
            if let Some(difference) = schemata::difference(lines, &found) {
                let message = format!("the class of service has other shares: {difference}:");
                return Err(Error::new(ErrorKind::InvalidSpec, message)
                    .with_path(file)
                    .with_field("linux.intelRdt"));
            }
        }
        match &self.monitor {
            Some(path) => self.directory(path, "linux.intelRdt.enableMonitoring"),
            None => Ok(()),
        }
    }

    fn directory(&self, path: &Path, field: &str) -> Result<()> {
        // The kernel makes `mon_groups` with the class.
        let imitated = match path.parent() {
            Some(parent) if self.imitation => fs::create_dir_all(parent),
            _ => Ok(()),
        };
        let made = imitated.and_then(|()| fs::create_dir(path));
        let made = made.attempt_on("make the resctrl group", path);
        made.map_err(|error| self.explain(error).with_field(field))
    }

    fn write(&self, path: &Path, text: &str, what: &str) -> Result<()> {
        let opened =
            File::options().write(true).append(self.imitation).create(self.imitation).open(path);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.attempt_on(what, path).map_err(|error| self.explain(error))
    }

    /// Adds the kernel's own words, which it keeps for the last operation.
    fn explain(&self, error: Error) -> Error {
        let words = read_text(&self.root.join("info/last_cmd_status")).unwrap_or_default();
        match words.trim() {
            "" | "ok" => error,
            words => error.with_hint(words),
        }
    }

    /// Moves a process there. What it starts later is there too.
    ///
    /// # Errors
    /// A group that is gone, a process that has ended.
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        // The class first: a process is in a monitoring group of its class only.
        for directory in std::iter::once(&self.class).chain(&self.monitor) {
            // The imitation keeps a list, as the kernel shows one.
            let line = format!("{pid}\n");
            self.write(&directory.join("tasks"), &line, "move the process to")
                .map_err(|error| error.with_field("linux.intelRdt"))?;
        }
        Ok(())
    }

    /// Removes what was made, once the container's processes have ended.
    ///
    /// # Errors
    /// The failure of a system call. That something is gone already is none.
    pub(crate) fn remove(&self) -> Result<()> {
        match lock(&self.root) {
            // Not mounted any more: with the file system its groups have gone.
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            lock => {
                let _held = lock?;
                self.remove_locked()
            }
        }
    }

    fn remove_locked(&self) -> Result<()> {
        if let Some(monitor) = &self.monitor {
            self.remove_directory(monitor)?;
        }
        if !self.made || self.shared && has_tasks(&self.class.join("tasks")) {
            return Ok(());
        }
        if self.imitation {
            let _none = fs::remove_dir(self.class.join("mon_groups"));
        }
        self.remove_directory(&self.class)
    }

    fn remove_directory(&self, path: &Path) -> Result<()> {
        if self.imitation {
            for name in FILES {
                let _none = fs::remove_file(path.join(name));
            }
        }
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.attempt_on("remove the resctrl group", path),
        }
    }
}

/// Where the file system is mounted.
fn mounted() -> Result<PathBuf> {
    let mounts = mountinfo::read().attempt("read /proc/self/mountinfo")?;
    let found = mounts.into_iter().find(|mount| mount.kind == "resctrl" && mount.root == "/");
    found.map(|mount| PathBuf::from(mount.point)).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "no resctrl file system is mounted")
            .with_field("linux.intelRdt")
            .with_hint("mount -t resctrl resctrl /sys/fs/resctrl, where the processor has it")
    })
}

/// Takes the lock by which programs that change the file system take turns (resctrl.rst "Locking between
/// applications").
fn lock(root: &Path) -> Result<File> {
    let directory = File::open(root).attempt_on("open the resctrl file system", root)?;
    let end = Instant::now() + BOUND;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                let message = "another program holds the lock of the resctrl file system";
                return Err(Error::new(ErrorKind::TimedOut, message).with_path(root));
            }
            Err(TryLockError::Error(error)) => return Err(error).attempt_on("lock", root),
        }
    }
}

/// Whether living processes are listed. The ended ones that nobody has reaped are listed as well.
fn has_tasks(path: &Path) -> bool {
    let list = read_text(path).unwrap_or_default();
    list.lines().any(|pid| {
        let stat = read_text(Path::new(&format!("/proc/{}/stat", pid.trim()))).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.bytes().next());
        state.is_some_and(|state| !matches!(state, b'Z' | b'X'))
    })
}
