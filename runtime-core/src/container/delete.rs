//! Removing a container and everything that its creation has made.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::list::list;
use super::load::load;
use super::{Container, Runtime, Status};
use crate::cgroup::{self, Leftover, Manager};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::hooks::Environment;
use crate::id::ContainerId;
use crate::plan::StateDocument;
use crate::rdt;
use crate::spec::Hooks;
use crate::state::{Directory, Entry, Identity, Journal, Reader, Record};
use crate::sys::pidfd;

/// How long a killed process may take to end.
const BOUND: Duration = Duration::from_secs(10);

/// How long it usually takes at most.
const SHORT: Duration = Duration::from_secs(1);

/// How long the hooks of a container's end may take while a deletion by force waits.
const PATIENCE: Duration = Duration::from_secs(5);

impl Container {
    /// Deletes the container (runtime-spec, runtime.md "Delete"): kills what is left of it, removes its
    /// cgroups, runs the poststop hooks and forgets it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] for a running or paused container unless `force`; a process that
    /// does not end, a cgroup that cannot be removed. The container stays known then.
    pub fn delete(self, force: bool) -> Result<()> {
        delete(&self.runtime, &self.id, force)
    }
}

/// Deletes a container by name, whatever state its files are in.
pub(super) fn delete(runtime: &Runtime, id: &ContainerId, force: bool) -> Result<()> {
    match remove(runtime, id, force) {
        Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn remove(runtime: &Runtime, id: &ContainerId, force: bool) -> Result<()> {
    let directory = if force {
        let begun = Instant::now();
        let kill = |reader: &Reader| kill_creation(reader, begun.elapsed() > PATIENCE);
        Directory::seize(runtime.root(), id, BOUND, kill)?
    } else {
        check_status(&load(runtime, id)?)?;
        Directory::open_locked(runtime.root(), id)?
    };
    let record = match directory.read("state.json")?.map(|bytes| Record::decode(&bytes)) {
        Some(Ok(record)) => Some(record),
        // A deletion by force lives on the journal alone.
        Some(Err(_)) | None if force => None,
        Some(Err(error)) => return Err(error),
        None => None,
    };
    if let Some(record) = record.as_ref().filter(|_| !force) {
        // Until the lock was ours it could have been started.
        check_status(&Container::of_record(runtime, id, record.clone()))?;
    }
    let entries = Journal::entries(&directory.read(Journal::name())?.unwrap_or_default());
    let cgroup = find_cgroup(&entries, record.as_ref())?;
    end_processes(&entries, cgroup.as_deref())?;
    if let Some(cgroup) = cgroup {
        remove_cgroup((runtime, id), &*cgroup, record.as_ref(), force)?;
    }
    leave_resctrl(&entries)?;
    if let Some(record) = &record {
        let state = record.document(id, "stopped");
        run_poststop((&record.hooks, &record.bundle), &state, &directory);
    }
    directory.remove()
}

/// Removes the cgroups, and what is left in them of the container.
fn remove_cgroup(
    (runtime, id): (&Runtime, &ContainerId),
    cgroup: &dyn Manager,
    record: Option<&Record>,
    force: bool,
) -> Result<()> {
    if !record.is_some_and(Record::has_pid_namespace) {
        cgroup.kill()?;
        return cgroup.delete(Leftover::Kill);
    }
    match cgroup.delete(Leftover::Wait) {
        // With a pid namespace nothing outlives the init: this is not the container's.
        Err(error) if !cgroup.processes()?.is_empty() => {
            if is_taken_over(runtime, id, cgroup.record())? {
                return Ok(());
            }
            if !force {
                return Err(error.context("somebody has put processes into the container's cgroup"));
            }
            cgroup.kill()?;
            cgroup.delete(Leftover::Kill)
        }
        removed => removed,
    }
}

/// Whether another container was given the same cgroup after this one had ended.
fn is_taken_over(runtime: &Runtime, id: &ContainerId, place: &cgroup::Record) -> Result<bool> {
    let others = list(runtime)?.into_iter().filter(|other| other.id != *id);
    let mut others = others.filter_map(|other| load(runtime, &other.id).ok());
    Ok(others
        .any(|other| other.running_record().is_ok_and(|record| record.cgroup.is_same_place(place))))
}

/// What is added to an error after which the container could not be removed. Its own hint stays.
pub(super) fn left_behind(error: Error, left: &Error) -> Error {
    let rest = format!("delete --force removes what is left, as this has failed: {left}");
    let hint = error.hint().map(|first| format!("{first}; {rest}"));
    error.with_hint(hint.unwrap_or(rest))
}

fn check_status(container: &Container) -> Result<()> {
    match container.status()? {
        Status::Stopped | Status::Created => Ok(()),
        status => Err(Error::new(
            ErrorKind::WrongStatus,
            format!("cannot delete container {} that is not stopped: {status}", container.id),
        )
        .with_hint("stop it or use --force")),
    }
}

/// Kills what another command waits for, so that it gives up the lock: hooks and the init program. The
/// hooks of the end are to clean up after the container, so that only `late` ones are killed.
fn kill_creation(reader: &Reader, late: bool) {
    let bytes = reader.read(Journal::name()).ok().flatten().unwrap_or_default();
    let entries = Journal::entries(&bytes);
    for entry in entries.iter().take_while(|entry| late || **entry != Entry::Ended) {
        kill_entry(entry);
    }
}

/// Kills the process of an entry, and with a hook its group if it leads one: criu does not for a job of a
/// shell.
fn kill_entry(entry: &Entry) -> Option<OwnedFd> {
    let (Entry::Init(identity) | Entry::Hook(identity)) = entry else {
        return None;
    };
    let pidfd = identity.open_even_ended()?;
    let group = nix::unistd::Pid::from_raw(identity.pid);
    let leads = nix::unistd::getpgid(Some(group)) == Ok(group);
    if matches!(entry, Entry::Hook(_)) && leads {
        let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    let _gone = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
    Some(pidfd)
}

/// Kills the recorded processes, frozen ones too, and waits until they have ended.
fn end_processes(entries: &[Entry], cgroup: Option<&dyn Manager>) -> Result<()> {
    for entry in entries {
        if let Some(pidfd) = kill_entry(entry) {
            if let Some(cgroup) = cgroup
                && cgroup.frozen()?
            {
                cgroup.thaw()?;
            }
            let whose = match entry {
                Entry::Hook(Identity { pid, .. }) => ("a hook", *pid),
                Entry::Init(Identity { pid, .. }) => ("container init", *pid),
                _ => continue,
            };
            wait_for_end(pidfd.as_fd(), whose, cgroup)?;
            // Only a parent can reap; for anybody else this answers ECHILD.
            let _reaped = pidfd::try_wait(pidfd.as_fd());
        }
    }
    Ok(())
}

/// Waits until a killed process has ended.
///
/// # Errors
/// [`ErrorKind::TimedOut`], with what holds it.
pub(super) fn wait_for_end(
    pidfd: BorrowedFd<'_>,
    (what, pid): (&str, i32),
    cgroup: Option<&dyn Manager>,
) -> Result<()> {
    let ended = |time| pidfd::ended_within(pidfd, Some(time)).attempt("wait for a killed process");
    if ended(SHORT)? {
        return Ok(());
    }
    // On v1 nothing ends below a cgroup that somebody else has frozen: waiting does not help.
    let frozen = cgroup.map_or(Ok(None), Manager::frozen_at)?;
    if frozen.is_none() && ended(BOUND)? {
        return Ok(());
    }
    let hint = frozen.map_or_else(
        || "a dead file server can hold it".to_owned(),
        |place| format!("a frozen cgroup holds it, thaw {}", place.display()),
    );
    let message = format!("{what} still running: pid {pid}");
    Err(Error::new(ErrorKind::TimedOut, message).with_hint(hint))
}

/// The manager of the cgroups of the record, which knows what became of them, or else of the journal.
fn find_cgroup(entries: &[Entry], record: Option<&Record>) -> Result<Option<Box<dyn Manager>>> {
    let journaled = entries.iter().rev().find_map(|entry| match entry {
        Entry::Cgroup(record) => Some(record),
        _ => None,
    });
    match record.map(|record| &record.cgroup).or(journaled) {
        Some(place) if !place.is_empty() => cgroup::open(place.clone()).map(Some),
        _ => Ok(None),
    }
}

/// Removes what was made in the resctrl file system; the record has nothing that the journal has not.
fn leave_resctrl(entries: &[Entry]) -> Result<()> {
    let group = entries.iter().rev().find_map(|entry| match entry {
        Entry::Resctrl(group) => Some(Some(group)),
        Entry::ResctrlGone => Some(None),
        _ => None,
    });
    group.flatten().map_or(Ok(()), rdt::Group::remove)
}

/// A failing poststop hook changes nothing (runtime-spec, runtime.md "Lifecycle", step 13): it is only
/// told.
pub(super) fn run_poststop(
    (hooks, bundle): (&Hooks, &Path),
    state: &StateDocument,
    directory: &Directory,
) {
    if hooks.poststop.is_empty() {
        return;
    }
    let state = state.with_pid(0);
    let environment = Environment { kind: "poststop", state: state.as_bytes(), bundle };
    // A full disk is no reason to leave a hook out: only a deletion by force would miss it.
    let mut journal = Journal::open(directory).ok();
    let _unrecorded = journal.as_mut().map(|journal| journal.append(&Entry::Ended));
    let mut started = |pid, pidfd: BorrowedFd<'_>| {
        let _unrecorded = journal.as_mut().map(|journal| journal.note_hook(pid, pidfd));
        Ok(())
    };
    for (index, hook) in hooks.poststop.iter().enumerate() {
        if let Err(error) = environment.run_at(index, hook, &mut started) {
            log::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_comes_after_the_hint_that_was_there() {
        let left = Error::new(ErrorKind::System, "busy");
        let plain = left_behind(Error::new(ErrorKind::System, "a"), &left);
        let rest = plain.hint().expect("a hint").to_owned();
        assert!(rest.ends_with("busy"), "{rest}");
        let hinted = left_behind(Error::new(ErrorKind::System, "a").with_hint("do b"), &left);
        assert_eq!(hinted.hint(), Some(&*format!("do b; {rest}")));
    }
}
