//! The ptrace loop.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::io::IoSliceMut;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Outcome;
use crate::host::check_interrupt;
use crate::measure::prepare;

/// When the program has ended, its remaining processes are watched until all were quiet so long.
const QUIET: Duration = Duration::from_millis(100);

/// The longest text that is read from a traced process.
const LONGEST: usize = 96;

/// One system call of one thread.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) pid: i32,
    pub(crate) number: u64,
    /// Strings among the first arguments, to tell calls apart.
    pub(crate) text: String,
    /// Time since the program began.
    pub(crate) entry: Duration,
    /// None for a call that has not returned.
    pub(crate) exit: Option<Duration>,
}

/// All calls in the order of their entry.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    /// The first process.
    pub(crate) root: i32,
}

#[derive(Debug)]
struct Tracer {
    trace: Trace,
    start: Option<Instant>,
    living: BTreeSet<i32>,
    /// The call that a thread is in.
    inside: BTreeMap<i32, usize>,
    status: Option<i32>,
}

/// Runs a program under ptrace. It counts from the program's own execve on; what is still alive and
/// waiting when the program has ended (a created container) is let go unharmed.
pub(crate) fn trace(words: &[OsString], messages: &Path) -> Outcome<Trace> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("stop-then-execute").arg("--").args(words);
    prepare(&mut command, messages)?;
    let root = i32::try_from(command.spawn()?.id())?;
    waitpid(Pid::from_raw(root), Some(WaitPidFlag::WUNTRACED))?;
    let follow = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESYSGOOD;
    ptrace::seize(Pid::from_raw(root), follow)?;
    kill(Pid::from_raw(root), Signal::SIGCONT)?;
    let mut tracer = Tracer {
        trace: Trace { calls: Vec::new(), root },
        start: None,
        living: BTreeSet::from([root]),
        inside: BTreeMap::new(),
        status: None,
    };
    let outcome = tracer.follow();
    tracer.let_go();
    outcome?;
    match tracer.status {
        Some(0) => Ok(tracer.trace),
        Some(code) => {
            let text = std::fs::read_to_string(messages).unwrap_or_default();
            Err(format!("{words:?} ended with {code}: {}", text.trim()).into())
        }
        None => Err(format!("{words:?} did not end").into()),
    }
}

impl Tracer {
    /// Handles stops until the program has ended and its processes are quiet.
    fn follow(&mut self) -> Outcome<()> {
        let mut last = Instant::now();
        while !self.living.is_empty() {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) if self.status.is_some() && last.elapsed() > QUIET => {
                    break;
                }
                Ok(WaitStatus::StillAlive) => {
                    check_interrupt()?;
                    // A sleep takes longer than most calls; only long waits are slept through.
                    if last.elapsed() < Duration::from_millis(2) {
                        thread::yield_now();
                    } else {
                        thread::sleep(Duration::from_micros(100));
                    }
                }
                Ok(status) => {
                    last = Instant::now();
                    self.handle(status)?;
                }
                Err(Errno::ECHILD) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn handle(&mut self, status: WaitStatus) -> Outcome<()> {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, code),
            WaitStatus::Signaled(pid, signal, _) => self.ended(pid, 128 + signal as i32),
            WaitStatus::PtraceSyscall(pid) => {
                self.boundary(pid)?;
                resume(pid, None)?;
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.event(pid, event)?;
                resume(pid, None)?;
            }
            WaitStatus::Stopped(pid, signal) => {
                self.living.insert(pid.as_raw());
                resume(pid, Some(signal))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn ended(&mut self, pid: Pid, code: i32) {
        self.living.remove(&pid.as_raw());
        self.inside.remove(&pid.as_raw());
        if pid.as_raw() == self.trace.root {
            self.status = Some(code);
        }
    }

    fn event(&mut self, pid: Pid, event: i32) -> Outcome<()> {
        self.living.insert(pid.as_raw());
        let births =
            [Event::PTRACE_EVENT_FORK, Event::PTRACE_EVENT_VFORK, Event::PTRACE_EVENT_CLONE];
        if births.iter().any(|birth| event == *birth as i32) {
            // Known from here on, so that nobody stops watching before its own first stop.
            self.living.insert(i32::try_from(ptrace::getevent(pid)?)?);
        }
        if event != Event::PTRACE_EVENT_EXEC as i32 {
            return Ok(());
        }
        if self.start.is_none() {
            self.start = Some(Instant::now());
            self.enter(pid, u64::try_from(libc::SYS_execve)?, String::new());
            return Ok(());
        }
        // When a thread that is not the leader executes a program, it takes the leader's id.
        let former = i32::try_from(ptrace::getevent(pid)?)?;
        if former != pid.as_raw() {
            self.living.remove(&former);
            if let Some(call) = self.inside.remove(&former) {
                self.inside.insert(pid.as_raw(), call);
            }
        }
        Ok(())
    }

    /// The entry to a call or the return from it, which alternate in each thread.
    fn boundary(&mut self, pid: Pid) -> Outcome<()> {
        self.living.insert(pid.as_raw());
        let Some(start) = self.start else {
            return Ok(());
        };
        if let Some(call) = self.inside.remove(&pid.as_raw()) {
            if let Some(call) = self.trace.calls.get_mut(call) {
                call.exit = Some(start.elapsed());
            }
            return Ok(());
        }
        match ptrace::getregs(pid) {
            Ok(registers) => {
                let (number, arguments) = decode(&registers);
                self.enter(pid, number, strings(pid, number, &arguments));
                Ok(())
            }
            Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn enter(&mut self, pid: Pid, number: u64, text: String) {
        let entry = self.start.map_or(Duration::ZERO, |start| start.elapsed());
        self.inside.insert(pid.as_raw(), self.trace.calls.len());
        self.trace.calls.push(Call { pid: pid.as_raw(), number, text, entry, exit: None });
    }

    /// Detaches from everything that still lives; only a stopped process can be detached.
    fn let_go(&mut self) {
        for pid in self.living.iter().map(|pid| Pid::from_raw(*pid)) {
            if ptrace::interrupt(pid).is_ok() {
                let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
                let _ = ptrace::detach(pid, None);
            }
        }
        self.living.clear();
    }
}

/// Continues to the next boundary; a process killed meanwhile is no error.
fn resume(pid: Pid, signal: Option<Signal>) -> Outcome<()> {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(target_arch = "x86_64")]
fn decode(registers: &user_regs_struct) -> (u64, [u64; 3]) {
    (registers.orig_rax, [registers.rdi, registers.rsi, registers.rdx])
}

#[cfg(target_arch = "aarch64")]
fn decode(registers: &user_regs_struct) -> (u64, [u64; 3]) {
    let [first, second, third, ..] = registers.regs;
    (registers.regs[8], [first, second, third])
}

/// The arguments that point to printable text which the call reads.
fn strings(pid: Pid, number: u64, arguments: &[u64; 3]) -> String {
    let is = |known: libc::c_long| u64::try_from(known) == Ok(number);
    if is(libc::SYS_read) || is(libc::SYS_mmap) || is(libc::SYS_close) || is(libc::SYS_munmap) {
        return String::new();
    }
    let address = |value: u64| usize::try_from(value).unwrap_or(0);
    let [first, second, third] = arguments.map(address);
    if is(libc::SYS_write) {
        return string(pid, second, third).unwrap_or_default();
    }
    let texts = [first, second, third].into_iter().filter_map(|base| string(pid, base, LONGEST));
    texts.collect::<Vec<_>>().join(" ")
}

fn string(pid: Pid, base: usize, most: usize) -> Option<String> {
    if base < 4096 {
        return None;
    }
    let mut buffer = [0_u8; LONGEST];
    // Not beyond the page, which may be the last one.
    let length = (4096 - base % 4096).min(most).min(LONGEST);
    let place = buffer.get_mut(..length)?;
    let remote = [RemoteIoVec { base, len: length }];
    let length = process_vm_readv(pid, &mut [IoSliceMut::new(place)], &remote).ok()?;
    let bytes = buffer.get(..length)?.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let is_text = text.len() > 1 && text.chars().all(|character| !character.is_control());
    is_text.then(|| text.to_owned())
}
