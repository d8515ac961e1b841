//! Running `create` under ptrace with one fault.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::ground::Ground;

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The `coracle` process.
    Command,
    /// The init program, once it has been executed.
    Init,
}

/// What hits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL at the entry of the call.
    Kill,
    /// The call is not made and answers `EIO`.
    Errno,
}

/// What became of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It had no such call: there was no fault.
    Untouched,
    /// It was killed.
    Killed,
    /// It went on all the same.
    Succeeded,
    /// It said that it failed.
    Failed,
}

/// The state of one traced process.
#[derive(Default)]
struct Traced {
    /// Whether it has executed the program that counts.
    counts: bool,
    calls: u64,
    inside: bool,
    /// The call that it is in answers an error.
    fails: bool,
}

/// Runs `create` and hits the victim at its `call`th system call; answers what the command said and the
/// number of the call.
pub(crate) fn create(
    ground: &Ground,
    victim: Victim,
    fault: Fault,
    call: u64,
) -> (Outcome, String) {
    let (root, bundle) = (ground.root(), ground.bundle());
    let script = r#"kill -STOP $$; exec "$@""#;
    let child = Command::new("/bin/sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_coracle"), "--root"])
        .arg(root)
        .args(["create", "--bundle"])
        .arg(bundle)
        .arg(&ground.id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    let command = Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    waitpid(command, Some(WaitPidFlag::WUNTRACED)).expect("stopped");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACECLONE;
    ptrace::seize(command, options).expect("seize");
    nix::sys::signal::kill(command, Signal::SIGCONT).expect("continue");
    let mut walk = Walk {
        command,
        victim,
        fault,
        call,
        hit: None,
        processes: HashMap::from([(command, Traced::default())]),
    };
    walk.run()
}

struct Walk {
    command: Pid,
    victim: Victim,
    fault: Fault,
    call: u64,
    /// The number of the system call that was hit.
    hit: Option<u64>,
    processes: HashMap<Pid, Traced>,
}

impl Walk {
    /// Drives all processes until the command has ended.
    fn run(&mut self) -> (Outcome, String) {
        let ended = loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(errno) => panic!("waitpid: {errno}"),
            };
            match status {
                WaitStatus::Exited(pid, code) if pid == self.command => break Some(code),
                WaitStatus::Signaled(pid, ..) if pid == self.command => break None,
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    self.processes.remove(&pid);
                }
                stopped => self.stopped(stopped),
            }
        };
        self.let_go();
        let outcome = match (self.hit, ended) {
            (None, _) => Outcome::Untouched,
            (_, None) => Outcome::Killed,
            (_, Some(0)) => Outcome::Succeeded,
            (_, Some(_)) => Outcome::Failed,
        };
        (outcome, self.hit.map(|number| format!("number {number}")).unwrap_or_default())
    }

    /// Frees the processes that outlive the command; they stop first so that they can be detached.
    fn let_go(&mut self) {
        for (pid, _) in self.processes.drain().filter(|(pid, _)| *pid != self.command) {
            let _gone = ptrace::interrupt(pid);
            if let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
                waitpid(pid, Some(WaitPidFlag::__WALL))
            {
                continue;
            }
            let _gone = ptrace::detach(pid, None);
        }
    }

    fn stopped(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::PtraceSyscall(pid) => self.syscall(pid),
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.event(pid, event);
                let _gone = ptrace::syscall(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                let pass =
                    (signal != Signal::SIGSTOP && signal != Signal::SIGTRAP).then_some(signal);
                let _gone = ptrace::syscall(pid, pass);
            }
            other => {
                if let Some(pid) = other.pid() {
                    let _gone = ptrace::syscall(pid, None);
                }
            }
        }
    }

    fn event(&mut self, pid: Pid, event: i32) {
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            let is_command = pid == self.command;
            let traced = self.processes.entry(pid).or_default();
            // The second program of the init process is the payload, which create never reaches.
            traced.counts = is_command == (self.victim == Victim::Command);
            traced.inside = true;
        }
    }

    /// A process enters or leaves a system call.
    fn syscall(&mut self, pid: Pid) {
        let (fault, call, hit) = (self.fault, self.call, self.hit);
        let traced = self.processes.entry(pid).or_default();
        traced.inside = !traced.inside;
        if traced.counts && traced.inside {
            traced.calls += 1;
            if traced.calls == call && hit.is_none() {
                let registers = ptrace::getregs(pid).ok();
                self.hit = registers.map(|registers| registers.orig_rax);
                match fault {
                    Fault::Kill => {
                        let _sent = nix::sys::signal::kill(pid, Signal::SIGKILL);
                        return;
                    }
                    Fault::Errno => {
                        traced.fails = true;
                        set(pid, |registers| registers.orig_rax = u64::MAX);
                    }
                }
            }
        } else if traced.fails && !traced.inside {
            traced.fails = false;
            set(pid, |registers| registers.rax = (-i64::from(Errno::EIO as i32)).cast_unsigned());
        }
        let _gone = ptrace::syscall(pid, None);
    }
}

fn set(pid: Pid, change: impl FnOnce(&mut nix::libc::user_regs_struct)) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        change(&mut registers);
        let _gone = ptrace::setregs(pid, registers);
    }
}
