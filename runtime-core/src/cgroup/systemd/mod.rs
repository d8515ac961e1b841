//! Cgroups that systemd makes: a container is a transient scope (systemd.scope(5)).
//!
//! systemd is the only writer of the tree that it manages, so that it is asked to make the directories
//! and is told the limits that it would otherwise reset; below its own scope, which is delegated,
//! the container's limits and processes are handled as without systemd.

mod annotation;
mod bus;
mod devices;
mod message;
mod properties;
mod unit;

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bus::{Bus, MANAGER, MANAGER_PATH, Refusal, SYSTEMD};
use message::{Call, Property, Reader, Value, Writer};
pub(super) use unit::Unit;

use super::conditions::is_rootless;
use super::manager::{Entrances, Entry, Leftover, Manager};
use super::oom::OomWatch;
use super::pressure::{PressureTrigger, PressureWatch};
use super::record::{Record, Version};
use super::setting::Previous;
use super::stats::Stats;
use super::{v1, v2};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::spec::resources::{Pids, Resources};

/// How long an old unit of the same name may take to go away.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Directories that others make, to be taken over.
pub(super) trait Adopt: Manager {
    /// Takes the directories over as if it had made them, and makes those that are missing.
    fn adopt(&mut self, resources: &Resources) -> Result<()>;

    /// The same limits with those in force that systemd keeps as one with them: quota and period.
    fn completed(&self, resources: &Resources) -> Resources;

    /// Whether a directory is there.
    fn exists(&self) -> bool;

    /// [`Manager::update`]; answers what was in force before.
    fn exchange(&self, resources: &Resources) -> Result<Vec<Previous>>;

    /// Puts that in force again.
    fn restore(&self, before: &Before);

    /// The lines of the device list in force; `None` without one, or where it does not tell what is
    /// denied.
    fn device_list(&self) -> Option<String>;
}

/// What was in force before an update.
#[derive(Debug)]
pub(super) struct Before {
    /// What the control files held.
    pub(super) settings: Vec<Previous>,
    /// The device list of cgroup v1, if it was about to change.
    pub(super) devices: Option<String>,
}

/// What is needed to make a unit.
#[derive(Clone, Debug)]
pub struct Occupant<'a> {
    /// A process that stays until the container's own is there: systemd makes no scope without one.
    pub pid: i32,
    /// The container's annotations, of which `org.systemd.property.*` are properties of the unit.
    pub annotations: &'a BTreeMap<String, String>,
}

/// The unit of one container.
#[derive(Debug)]
pub(super) struct Scope {
    unit: Unit,
    files: Box<dyn Adopt>,
    /// What a creation adds to the limits.
    birth: Option<(u32, Vec<Property>)>,
}

/// The unit for a container, and the cgroup of the manager that will have it.
///
/// # Errors
/// When the path is malformed, or the user's manager does not answer.
pub(super) fn locate(asked: Option<&str>, id: &ContainerId) -> Result<(Unit, String)> {
    let user = is_rootless();
    let unit = Unit::parse(asked, id, user)?;
    let above = if user { manager_cgroup(&mut Bus::connect(true)?)? } else { String::new() };
    let directory = unit.directory();
    let path = match above.trim_matches('/') {
        "" => directory,
        above => format!("{above}/{directory}"),
    };
    Ok((unit, path))
}

/// The cgroup of the manager at the other end.
fn manager_cgroup(bus: &mut Bus) -> Result<String> {
    const WHAT: &str = "ask systemd for its cgroup";
    let mut body = Writer::default();
    body.text(MANAGER);
    body.text("ControlGroup");
    let call = Call {
        destination: SYSTEMD,
        path: MANAGER_PATH,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "ss",
        body,
    };
    let answer = bus.call(&call).map_err(|refusal| refusal.into_error(WHAT))?;
    Reader::new(&answer)
        .text_variant()
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::System, format!("{WHAT}: the answer is no string")))
}

impl Scope {
    pub(super) fn open(record: Record, unit: Unit) -> Result<Self> {
        let files: Box<dyn Adopt> = if record.hierarchies.is_empty() {
            Box::new(v2::Single::open(record)?)
        } else {
            Box::new(v1::Hierarchies::open(record)?)
        };
        Ok(Self { unit, files, birth: None })
    }

    /// For a creation.
    pub(super) fn with_occupant(mut self, occupant: &Occupant<'_>) -> Result<Self> {
        let pid = u32::try_from(occupant.pid).map_err(|_negative| {
            Error::new(ErrorKind::System, format!("{} is no process", occupant.pid))
        })?;
        self.birth = Some((pid, annotation::properties(occupant.annotations)?));
        Ok(self)
    }

    fn version(&self) -> Version {
        self.files.record().version()
    }

    /// All properties of a new unit.
    fn properties(&self, resources: &Resources) -> Result<Vec<Property>> {
        let Some((pid, asked)) = &self.birth else {
            return Err(Error::new(ErrorKind::WrongStatus, "the unit exists already"));
        };
        let text = |name: &str, text: &str| (name.to_owned(), Value::Text(text.to_owned()));
        let flag = |name: &str, value| (name.to_owned(), Value::Bool(value));
        let id = self.unit.name.rsplit_once('.').map_or(&*self.unit.name, |(stem, _)| stem);
        let mut list = vec![text("Description", &format!("container {id}"))];
        if self.unit.is_slice() {
            list.push(("Wants".to_owned(), Value::Texts(vec![self.unit.slice.clone()])));
        } else {
            list.push(text("Slice", &self.unit.slice));
            list.push(("PIDs".to_owned(), Value::Numbers(vec![*pid])));
            list.push(flag("Delegate", true));
        }
        let io = if self.version() == Version::V2 { "IOAccounting" } else { "BlockIOAccounting" };
        for name in ["MemoryAccounting", "CPUAccounting", "TasksAccounting", io] {
            list.push(flag(name, true));
        }
        list.push(flag("DefaultDependencies", false));
        // A unit that failed, as after an out-of-memory kill, would stay and keep its name.
        list.push(text("CollectMode", "inactive-or-failed"));
        if self.version() != Version::V2 {
            list.extend(devices::properties(&resources.devices)?);
        }
        list.extend(properties::limits(resources, self.version())?);
        list.extend(asked.iter().cloned());
        Ok(list)
    }

    /// Makes the unit, with one round trip where nothing is in the way.
    fn start(&self, resources: &Resources) -> Result<()> {
        let what = format!("start the unit {}", self.unit.name);
        let mut list = self.properties(resources)?;
        let mut bus = Bus::connect(self.unit.user)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut body = Writer::default();
            body.text(&self.unit.name);
            body.text("fail");
            body.properties(&list);
            body.nothing();
            match bus.call(&manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body)) {
                Ok(answer) => return finish_job(&mut bus, &answer, &what),
                Err(Refusal::Answered { name, .. })
                    if name.ends_with(".UnitExists") && Instant::now() < deadline =>
                {
                    // A unit of that name that is just ending. One that has failed stays until it is
                    // told to go, of which a unit in any other state takes no notice.
                    let mut body = Writer::default();
                    body.text(&self.unit.name);
                    let _forgotten = bus.call(&manager("ResetFailedUnit", "s", body));
                    sleep(PAUSE);
                }
                Err(refusal) => {
                    let rest = without_unknown(&list, &refusal);
                    list = rest.ok_or_else(|| refused(refusal, &what))?;
                }
            }
        }
    }

    /// Waits for systemd to forget a unit whose creation was cut short: what held it has ended, or is
    /// just ending. One with processes is another container's.
    fn await_collection(&self) {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && self.files.exists() && self.empties() {
            sleep(PAUSE);
        }
    }

    /// Whether no process is in it, now or in a moment: the killed ones leave after their end.
    fn empties(&self) -> bool {
        let begin = Instant::now();
        while self.files.processes().is_ok_and(|pids| !pids.is_empty()) {
            if begin.elapsed() > PATIENCE / 4 {
                return false;
            }
            sleep(PAUSE);
        }
        true
    }

    /// What systemd is told of new limits.
    fn changed(&self, resources: &Resources) -> Result<Vec<Property>> {
        let mut list = properties::limits(resources, self.version())?;
        if self.version() != Version::V2 && !resources.devices.is_empty() {
            list.extend(devices::replacement(&resources.devices)?);
        }
        Ok(list)
    }

    /// Tells systemd the limits, so that it does not put the old ones back, and waits until it has
    /// written them.
    fn set_properties(&self, mut list: Vec<Property>) -> Result<()> {
        let what = format!("change the unit {}", self.unit.name);
        let mut bus = Bus::connect(self.unit.user)?;
        while !list.is_empty() {
            let mut body = Writer::default();
            body.text(&self.unit.name);
            body.bool(true);
            body.properties(&list);
            match bus.call(&manager("SetUnitProperties", "sba(sv)", body)) {
                Ok(_) => break,
                Err(refusal) => {
                    let rest = without_unknown(&list, &refusal);
                    list = rest.ok_or_else(|| refusal.into_error(&what))?;
                }
            }
        }
        // systemd answers before it writes to the control files, but writes before it takes another call.
        manager_cgroup(&mut bus).map(drop)
    }

    /// Tells systemd what was in force before, as well as can be: there is another error to tell.
    fn forget(&self, before: &Before) {
        let mut list = properties::previous(&before.settings, self.version());
        if let Some(lines) = &before.devices {
            list.extend(devices::previous(lines));
        }
        if let Some(Err(error)) = (!list.is_empty()).then(|| self.set_properties(list)) {
            log::debug!("{error}");
        }
    }

    /// Has systemd move a process in that the caller may not move: a user's from outside of what the
    /// user's manager has, as from a login session.
    fn fetch(&self, pid: u32) -> Result<()> {
        let what = format!("move process {pid} to the unit {}", self.unit.name);
        let mut body = Writer::default();
        body.text(&self.unit.name);
        body.text("");
        body.numbers(&[pid]);
        let call = manager("AttachProcessesToUnit", "ssau", body);
        let answer = Bus::connect(self.unit.user)?.call(&call);
        answer.map(drop).map_err(|refusal| refusal.into_error(&what))
    }

    /// Ends the unit with whatever is in it. One that is gone is fine.
    fn stop(&self) -> Result<()> {
        let what = format!("stop the unit {}", self.unit.name);
        let mut bus = Bus::connect(self.unit.user)?;
        let mut body = Writer::default();
        body.text(&self.unit.name);
        body.text("replace");
        match bus.call(&manager("StopUnit", "ss", body)) {
            Ok(answer) => finish_job(&mut bus, &answer, &what),
            Err(Refusal::Answered { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
            Err(refusal) => Err(refusal.into_error(&what)),
        }
    }
}

fn manager<'a>(member: &'a str, signature: &'a str, body: Writer) -> Call<'a> {
    let (destination, path, interface) = (SYSTEMD, MANAGER_PATH, MANAGER);
    Call { destination, path, interface, member, signature, body }
}

/// Waits for the job that an answer names.
fn finish_job(bus: &mut Bus, answer: &[u8], what: &str) -> Result<()> {
    let job = Reader::new(answer).text().unwrap_or_default().to_owned();
    match &*bus.wait_for_job(&job)? {
        "done" => Ok(()),
        result => {
            Err(Error::new(ErrorKind::System, format!("{what}: the job ended as {result:?}"))
                .with_hint("systemctl status and journalctl -u say more"))
        }
    }
}

/// The properties without the one that this version of systemd does not know; its control file is
/// written all the same. `None`: that was not the reason.
fn without_unknown(list: &[Property], refusal: &Refusal) -> Option<Vec<Property>> {
    let Refusal::Answered { text, .. } = refusal else { return None };
    let rest = text.split_once("property ")?.1;
    let name = rest.split([',', ' ', '.', ':']).next()?;
    // These decide what the unit is.
    if ["PIDs", "Slice", "Delegate", "DevicePolicy", "DeviceAllow"].contains(&name) {
        return None;
    }
    let kept: Vec<Property> = list.iter().filter(|(one, _)| one != name).cloned().collect();
    (kept.len() < list.len()).then_some(kept)
}

fn refused(refusal: Refusal, what: &str) -> Error {
    let exists =
        matches!(&refusal, Refusal::Answered { name, .. } if name.ends_with(".UnitExists"));
    let error = refusal.into_error(what);
    if exists {
        return error
            .with_hint("another container may be using it; choose another linux.cgroupsPath");
    }
    error
}

/// A limit on tasks that leaves no room for two.
fn lonely(resources: &Resources) -> Option<i64> {
    resources.pids.as_ref().and_then(|pids| pids.limit).filter(|limit| matches!(limit, 0 | 1))
}

impl Manager for Scope {
    fn create(&mut self, resources: &Resources) -> Result<()> {
        self.start(resources)?;
        self.files.adopt(resources).inspect_err(|_reported| {
            // The failure that led here is the one to report.
            let _stopped = self.stop();
        })
    }

    fn apply(&self, resources: &Resources) -> Result<()> {
        match lonely(resources) {
            None => self.files.apply(resources),
            // The process that holds the scope counts as well.
            Some(_limit) => {
                let pids = Some(Pids { limit: Some(2) });
                self.files.apply(&Resources { pids, ..resources.clone() })
            }
        }
    }

    fn settle(&self, resources: &Resources) -> Result<()> {
        lonely(resources).map_or(Ok(()), |limit| {
            let pids = Some(Pids { limit: Some(limit) });
            // Takes care of a limit of none as well.
            self.files.update(&Resources { pids, ..Resources::default() })
        })
    }

    fn update(&self, resources: &Resources) -> Result<()> {
        let resources = &self.files.completed(resources);
        let list = self.changed(resources)?;
        if list.is_empty() {
            return self.files.update(resources);
        }
        // The devices come last, when all others have agreed.
        let without_devices = Resources { devices: Vec::new(), ..resources.clone() };
        let devices = self.files.device_list().filter(|_| !resources.devices.is_empty());
        let before = Before { settings: self.files.exchange(&without_devices)?, devices };
        let told = self.set_properties(list);
        // What systemd has written is rounded, and for some values less than was asked for.
        told.and_then(|()| self.files.update(resources)).inspect_err(|_reported| {
            self.forget(&before);
            self.files.restore(&before);
        })
    }

    fn add(&self, pid: i32, entry: Entry) -> Result<()> {
        match (self.files.add(pid, entry), u32::try_from(pid)) {
            (Err(error), Ok(pid)) if error.errno() == Some(libc::EACCES) => self.fetch(pid),
            (added, _) => added,
        }
    }

    fn clone_fd(&self) -> Result<Option<BorrowedFd<'_>>> {
        self.files.clone_fd()
    }

    fn entrances(&self) -> Option<Entrances<'_>> {
        self.files.entrances()
    }

    fn clone_fd_of(&self, pid: i32) -> Result<Option<OwnedFd>> {
        self.files.clone_fd_of(pid)
    }

    fn delegate(&self, user: u32, group: u32) -> Result<()> {
        self.files.delegate(user, group)
    }

    fn processes(&self) -> Result<Vec<i32>> {
        self.files.processes()
    }

    fn stats(&self) -> Result<Stats> {
        self.files.stats()
    }

    fn oom_watch(&self) -> Result<OomWatch> {
        self.files.oom_watch()
    }

    fn pressure_watch(&self, trigger: &PressureTrigger) -> Result<PressureWatch> {
        self.files.pressure_watch(trigger)
    }

    fn kill(&self) -> Result<()> {
        self.files.kill()
    }

    fn frozen(&self) -> Result<bool> {
        self.files.frozen()
    }

    fn frozen_at(&self) -> Result<Option<PathBuf>> {
        self.files.frozen_at()
    }

    fn freeze(&self) -> Result<()> {
        self.files.freeze()
    }

    fn thaw(&self) -> Result<()> {
        self.files.thaw()
    }

    fn delete(&self, leftover: Leftover) -> Result<()> {
        if !self.files.record().created {
            self.await_collection();
            return self.files.delete(leftover);
        }
        if leftover == Leftover::Kill {
            self.files.kill()?;
        }
        // A unit that is still used when nothing is to be killed is by now that of another container
        // with the same name: its processes would end with it.
        let ends = leftover == Leftover::Kill || self.empties();
        // Without systemd the directories can still be removed, and it forgets a unit whose
        // directory is gone.
        if let Some(Err(error)) = ends.then(|| self.stop()) {
            log::debug!("{error}");
        }
        self.files.delete(leftover)
    }

    fn record(&self) -> &Record {
        self.files.record()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_property_is_left_out_but_not_one_that_matters() {
        let list = [
            ("AllowedCPUs".to_owned(), Value::Bytes(vec![1])),
            ("PIDs".to_owned(), Value::Numbers(vec![1])),
        ];
        let answer = |name: &str| Refusal::Answered {
            name: "org.freedesktop.DBus.Error.PropertyReadOnly".to_owned(),
            text: format!("Cannot set property {name}, or unknown property."),
        };
        let rest = without_unknown(&list, &answer("AllowedCPUs")).expect("left out");
        assert_eq!(rest, list[1..]);
        assert!(without_unknown(&list, &answer("PIDs")).is_none());
        assert!(without_unknown(&list, &answer("Other")).is_none());
    }
}
