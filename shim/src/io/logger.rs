//! Programs that read the output of a process (`binary://`).
//!
//! One gets standard output at descriptor 3, standard error at 4, and at 5 a pipe on which it says that it
//! is ready. Its environment is `CONTAINER_ID` and `CONTAINER_NAMESPACE`.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, read};

use super::Owner;
use super::ends::Pipe;
use super::target::LoggerCommand;
use crate::children::Claim;

/// How long one may take to get ready, in milliseconds.
const READY: u16 = 10_000;

/// How long it may take to read the rest, once nobody can write any more.
const GRACE: Duration = Duration::from_secs(10);

/// How long it may take after `SIGTERM`.
const TERMINATION: Duration = Duration::from_secs(2);

/// The kernel's flag of a process that ends (proc(5) on /proc/PID/stat, linux/sched.h).
const PF_EXITING: u32 = 4;

/// A logger that runs. Dropping it closes what it reads, and a thread waits for its end, which is
/// enforced after a while.
#[derive(Debug)]
pub(super) struct Logger {
    pid: Pid,
    /// Its reading ends once more: when it dies, the process blocks and is not killed.
    held: Vec<OwnedFd>,
    grace: Duration,
    /// So that nobody else reaps it.
    claim: Arc<Claim>,
}

impl Logger {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or does not get ready in 10 seconds.
    pub(super) fn start(
        command: &LoggerCommand,
        owner: &Owner,
        [stdout, stderr]: [Option<OwnedFd>; 2],
    ) -> io::Result<Self> {
        let name = command.program.display();
        let told = Pipe::new(None)?;
        let null = super::ends::null()?;
        let fds = [stdout.as_ref().unwrap_or(&null), stderr.as_ref().unwrap_or(&null), &told.write];
        let pid = spawn(command, owner, fds).map_err(|error| {
            io::Error::new(error.kind(), format!("start logger {name}: {error}"))
        })?;
        let held = stdout.into_iter().chain(stderr).collect();
        let claim = Arc::new(Claim::of_long_lived(pid.as_raw()));
        let mut logger = Self { pid, held, grace: GRACE, claim };
        drop(told.write);
        logger.wait_until_ready(&told.read, command.confirms).map_err(|error| {
            logger.grace = Duration::ZERO;
            io::Error::new(error.kind(), format!("logger {name}: {error}"))
        })?;
        Ok(logger)
    }

    fn wait_until_ready(&self, told: &OwnedFd, confirms: bool) -> io::Result<()> {
        let mut polled = [PollFd::new(told.as_fd(), PollFlags::POLLIN)];
        let ready = loop {
            match poll(&mut polled, PollTimeout::from(READY)) {
                Err(Errno::EINTR) => {}
                ready => break ready?,
            }
        };
        if ready == 0 {
            let text = "it is not ready after 10 seconds (it has to close descriptor 5)";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        if read(told, &mut [0])? == 1 {
            return Ok(());
        }
        if confirms {
            return Err(io::Error::other("it closed descriptor 5 without writing a byte to it"));
        }
        let flags = if is_ending(self.pid) { None } else { Some(WaitPidFlag::WNOHANG) };
        match waitpid(self.pid, flags) {
            Ok(WaitStatus::Exited(_, status)) if status != 0 => {
                Err(io::Error::other(format!("it ended with status {status}")))
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                Err(io::Error::other(format!("it was killed by {signal}")))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.held.clear();
        let (pid, grace) = (self.pid, self.grace);
        let own = Arc::clone(&self.claim);
        let waiter = thread::Builder::new()
            .name("logger".to_owned())
            .stack_size(64 << 10)
            .spawn(move || finish(pid, grace, &own));
        if waiter.is_err() {
            let _ = self.claim.unless_reaped(|| kill(pid, Signal::SIGTERM));
        }
    }
}

/// Whether the process has begun to end: its descriptors are closed a moment before it can be reaped.
fn is_ending(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(6));
    flags.and_then(|flags| flags.parse().ok()).is_some_and(|flags: u32| flags & PF_EXITING != 0)
}

/// Waits for the end of a logger whose input is closed, and enforces it.
fn finish(pid: Pid, grace: Duration, claim: &Claim) {
    if ended_within(pid, grace, claim) {
        return;
    }
    let _ = claim.unless_reaped(|| kill(pid, Signal::SIGTERM));
    if ended_within(pid, TERMINATION, claim) {
        return;
    }
    let _ = claim.unless_reaped(|| kill(pid, Signal::SIGKILL));
    let _ = ended_within(pid, TERMINATION, claim);
}

/// Whether the child ends in time. There is no descriptor to wait for: neither nix nor the standard
/// library makes a pidfd, and this is rare.
fn ended_within(pid: Pid, time: Duration, claim: &Claim) -> bool {
    let end = Instant::now() + time;
    let mut pause = Duration::from_millis(1);
    loop {
        match claim.unless_reaped(|| waitpid(pid, Some(WaitPidFlag::WNOHANG))) {
            Some(Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)) => {}
            _ => return true,
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn spawn(command: &LoggerCommand, owner: &Owner, fds: [&OwnedFd; 3]) -> io::Result<Pid> {
    let mut arguments = vec![CString::new(command.program.as_os_str().as_bytes())?];
    for word in &command.arguments {
        arguments.push(CString::new(word.as_slice())?);
    }
    let environment = [
        CString::new(format!("CONTAINER_ID={}", owner.container))?,
        CString::new(format!("CONTAINER_NAMESPACE={}", owner.namespace))?,
    ];
    let mut attributes = PosixSpawnAttr::init()?;
    // The shim ignores SIGPIPE, and may block signals that it reads from a descriptor.
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    let actions = descriptors(fds)?;
    Ok(posix_spawn(&command.program, &actions, &attributes, &arguments, &environment)?)
}

/// `/dev/null` at 0 to 2 and these from 3 on. They are moved out of each other's way first.
fn descriptors(fds: [&OwnedFd; 3]) -> io::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    let numbers = fds.map(|fd| fd.as_raw_fd());
    let above = numbers.into_iter().fold(5, i32::max) + 1;
    for (from, to) in numbers.into_iter().zip(above..) {
        actions.add_dup2(from, to)?;
    }
    for number in 0..3 {
        actions.add_open(number, "/dev/null", OFlag::O_RDWR, Mode::empty())?;
    }
    for (from, to) in (above..).zip(3..6) {
        actions.add_dup2(from, to)?;
        actions.add_close(from)?;
    }
    Ok(actions)
}
