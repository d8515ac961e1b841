//! Changing the limits of a container.

use std::path::Path;

use super::{Container, Status, UpdateOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::rdt;
use crate::spec::{IntelRdt, Resources};
use crate::state::{Directory, Entry, Journal, Record};

/// How often new threads are looked for that were started by some that had not been moved yet.
const ROUNDS: usize = 1000;

impl Container {
    /// Sets those limits that are present; the others stay. Device rules replace all device rules;
    /// without any the filter stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] (`container not running`) when it is stopped, a limit that cannot be
    /// held, which changes nothing.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        self.update_with(resources, &UpdateOptions::default())
    }

    /// The same, with shares of its class of service (Intel RDT). A container that was created without
    /// one gets one, and what runs in it is moved there; for processes to come, load the container anew.
    ///
    /// # Errors
    /// As [`update`](Self::update); a class of service that was not made for the container, or a share
    /// that cannot be had. Nothing has changed then.
    pub fn update_with(&self, resources: &Resources, options: &UpdateOptions) -> Result<()> {
        let record = self.record()?;
        let directory = self.lock()?;
        match self.status()? {
            Status::Created | Status::Running | Status::Paused => {}
            _ => return Err(self.not_running()),
        }
        let shares = options.shares()?;
        if shares.is_none() || *resources != Resources::default() {
            if record.cgroup.is_empty() {
                return Err(self.wrong_status("a container without a cgroup has no limits"));
            }
            let class = shares.map(|shares| self.change_class(&directory, &shares, options));
            let class = class.transpose()?;
            return self.cgroup()?.update(resources).inspect_err(|_reported| {
                if let Some(class) = &class {
                    class.undo(&directory);
                }
            });
        }
        shares.map_or(Ok(()), |shares| self.change_class(&directory, &shares, options).map(drop))
    }

    /// Gives the container other shares.
    fn change_class(
        &self,
        directory: &Directory,
        shares: &IntelRdt,
        options: &UpdateOptions,
    ) -> Result<Change> {
        // Another handle may have given it a class since this one was made.
        let bytes = directory.read("state.json")?.unwrap_or_default();
        let record = Record::decode(&bytes)?;
        if let Some(group) = record.resctrl {
            let before = group.exchange(shares)?;
            return Ok(Change::Shares(group, before));
        }
        let mut journal = Journal::open(directory)?;
        let imitation = options.resctrl_imitation.as_deref();
        let group = rdt::Group::create(shares, &self.id, imitation, &mut |group| {
            journal.append(&Entry::Resctrl(group.clone()))
        })?;
        let change = Change::Class { group: group.clone(), record: bytes };
        let moved = self.move_threads(&group).and_then(|()| {
            let record = Record { resctrl: Some(group), ..record };
            directory.write("state.json", &record.encode()?)
        });
        moved.inspect_err(|_reported| change.undo(directory))?;
        Ok(change)
    }

    /// Moves all that runs in the container to a class of service: the kernel does so with single
    /// threads, and what they start is where they are.
    fn move_threads(&self, group: &rdt::Group) -> Result<()> {
        let mut moved = std::collections::BTreeSet::new();
        for _ in 0..ROUNDS {
            let before = moved.len();
            for pid in self.processes()? {
                for thread in threads(pid) {
                    if moved.insert(thread) {
                        match group.add(thread) {
                            Err(error) if error.errno() == Some(libc::ESRCH) => {}
                            added => added?,
                        }
                    }
                }
            }
            if moved.len() == before {
                return Ok(());
            }
        }
        let message = "the container starts threads faster than they can be moved";
        Err(Error::new(ErrorKind::TimedOut, message).with_hint("pause it meanwhile"))
    }
}

/// The threads of a process, which may have ended.
fn threads(pid: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))
    else {
        return Vec::new();
    };
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(name).collect()
}

/// What was done to the class of service of a container.
enum Change {
    /// It has other shares.
    Shares(rdt::Group, rdt::Before),
    /// It was made; what was recorded of the container before.
    Class { group: rdt::Group, record: Vec<u8> },
}

impl Change {
    /// Takes it back, as well as can be: there is another error to tell, and a class that stays is in the
    /// journal.
    fn undo(&self, directory: &Directory) {
        match self {
            Self::Shares(group, before) => group.restore(before),
            Self::Class { group, record } => {
                let _kept = directory.write("state.json", record);
                if group.remove().is_ok() {
                    let noted = Journal::open(directory);
                    let _kept = noted.and_then(|mut journal| journal.append(&Entry::ResctrlGone));
                }
            }
        }
    }
}
