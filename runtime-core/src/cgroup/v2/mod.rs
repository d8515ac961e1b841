//! Control groups v2: one directory in one hierarchy.

mod delegation;
mod limits;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::conditions::{self, is_rootless};
use super::limits::allows_no_task;
use super::manager::{Entrances, Entry, Leftover, Manager};
use super::oom::OomWatch;
use super::pressure::{PressureTrigger, PressureWatch};
use super::record::{Place, Record, Version};
use super::setting::{Previous, Setting, exchange_all, restore, write_all};
use super::signal::{Killable, kill_all};
use super::stats::Stats;
use super::systemd::{Adopt, Before};
use super::tree::Tree;
use super::unified::Unified;
use super::{device_program, removal, weight};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::Resources;

/// Shared out even when no limit needs them: engines read the statistics of these.
const WANTED: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// The container's directory.
#[derive(Debug)]
pub(super) struct Single {
    tree: Tree,
    record: Record,
    /// `None`: the container has no cgroup of its own.
    unified: Option<Unified>,
    /// Whether the directory was there before.
    used: bool,
}

impl Single {
    pub(super) fn open(record: Record) -> Result<Self> {
        let tree = Tree::open(&record.base)?;
        let unified = record.unified.as_ref().map(Unified::new);
        Ok(Self { tree, record, unified, used: false })
    }

    /// Makes the directory with those above it; `false`: it was there.
    fn make(&self, place: &Place) -> nix::Result<bool> {
        let directory = &*place.directory();
        match self.tree.make(directory) {
            Ok(()) => return Ok(true),
            Err(Errno::EEXIST) => return Ok(false),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        for above in place.ancestors().into_iter().skip(1) {
            match self.tree.make(&above) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        match self.tree.make(directory) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn refused(&self, directory: &str, errno: Errno) -> Error {
        let error = self.failure("make the cgroup", directory, errno);
        match errno {
            Errno::EROFS => error.with_hint("the cgroup file system is mounted read-only here"),
            Errno::EACCES | Errno::EPERM => error.with_hint(
                "this user may not make cgroups there; have one delegated (systemd: Delegate=yes)",
            ),
            Errno::EAGAIN => {
                error.with_hint("cgroup.max.descendants or cgroup.max.depth is reached")
            }
            _ => error,
        }
    }

    fn failure(&self, what: &str, path: &str, errno: Errno) -> Error {
        Error::system(what, errno as i32).with_path(self.tree.absolute(path))
    }

    fn check_unused(&self, directory: &str) -> Result<()> {
        let in_use = |how: &str| {
            Error::new(ErrorKind::System, format!("the container's cgroup exists and {how}:"))
                .with_path(self.tree.absolute(directory))
                .with_errno(libc::EBUSY)
                .with_hint("another container may be using it; choose another linux.cgroupsPath")
        };
        let pids = Manager::processes(self)?;
        if !pids.is_empty() {
            return Err(in_use(&format!("has {} processes", pids.len())));
        }
        if self.frozen()? {
            return Err(in_use("is frozen"));
        }
        Ok(())
    }

    /// The limits as values for files, once what this version cannot do is refused.
    fn checked(&self, resources: &Resources) -> Result<(Option<&Unified>, Vec<Setting>)> {
        let settings = limits::settings(resources)?;
        let Some(unified) = &self.unified else {
            return match settings.first() {
                None => Ok((None, settings)),
                Some(setting) => Err(Error::new(
                    ErrorKind::Unsupported,
                    "cannot be held: this user has no cgroup",
                )
                .with_field(setting.field.clone())
                .with_hint("have a cgroup delegated (systemd: Delegate=yes) and name it in linux.cgroupsPath")),
            };
        };
        conditions::refuse(resources, Version::V2)?;
        conditions::check_usage(resources, &|| {
            self.tree.read(&unified.directory, "memory.current").ok()
        })?;
        Ok((Some(unified), settings))
    }

    fn write_limits(&self, resources: &Resources) -> Result<()> {
        match self.checked(resources)? {
            (Some(unified), settings) => {
                write_all(&self.tree, &settings, &|_| Ok(unified.directory.clone()))
            }
            (None, _) => Ok(()),
        }
    }

    /// A flag of `cgroup.events`; `false` when the cgroup is gone.
    fn event(&self, name: &str) -> Result<bool> {
        let Some(unified) = &self.unified else {
            return Ok(false);
        };
        match self.tree.read(&unified.directory, "cgroup.events") {
            Ok(text) => Ok(text.lines().any(|line| line.split_once(' ') == Some((name, "1")))),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            Err(errno) => {
                let path = format!("{}/cgroup.events", unified.directory);
                Err(self.failure("read", &path, errno))
            }
        }
    }

    /// Adds what is in force to values that share a file or a sum with it: the quota to a period and the
    /// other way round, the memory limit to one on memory and swap together, and to the end of being
    /// idle the weight that comes with it.
    fn complete(&self, resources: &Resources, directory: &str) -> Resources {
        let mut resources = resources.clone();
        let word = |file, index| {
            let text = self.tree.read(directory, file).ok()?;
            text.split_ascii_whitespace().nth(index)?.parse::<i64>().ok()
        };
        let number = |file| word(file, 0);
        let unset = |value: Option<i64>| value.is_none_or(|value| value == 0);
        if let Some(cpu) = &mut resources.cpu {
            match (unset(cpu.quota), cpu.period.is_none_or(|period| period == 0)) {
                (true, false) => cpu.quota = number("cpu.max"),
                (false, true) => {
                    cpu.period = word("cpu.max", 1).and_then(|period| u64::try_from(period).ok());
                }
                _ => {}
            }
            let woken = cpu.idle == Some(0) && number("cpu.idle") == Some(1);
            if woken && cpu.shares.is_none_or(|shares| shares == 0) {
                cpu.shares = Some(weight::DEFAULT_SHARES);
            }
        }
        if let Some(memory) = &mut resources.memory
            && unset(memory.limit)
            && memory.swap.is_some_and(|swap| swap > 0)
        {
            memory.limit = number("memory.max");
        }
        resources
    }

    fn own(&self) -> Result<&Unified> {
        self.unified.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the container has no cgroup of its own")
        })
    }
}

impl Manager for Single {
    fn create(&mut self, resources: &Resources) -> Result<()> {
        self.record.created = false;
        let Some(unified) = &self.unified else {
            return Ok(());
        };
        let settings = limits::settings(resources)?;
        let directory = unified.directory.clone();
        let new = match self.make(&unified.place) {
            Ok(new) => new,
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS)
                if self.record.optional && settings.is_empty() && is_rootless() =>
            {
                self.unified = None;
                self.record.unified = None;
                return Ok(());
            }
            Err(errno) => {
                let error = self.refused(&directory, errno);
                return Err(match settings.first() {
                    Some(setting) => error.with_field(setting.field.clone()),
                    None => error,
                });
            }
        };
        let ready = if new { Ok(()) } else { self.check_unused(&directory) };
        let ready = ready.and_then(|()| unified.enable(&self.tree, &settings, &WANTED));
        if ready.is_err() && new {
            // The failure that led here is the one to report.
            let _ = self.tree.remove(&directory);
        }
        self.used = !new;
        self.record.created = ready.is_ok();
        ready
    }

    fn apply(&self, resources: &Resources) -> Result<()> {
        self.write_limits(resources)?;
        match &self.unified {
            Some(unified) => {
                device_program::attach(unified.fd(&self.tree)?, &resources.devices, self.used)
            }
            None => conditions::without_device_filter("the container has no cgroup of its own"),
        }
    }

    fn settle(&self, resources: &Resources) -> Result<()> {
        match &self.unified {
            Some(unified) if allows_no_task(resources) => {
                unified.write(&self.tree, "pids.max", "0")
            }
            _ => Ok(()),
        }
    }

    fn update(&self, resources: &Resources) -> Result<()> {
        self.exchange(resources).map(drop)
    }

    fn add(&self, pid: i32, entry: Entry) -> Result<()> {
        match (&self.unified, entry) {
            (Some(unified), Entry::Moved) => {
                unified.write(&self.tree, "cgroup.procs", &pid.to_string())
            }
            _ => Ok(()),
        }
    }

    fn clone_fd(&self) -> Result<Option<BorrowedFd<'_>>> {
        self.unified.as_ref().map(|unified| unified.fd(&self.tree)).transpose()
    }

    fn entrances(&self) -> Option<Entrances<'_>> {
        None
    }

    fn clone_fd_of(&self, pid: i32) -> Result<Option<OwnedFd>> {
        self.unified.as_ref().map(|unified| unified.fd_of(&self.tree, pid)).transpose()
    }

    fn delegate(&self, user: u32, group: u32) -> Result<()> {
        match &self.unified {
            Some(unified) => delegation::give(unified.fd(&self.tree)?, user, group)
                .map_err(|error| error.with_path(self.tree.absolute(&unified.directory))),
            None => Ok(()),
        }
    }

    fn processes(&self) -> Result<Vec<i32>> {
        let Some(unified) = &self.unified else {
            return Ok(Vec::new());
        };
        self.tree
            .processes(&unified.directory)
            .map_err(|errno| self.failure("list the processes of", &unified.directory, errno))
    }

    fn stats(&self) -> Result<Stats> {
        super::stats::v2::read(&self.tree, &self.own()?.directory)
    }

    fn oom_watch(&self) -> Result<OomWatch> {
        OomWatch::polled(&self.tree, &self.own()?.directory)
    }

    fn pressure_watch(&self, trigger: &PressureTrigger) -> Result<PressureWatch> {
        PressureWatch::new(&self.tree, &self.own()?.directory, trigger)
    }

    fn kill(&self) -> Result<()> {
        match &self.unified {
            Some(_) if !self.record.created => Ok(()),
            Some(unified) if !unified.kill(&self.tree)? => kill_all(self),
            _ => Ok(()),
        }
    }

    fn frozen(&self) -> Result<bool> {
        self.event("frozen")
    }

    fn frozen_at(&self) -> Result<Option<PathBuf>> {
        let Some(unified) = &self.unified else { return Ok(None) };
        let all = unified.place.ancestors().into_iter().chain([unified.directory.clone()]);
        // The root has no such file.
        let frozen = |one: &String| {
            self.tree.read(one, "cgroup.freeze").is_ok_and(|flag| flag.trim_end() == "1")
        };
        Ok(all.skip(1).find(frozen).map(|one| self.tree.absolute(&one)))
    }

    fn freeze(&self) -> Result<()> {
        let unified = self.own()?;
        unified.write(&self.tree, "cgroup.freeze", "1")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut pause = Duration::from_micros(20);
        while Instant::now() < deadline {
            if self.event("frozen")? {
                return Ok(());
            }
            // Most stand at once: a process that sleeps is only woken to be stopped.
            sleep(pause);
            pause = (pause * 2).min(Duration::from_micros(500));
        }
        unified.write(&self.tree, "cgroup.freeze", "0")?;
        Err(Error::new(ErrorKind::TimedOut, "the processes do not freeze")
            .with_path(self.tree.absolute(&unified.directory)))
    }

    fn thaw(&self) -> Result<()> {
        self.own()?.write(&self.tree, "cgroup.freeze", "0")
    }

    fn delete(&self, leftover: Leftover) -> Result<()> {
        let directories: Vec<String> =
            self.unified.iter().map(|unified| unified.directory.clone()).collect();
        removal::remove_all(self, &self.tree, &directories, leftover)
    }

    fn record(&self) -> &Record {
        &self.record
    }
}

impl Adopt for Single {
    fn adopt(&mut self, resources: &Resources) -> Result<()> {
        let Some(unified) = &self.unified else { return Ok(()) };
        self.record.created = true;
        unified.enable(&self.tree, &limits::settings(resources)?, &WANTED)
    }

    fn completed(&self, resources: &Resources) -> Resources {
        match &self.unified {
            Some(unified) => self.complete(resources, &unified.directory),
            None => resources.clone(),
        }
    }

    fn exists(&self) -> bool {
        let there = |unified: &Unified| self.tree.directory(&unified.directory).is_ok();
        self.unified.as_ref().is_some_and(there)
    }

    fn exchange(&self, resources: &Resources) -> Result<Vec<Previous>> {
        let Some(unified) = &self.unified else {
            return self.write_limits(resources).map(|()| Vec::new());
        };
        let completed = self.complete(resources, &unified.directory);
        unified.enable(&self.tree, &limits::settings(&completed)?, &[])?;
        let (_, settings) = self.checked(&completed)?;
        let before = exchange_all(&self.tree, &settings, &|_| Ok(unified.directory.clone()))?;
        // The devices come last: what is restored does not have them.
        let last = self.settle(resources).and_then(|()| match &*resources.devices {
            [] => Ok(()),
            rules => device_program::attach(unified.fd(&self.tree)?, rules, true),
        });
        last.inspect_err(|_reported| restore(&self.tree, &before))?;
        Ok(before)
    }

    fn restore(&self, before: &Before) {
        restore(&self.tree, &before.settings);
    }

    fn device_list(&self) -> Option<String> {
        None
    }
}

impl Killable for Single {
    fn processes(&self) -> Result<Vec<i32>> {
        Manager::processes(self)
    }

    fn hold(&self) -> bool {
        self.unified
            .as_ref()
            .is_some_and(|unified| unified.write(&self.tree, "cgroup.freeze", "1").is_ok())
    }

    fn held(&self) -> bool {
        matches!(self.event("frozen"), Ok(true))
    }

    fn release(&self) {
        if let Some(unified) = &self.unified {
            let _ = self.tree.write_below(&unified.directory, "cgroup.freeze", "0");
        }
    }
}
