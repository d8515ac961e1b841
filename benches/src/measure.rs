//! One measured command: wall time, and the CPU time and page faults of all its processes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Outcome;
use crate::host::check_interrupt;

/// What one command cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// Milliseconds by the monotonic clock.
    pub(crate) wall: f64,
    /// Milliseconds of user and system time of all processes that ended meanwhile.
    pub(crate) cpu: f64,
    /// Minor and major page faults of the same processes.
    pub(crate) faults: f64,
}

/// CPU milliseconds and faults of all children reaped so far. We are the subreaper of everything a
/// runtime leaves behind, so nothing escapes this sum once it has been reaped.
pub(crate) fn reaped_so_far() -> Outcome<(f64, f64)> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = usage.user_time() + usage.system_time();
    let faults = usage.minor_page_faults() + usage.major_page_faults();
    Ok((milliseconds(u64::try_from(time.num_microseconds())? * 1000), number(faults)))
}

fn number(count: i64) -> f64 {
    i32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Nanoseconds as milliseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3
}

/// Takes the exit status of every orphan that has ended.
pub(crate) fn reap() {
    let any = Pid::from_raw(-1);
    while let Ok(status) = waitpid(any, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// Waits until an orphan we adopted has ended; true when it had been ours to wait for.
pub(crate) fn wait_for(pid: i32) -> bool {
    waitpid(Pid::from_raw(pid), None).is_ok()
}

/// Sets up a command as it is measured: no input, no output, an own process group (so that an
/// interrupt from the terminal reaches us alone), messages in a file (a pipe would be held open by
/// the container).
pub(crate) fn prepare(command: &mut Command, messages: &Path) -> Outcome<()> {
    check_interrupt()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(messages)?);
    command.process_group(0);
    Ok(())
}

/// Runs a command to its end and measures it.
pub(crate) fn measure(mut command: Command, messages: &Path) -> Outcome<Cost> {
    prepare(&mut command, messages)?;
    let (cpu, faults) = reaped_so_far()?;
    let start = Instant::now();
    let status = command.spawn()?.wait()?;
    let wall = start.elapsed();
    reap();
    succeed(&command, status, messages)?;
    let (cpu_after, faults_after) = reaped_so_far()?;
    Ok(Cost { wall: wall.as_secs_f64() * 1e3, cpu: cpu_after - cpu, faults: faults_after - faults })
}

/// An error with the command's own words when it failed.
pub(crate) fn succeed(command: &Command, status: ExitStatus, messages: &Path) -> Outcome<()> {
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    let _ = File::open(messages).and_then(|mut file| file.read_to_string(&mut text));
    let last = text.trim().lines().last().unwrap_or("no message").to_owned();
    Err(format!("{command:?}: {status}: {last}").into())
}

/// Waits at most `limit`; a command that takes longer is killed and gives nothing.
pub(crate) fn wait_at_most(child: &mut Child, limit: Duration) -> Outcome<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// CPU milliseconds and page faults of a process that still lives.
pub(crate) fn of_living(pid: i32) -> (f64, f64) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    // schedstat counts nanoseconds, stat only clock ticks.
    let cpu = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let stat = read("stat");
    // The name before the last ')' may hold spaces; minflt and majflt are fields 10 and 12.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    (milliseconds(cpu), field(7) + field(9))
}
