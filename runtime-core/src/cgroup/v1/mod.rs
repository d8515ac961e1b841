//! Control groups v1, with the v2 hierarchy of a hybrid host beside them.

mod cpuset;
mod device_list;
pub(super) mod limits;
mod populate;

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::limits::{allows_no_task, huge_pages};
use super::manager::{Entrances, Entry, Leftover, Manager};
use super::oom::OomWatch;
use super::pressure::{self, PressureTrigger, PressureWatch};
use super::record::{Place, Record};
use super::setting::{Previous, Setting, exchange_all, missing_controller, restore, write_all};
use super::signal::{Killable, kill_all};
use super::stats::Stats;
use super::systemd::{Adopt, Before};
use super::tree::Tree;
use super::unified::Unified;
use super::{conditions, removal};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::Resources;

/// The directories of one container in the v1 hierarchies.
#[derive(Debug)]
pub(super) struct Hierarchies {
    tree: Tree,
    record: Record,
    unified: Option<Unified>,
}

impl Hierarchies {
    pub(super) fn open(record: Record) -> Result<Self> {
        let tree = Tree::open(&record.base)?;
        let unified = record.unified.as_ref().map(Unified::new);
        Ok(Self { tree, record, unified })
    }

    fn place(&self, controller: &str) -> Option<&Place> {
        self.record.hierarchies.iter().find(|place| place.has(controller))
    }

    /// The values to write, and with them the huge pages that only the v2 hierarchy can limit.
    fn settings(&self, resources: &Resources) -> (Vec<Setting>, Vec<Setting>) {
        let mut settings = limits::settings(resources);
        let mut unified = Vec::new();
        if self.unified.is_some() && self.place("hugetlb").is_none() {
            settings.retain(|setting| setting.controller != "hugetlb");
            for (index, limit) in resources.hugepage_limits.iter().enumerate() {
                huge_pages(index, limit, ["max", "rsvd.max"], &mut unified);
            }
        }
        (settings, unified)
    }

    /// Refuses what these versions cannot do.
    fn check(&self, resources: &Resources) -> Result<()> {
        conditions::refuse(resources, self.record.version())?;
        conditions::check_usage(resources, &|| {
            let place = self.place("memory")?;
            self.tree.read(&place.directory(), "memory.usage_in_bytes").ok()
        })
    }

    /// The directory for a value.
    fn directory_for(&self, setting: &Setting) -> Result<String> {
        match self.place(&setting.controller) {
            Some(place) => Ok(place.directory()),
            None => {
                let hint = "mount its cgroup v1 hierarchy, or have it delegated";
                Err(missing_controller(setting, hint))
            }
        }
    }

    fn write_limits(&self, resources: &Resources) -> Result<()> {
        self.check(resources)?;
        let (settings, in_unified) = self.settings(resources);
        write_all(&self.tree, &settings, &|setting| self.directory_for(setting))?;
        self.check_kernel_memory(resources)?;
        if let (Some(unified), false) = (&self.unified, in_unified.is_empty()) {
            unified.enable(&self.tree, &in_unified, &[])?;
            write_all(&self.tree, &in_unified, &|_| Ok(unified.directory.clone()))?;
        }
        Ok(())
    }

    /// The rest of an update, after the limits of the v1 hierarchies.
    fn exchange_rest(
        &self,
        resources: &Resources,
        huge_pages: &[Setting],
    ) -> Result<Vec<Previous>> {
        self.check_kernel_memory(resources)?;
        let mut before = Vec::new();
        if let (Some(unified), false) = (&self.unified, huge_pages.is_empty()) {
            unified.enable(&self.tree, huge_pages, &[])?;
            before = exchange_all(&self.tree, huge_pages, &|_| Ok(unified.directory.clone()))?;
        }
        // The devices come last: what is restored does not have them.
        let last = self.settle(resources).and_then(|()| match self.place("devices") {
            Some(place) if !resources.devices.is_empty() => {
                device_list::replace(&self.tree, &place.directory(), &resources.devices)
            }
            _ => Ok(()),
        });
        last.inspect_err(|_reported| restore(&self.tree, &before))?;
        Ok(before)
    }

    /// Kernels since 5.16 have no limit on kernel memory, and those since 6.2 take one that is written
    /// without holding it.
    fn check_kernel_memory(&self, resources: &Resources) -> Result<()> {
        let asked = resources.memory.as_ref().and_then(|memory| memory.kernel);
        let Some(asked) = asked.filter(|limit| *limit > 0) else {
            return Ok(());
        };
        let held = self.place("memory").and_then(|place| {
            let text = self.tree.read(&place.directory(), "memory.kmem.limit_in_bytes").ok()?;
            text.trim_end().parse::<i64>().ok()
        });
        if held.is_some_and(|held| held <= asked) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "this kernel cannot limit kernel memory")
            .with_field("linux.resources.memory.kernel")
            .with_hint("memory.limit counts kernel memory as well"))
    }

    fn freezer(&self) -> Result<String> {
        self.place("freezer").map(Place::directory).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the cgroup controller \"freezer\" is not available")
        })
    }

    fn freezer_state(&self, directory: &str) -> Result<String> {
        match self.tree.read(directory, "freezer.state") {
            Ok(state) => Ok(state.trim_end().to_owned()),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok("THAWED".to_owned()),
            Err(errno) => Err(self.failure("read", directory, "freezer.state", errno)),
        }
    }

    fn set_freezer(&self, directory: &str, state: &str) -> Result<()> {
        self.tree.write(directory, "freezer.state", state).map_err(|errno| {
            self.failure(&format!("write {state:?} to"), directory, "freezer.state", errno)
        })
    }

    fn failure(&self, what: &str, directory: &str, file: &str, errno: Errno) -> Error {
        let path = self.tree.absolute(&format!("{directory}/{file}"));
        Error::system(what, errno as i32).with_path(path)
    }

    fn directories(&self) -> Vec<String> {
        let mut all: Vec<String> = self.record.hierarchies.iter().map(Place::directory).collect();
        all.extend(self.unified.as_ref().map(|unified| unified.directory.clone()));
        all
    }

    /// The directory whose list of processes is asked: the freezer's, so that what is listed is
    /// what can be frozen.
    fn listed(&self) -> Option<String> {
        let first = || self.record.hierarchies.first();
        self.place("freezer").or_else(first).map(Place::directory)
    }
}

impl Manager for Hierarchies {
    fn create(&mut self, _resources: &Resources) -> Result<()> {
        self.record.created = false;
        let made = populate::make(&self.tree, &mut self.record)?;
        if self.record.unified.is_none() {
            self.unified = None;
        }
        match populate::check(&self.tree, &self.record, &made) {
            Ok(()) => {
                self.record.created = true;
                Ok(())
            }
            Err(error) => {
                populate::undo(&self.tree, &made);
                Err(error)
            }
        }
    }

    fn apply(&self, resources: &Resources) -> Result<()> {
        self.write_limits(resources)?;
        match self.place("devices") {
            Some(place) => device_list::write(&self.tree, &place.directory(), &resources.devices),
            None => {
                conditions::without_device_filter("the controller \"devices\" is not available")
            }
        }
    }

    fn settle(&self, resources: &Resources) -> Result<()> {
        match self.place("pids").map(Place::directory) {
            Some(directory) if allows_no_task(resources) => {
                self.tree.write(&directory, "pids.max", "0").map_err(|errno| {
                    self.failure("write \"0\" to", &directory, "pids.max", errno)
                        .with_field("linux.resources.pids.limit")
                })
            }
            _ => Ok(()),
        }
    }

    fn update(&self, resources: &Resources) -> Result<()> {
        self.exchange(resources).map(drop)
    }

    fn add(&self, pid: i32, entry: Entry) -> Result<()> {
        let pid = pid.to_string();
        let join = |directory: &str| {
            self.tree.write(directory, "cgroup.procs", &pid).map_err(|errno| {
                let what = format!("write {pid:?} to");
                let error = self.failure(&what, directory, "cgroup.procs", errno);
                match errno {
                    Errno::ENOSPC => error.with_hint("cpuset.cpus or cpuset.mems is empty"),
                    Errno::ENOENT => error.with_hint("the cgroup was removed, or is no cgroup"),
                    Errno::ESRCH => error.with_hint("the process has ended"),
                    _ => error,
                }
            })
        };
        for place in &self.record.hierarchies {
            join(&place.directory())?;
        }
        match (&self.unified, entry) {
            (Some(unified), Entry::Moved) => join(&unified.directory),
            _ => Ok(()),
        }
    }

    fn clone_fd(&self) -> Result<Option<BorrowedFd<'_>>> {
        self.unified.as_ref().map(|unified| unified.fd(&self.tree)).transpose()
    }

    fn entrances(&self) -> Option<Entrances<'_>> {
        let file = |directory: String| CString::new(format!("{directory}/tasks")).ok();
        let places = self.record.hierarchies.iter();
        let files = places.filter_map(|place| file(place.directory())).collect();
        Some(Entrances { directory: self.tree.base(), files })
    }

    fn clone_fd_of(&self, pid: i32) -> Result<Option<OwnedFd>> {
        self.unified.as_ref().map(|unified| unified.fd_of(&self.tree, pid)).transpose()
    }

    fn delegate(&self, _user: u32, _group: u32) -> Result<()> {
        Ok(())
    }

    fn processes(&self) -> Result<Vec<i32>> {
        let Some(directory) = self.listed() else {
            return Ok(Vec::new());
        };
        self.tree
            .processes(&directory)
            .map_err(|errno| self.failure("list the processes of", &directory, "", errno))
    }

    fn stats(&self) -> Result<Stats> {
        super::stats::v1::read(&self.tree, &self.record)
    }

    fn oom_watch(&self) -> Result<OomWatch> {
        let place = self.place("memory").ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the cgroup controller \"memory\" is not available")
        })?;
        OomWatch::notified(&self.tree, &place.directory())
    }

    fn pressure_watch(&self, trigger: &PressureTrigger) -> Result<PressureWatch> {
        let unified = self.unified.as_ref().ok_or_else(pressure::unsupported)?;
        PressureWatch::new(&self.tree, &unified.directory, trigger)
    }

    fn kill(&self) -> Result<()> {
        if !self.record.created {
            return Ok(());
        }
        let at_once = match &self.unified {
            Some(unified) => unified.kill(&self.tree)?,
            None => false,
        };
        if at_once {
            // What is frozen dies when it thaws. A process can only be outside the v2 directory
            // and inside the v1 ones if someone moved it there.
            self.release();
            let inside = match &self.unified {
                Some(unified) => self.tree.processes(&unified.directory).unwrap_or_default(),
                None => Vec::new(),
            };
            if Manager::processes(self)?.iter().all(|pid| inside.contains(pid)) {
                return Ok(());
            }
        }
        kill_all(self)
    }

    fn frozen(&self) -> Result<bool> {
        match self.place("freezer") {
            Some(place) => Ok(self.freezer_state(&place.directory())? != "THAWED"),
            None => Ok(false),
        }
    }

    fn frozen_at(&self) -> Result<Option<PathBuf>> {
        let Some(place) = self.place("freezer") else { return Ok(None) };
        let all = place.ancestors().into_iter().chain([place.directory()]);
        // The root has no such file.
        let frozen = |one: &String| {
            self.tree.read(one, "freezer.self_freezing").is_ok_and(|flag| flag.trim_end() == "1")
        };
        Ok(all.skip(1).find(frozen).map(|one| self.tree.absolute(&one)))
    }

    fn freeze(&self) -> Result<()> {
        let directory = self.freezer()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut round: u32 = 0;
        while Instant::now() < deadline {
            // A cgroup in which a process forks or is attached meanwhile can stay FREEZING for
            // ever; the kernel looks again when the state is written.
            if round.is_multiple_of(64) {
                if round > 0 {
                    self.set_freezer(&directory, "THAWED")?;
                }
                self.set_freezer(&directory, "FROZEN")?;
            }
            if self.freezer_state(&directory)? == "FROZEN" {
                return Ok(());
            }
            // Most stand at once: a process that sleeps is only woken to be stopped.
            sleep(Duration::from_micros(if round < 4 { 20 << round } else { 500 }));
            round += 1;
        }
        self.set_freezer(&directory, "THAWED")?;
        Err(Error::new(ErrorKind::TimedOut, "the processes do not freeze")
            .with_path(self.tree.absolute(&directory)))
    }

    fn thaw(&self) -> Result<()> {
        let directory = self.freezer()?;
        self.set_freezer(&directory, "THAWED")
    }

    fn delete(&self, leftover: Leftover) -> Result<()> {
        removal::remove_all(self, &self.tree, &self.directories(), leftover)
    }

    fn record(&self) -> &Record {
        &self.record
    }
}

impl Adopt for Hierarchies {
    fn adopt(&mut self, _resources: &Resources) -> Result<()> {
        let _made = populate::make(&self.tree, &mut self.record)?;
        self.record.created = true;
        Ok(())
    }

    fn completed(&self, resources: &Resources) -> Resources {
        let mut resources = resources.clone();
        let Some(directory) = self.place("cpu").map(Place::directory) else { return resources };
        let number = |file| self.tree.read(&directory, file).ok()?.trim_end().parse::<i64>().ok();
        if let Some(cpu) = &mut resources.cpu {
            let has_quota = cpu.quota.is_some_and(|quota| quota != 0);
            let has_period = cpu.period.is_some_and(|period| period != 0);
            if has_quota && !has_period {
                cpu.period =
                    number("cpu.cfs_period_us").and_then(|period| u64::try_from(period).ok());
            } else if has_period && !has_quota {
                cpu.quota = number("cpu.cfs_quota_us");
            }
        }
        resources
    }

    fn exists(&self) -> bool {
        self.directories().iter().any(|directory| self.tree.directory(directory).is_ok())
    }

    fn exchange(&self, resources: &Resources) -> Result<Vec<Previous>> {
        self.check(resources)?;
        let (settings, huge_pages) = self.settings(resources);
        let mut before =
            exchange_all(&self.tree, &settings, &|setting| self.directory_for(setting))?;
        match self.exchange_rest(resources, &huge_pages) {
            Ok(more) => before.extend(more),
            Err(error) => {
                restore(&self.tree, &before);
                return Err(error);
            }
        }
        Ok(before)
    }

    fn restore(&self, before: &Before) {
        restore(&self.tree, &before.settings);
        if let (Some(place), Some(lines)) = (self.place("devices"), &before.devices) {
            device_list::restore(&self.tree, &place.directory(), lines);
        }
    }

    fn device_list(&self) -> Option<String> {
        let directory = self.place("devices")?.directory();
        device_list::exceptions(&self.tree, &directory)
    }
}

impl Killable for Hierarchies {
    fn processes(&self) -> Result<Vec<i32>> {
        Manager::processes(self)
    }

    fn hold(&self) -> bool {
        self.place("freezer").is_some_and(|place| {
            self.tree.write(&place.directory(), "freezer.state", "FROZEN").is_ok()
        })
    }

    fn held(&self) -> bool {
        let state = self.place("freezer").map(|place| self.freezer_state(&place.directory()));
        matches!(state, Some(Ok(state)) if state == "FROZEN")
    }

    fn release(&self) {
        if let Some(place) = self.place("freezer") {
            let _ = self.tree.write_below(&place.directory(), "freezer.state", "THAWED");
        }
    }
}
