//! Serving the init program: what the caller does at each gate, and what it is told.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::control::{Control, Message};
use super::failure::explain;
use super::scheduling::apply as schedule;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::idmap;
use crate::plan::Plan;
use crate::program::{Gate, Report};
use crate::sys::pidfd::{self, Ended};
use crate::sys::process::{Limits, limits, set_limits};

/// What may have happened to an init program that has ended without a word.
pub(crate) const KILLED: &str =
    "a memory limit that is too small kills it, a filter that forbids execve, or delete --force";

/// How long a process may take from closing its files to its end.
const ENDING: Duration = Duration::from_secs(1);

/// The init program's process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number in the caller's pid namespace.
    pub(crate) pid: i32,
    /// Its descriptor.
    pub(crate) pidfd: OwnedFd,
}

/// What is done at the gates beyond what the plan says.
pub(crate) trait Gates {
    /// The process exists and has not touched anything yet: record it, move it to its cgroups.
    fn mapped(&mut self, process: &Process) -> Result<()>;
    /// Another process goes on in its place.
    fn respawned(&mut self, process: &Process) -> Result<()>;
    /// The seccomp filter as the init program receives it, worked out while that mounts.
    fn filter(&mut self) -> Result<Option<Vec<u8>>>;
    /// The mounts are made, the root is not changed yet: run hooks.
    fn mounted(&mut self, process: &Process) -> Result<()>;
    /// The master of the terminal has arrived.
    fn console(&mut self, master: OwnedFd) -> Result<()>;
    /// The listener of the seccomp filter has arrived, which was loaded; execve waits.
    fn listener(&mut self, process: &Process, listener: OwnedFd) -> Result<()>;
}

/// Serves the init program until it is ready for the start, or has executed its payload.
///
/// # Errors
/// What the init program reports, what a gate answers; or the way it died without a report. The
/// process is still to be killed and reaped then.
pub(crate) fn serve(
    plan: &Plan,
    control: &Control,
    process: &mut Process,
    gates: &mut dyn Gates,
) -> Result<()> {
    let mut filter = None;
    let mut departed = false;
    while let Some(message) = control.receive(process.pidfd.as_fd())? {
        match message.report.tag {
            Report::GATE if message.report.detail == Gate::Mapped as u64 => {
                pass_mapped(plan, process, gates)?;
                control.send(b"g")?;
                filter = gates.filter()?;
                if !plan.has_gate(Gate::Mounted) {
                    send_filter(control, filter.as_deref())?;
                }
            }
            Report::GATE if message.report.detail == Gate::Joined as u64 => {
                if let Some(maps) = &plan.joined_maps {
                    idmap::compare(maps, process.pid)?;
                }
                control.send(b"g")?;
            }
            Report::GATE if message.report.detail == Gate::Mounted as u64 => {
                gates.mounted(process)?;
                control.send(b"g")?;
                send_filter(control, filter.as_deref())?;
            }
            Report::GATE if message.report.detail == Gate::Scheduled as u64 => {
                plan.process.as_ref().map_or(Ok(()), |asked| schedule(process.pid, asked))?;
                control.send(b"g")?;
            }
            Report::GATE => return Ok(()),
            Report::RESPAWNED => {
                respawned(process, message)?;
                gates.respawned(process)?;
            }
            Report::DEPARTS => departed = true,
            Report::CONSOLE => gates.console(descriptor(message)?)?,
            Report::LISTENER => {
                gates.listener(process, descriptor(message)?)?;
                control.send(b"g")?;
            }
            _ => return Err(explain(plan, &message)),
        }
    }
    if departed && was_executed(process.pid, process.pidfd.as_fd()) {
        Ok(())
    } else {
        Err(died(process))
    }
}

/// Whether an init program that has closed its connection after its last report has done so by execve
/// and not by its end: a filter that forbids execve may kill it. One that was reaped at once cannot be
/// told from a program that has ended, and is taken for one.
pub(crate) fn was_executed(pid: i32, pidfd: BorrowedFd<'_>) -> bool {
    // At its end a process gives its memory up before its files, and with it its executable.
    let executable = std::fs::read_link(format!("/proc/{pid}/exe"));
    let bare = executable.is_err_and(|error| match error.kind() {
        std::io::ErrorKind::NotFound => true,
        // Of a process that has no memory any more, some kernels (seen: 6.12) tell it to root only.
        std::io::ErrorKind::PermissionDenied => is_ending(pid),
        _ => false,
    });
    if !bare || !pidfd::ended_within(pidfd, Some(ENDING)).unwrap_or(false) {
        return true;
    }
    // The kernel renames a process at execve. Until it is reaped, the name can be read.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let own = name.starts_with("memfd:coracle") || name.trim().parse::<u32>().is_ok();
    !own || pidfd::send_signal(pidfd, 0).is_err()
}

/// Whether the process has begun to end: a flag in field 9 of /proc/PID/stat (proc_pid_stat(5)), which
/// everybody may read.
fn is_ending(pid: i32) -> bool {
    const PF_EXITING: u32 = 0x4;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let flags = after_name.split_ascii_whitespace().nth(6).and_then(|field| field.parse().ok());
    flags.is_some_and(|flags: u32| flags & PF_EXITING != 0)
}

fn send_filter(control: &Control, filter: Option<&[u8]>) -> Result<()> {
    filter.map_or(Ok(()), |filter| control.send(filter))
}

fn pass_mapped(plan: &Plan, process: &Process, gates: &mut dyn Gates) -> Result<()> {
    if let Some(maps) = &plan.id_maps {
        idmap::apply(maps, process.pid, plan.privileged)?;
    }
    gates.mapped(process)?;
    if let Some(score) = plan.oom_score_adj {
        let path = PathBuf::from(format!("/proc/{}/oom_score_adj", process.pid));
        std::fs::write(&path, score.to_string())
            .attempt_on("write", &path)
            .map_err(|error| error.with_field("process.oomScoreAdj"))?;
    }
    for (index, rlimit) in plan.rlimits.iter().enumerate() {
        raise(process.pid, rlimit.resource.number(), rlimit.hard)
            .map_err(|error| error.with_field(format!("process.rlimits[{index}]")))?;
    }
    Ok(())
}

/// Raises a hard limit from outside, where the caller's privilege counts; the init program sets the exact
/// values last, as a low limit would break the set-up itself.
fn raise(pid: i32, resource: u32, hard: u64) -> Result<()> {
    let current = limits(pid, resource).attempt("read a resource limit")?;
    if hard <= current.hard {
        return Ok(());
    }
    set_limits(pid, resource, Limits { soft: current.soft, hard })
        .attempt("raise the hard limit")
        .map_err(|error| {
            error.with_hint(format!("the runtime's own hard limit is {}", current.hard))
        })
}

fn respawned(process: &mut Process, message: Message) -> Result<()> {
    let pid = i32::try_from(message.report.detail)
        .map_err(|_wide| Error::new(ErrorKind::System, "the init program reported no pid"))?;
    let pidfd = descriptor(message)?;
    // By now the other end may be in the hands of a container that can trace its processes.
    if pidfd::number(pidfd.as_fd()).is_some_and(|known| known > 0 && known != pid) {
        let message = format!("the init program reported {pid} as the number of another process");
        return Err(Error::new(ErrorKind::System, message));
    }
    let old = std::mem::replace(process, Process { pid, pidfd });
    pidfd::wait(old.pidfd.as_fd()).attempt("wait for the first init process").map(drop)
}

fn descriptor(message: Message) -> Result<OwnedFd> {
    message.fd.ok_or_else(|| Error::new(ErrorKind::System, "a descriptor is missing in a report"))
}

/// The init program has ended without a word.
fn died(process: &Process) -> Error {
    let how = match pidfd::wait(process.pidfd.as_fd()) {
        Ok(Ended::Signaled(signal)) => format!("was killed by signal {signal}"),
        Ok(Ended::Exited(status)) => format!("exited with status {status}"),
        Err(_) => "has ended".to_owned(),
    };
    Error::new(ErrorKind::System, format!("the init program {how} during the set-up"))
        .with_hint(KILLED)
}
