//! Running the command under ptrace with one fault.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::ground::Ground;

/// A command that takes longer hangs.
const BOUND: Duration = Duration::from_secs(20);

const CLOSE: u64 = libc::SYS_close.cast_unsigned();

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The `coracle` process, from its execve on.
    Command,
    /// The init process, from its birth on.
    Init,
}

/// What hits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL at the entry of the call.
    Kill,
    /// The call is not made and answers this error; only close is made as well.
    Errno(Errno),
    /// Every call of this number, of all processes, answers `ENOSYS`: the kernel does not have it.
    Missing(i64),
    /// Every clone3 into a cgroup answers `EINVAL`, as before Linux 5.7.
    NoCloneIntoCgroup,
}

impl Fault {
    /// It is not one call that is hit, but all of a kind.
    fn lasts(self) -> bool {
        matches!(self, Self::Missing(_) | Self::NoCloneIntoCgroup)
    }

    fn answer(self) -> Errno {
        match self {
            Self::Errno(errno) => errno,
            Self::NoCloneIntoCgroup => Errno::EINVAL,
            Self::Missing(_) | Self::Kill => Errno::ENOSYS,
        }
    }

    /// Whether the call which this process is about to make is of the kind.
    fn concerns(self, pid: Pid, number: u64) -> bool {
        match self {
            Self::Missing(missing) => u64::try_from(missing) == Ok(number),
            Self::NoCloneIntoCgroup => {
                u64::try_from(libc::SYS_clone3) == Ok(number) && clones_into_cgroup(pid)
            }
            Self::Kill => true,
            Self::Errno(_) => can_fail(number),
        }
    }
}

/// The flag is in the first word of what clone3's first argument points to.
fn clones_into_cgroup(pid: Pid) -> bool {
    const INTO_CGROUP: i64 = 0x2_0000_0000;
    let address = ptrace::getregs(pid).map_or(0, |registers| registers.rdi);
    let place = std::ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap_or(0));
    ptrace::read(pid, place).is_ok_and(|flags| flags & INTO_CGROUP != 0)
}

/// What became of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It had no such call: there was no fault.
    Untouched,
    /// It was killed, or has killed itself.
    Killed,
    /// It went on all the same.
    Succeeded,
    /// It said that it failed.
    Failed,
    /// It had to be killed after [`BOUND`].
    Hung,
}

/// The state of one traced process.
#[derive(Default)]
struct Traced {
    counts: bool,
    calls: u64,
    /// The call that it is in answers an error.
    fails: bool,
}

/// Runs `coracle` with these arguments and hits the victim at its `call`th system call; answers what
/// became of the command and which call it was.
pub(crate) fn run(
    ground: &Ground,
    args: &[&str],
    (victim, fault): (Victim, Fault),
    call: u64,
) -> (Outcome, String) {
    // Only a process that stands still can be seized before its first call.
    let script = r#"kill -STOP $$; exec "$@""#;
    #[allow(clippy::zombie_processes, reason = "the walk waits for it")]
    let child = Command::new("/bin/sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_coracle"), "--root"])
        .arg(ground.root())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(ground.said())
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
    kill(command, Signal::SIGCONT).expect("continue");
    let processes = HashMap::from([(command, Traced::default())]);
    let unannounced = Vec::new();
    let mut walk =
        Walk { command, victim, fault, call, init: None, hit: None, processes, unannounced };
    let (done, hung) = watch(command);
    let ended = walk.run();
    let _gone = done.send(());
    let hung = hung.join().expect("watch");
    let outcome = match (walk.hit, ended) {
        _ if hung => Outcome::Hung,
        (None, _) => Outcome::Untouched,
        (_, None) => Outcome::Killed,
        (_, Some(0)) => Outcome::Succeeded,
        (_, Some(_)) => Outcome::Failed,
    };
    (outcome, walk.hit.map(name).unwrap_or_default())
}

/// Kills the command when its time is up; answers whether it did.
fn watch(command: Pid) -> (Sender<()>, std::thread::JoinHandle<bool>) {
    let (done, news) = channel();
    let hung = std::thread::spawn(move || {
        let hangs = news.recv_timeout(BOUND).is_err();
        if hangs {
            let _gone = kill(command, Signal::SIGKILL);
        }
        hangs
    });
    (done, hung)
}

struct Walk {
    command: Pid,
    victim: Victim,
    fault: Fault,
    call: u64,
    init: Option<Pid>,
    /// The number of the system call that was hit.
    hit: Option<u64>,
    processes: HashMap<Pid, Traced>,
    /// Processes that have stopped for the first time before their parent has told of them.
    unannounced: Vec<Pid>,
}

impl Walk {
    /// Drives all processes until the command has ended; its status, unless a signal ended it.
    fn run(&mut self) -> Option<i32> {
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
        self.processes.remove(&self.command);
        self.let_go();
        ended
    }

    /// Frees the processes that outlive the command; they stop first so that they can be detached.
    fn let_go(&mut self) {
        for pid in std::mem::take(&mut self.unannounced) {
            self.processes.remove(&pid);
            let _gone = ptrace::detach(pid, None);
        }
        while let Some(pid) = self.processes.keys().next().copied() {
            self.processes.remove(&pid);
            let _gone = ptrace::interrupt(pid);
            let mut signal = None;
            match waitpid(pid, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => continue,
                Ok(WaitStatus::Stopped(_, sent)) => signal = Some(sent),
                // A child that is born at this moment is traced as well.
                Ok(WaitStatus::PtraceEvent(_, _, event)) if is_birth(event) => {
                    self.born(pid, event);
                }
                Ok(_) => {}
            }
            let _gone = ptrace::detach(pid, signal);
        }
    }

    fn stopped(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::PtraceSyscall(pid) => self.syscall(pid),
            WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event),
            WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
            other => panic!("an unexpected stop: {other:?}"),
        }
    }

    fn event(&mut self, pid: Pid, event: i32) {
        if event == libc::PTRACE_EVENT_STOP && !self.processes.contains_key(&pid) {
            self.unannounced.push(pid);
            return;
        }
        if event == Event::PTRACE_EVENT_EXEC as i32 && pid == self.command {
            let traced = self.processes.entry(pid).or_default();
            traced.counts = self.victim == Victim::Command || self.fault.lasts();
        }
        if is_birth(event) {
            self.born(pid, event);
        }
        go_on(pid, None);
    }

    /// A process has made another one. The init process is the first that the command gives its own
    /// memory, and what replaces it as such.
    fn born(&mut self, parent: Pid, event: i32) {
        let Ok(child) = ptrace::getevent(parent) else {
            return;
        };
        let child = Pid::from_raw(i32::try_from(child).expect("pid"));
        let shares = event == Event::PTRACE_EVENT_VFORK as i32;
        let is_init = parent == self.command && shares && self.init.is_none();
        if is_init {
            self.init = Some(child);
        }
        let counts = is_init && self.victim == Victim::Init || self.fault.lasts();
        self.processes.insert(child, Traced { counts, ..Traced::default() });
        if let Some(at) = self.unannounced.iter().position(|pid| *pid == child) {
            self.unannounced.swap_remove(at);
            go_on(child, None);
        }
    }

    /// A process enters or leaves a system call.
    fn syscall(&mut self, pid: Pid) {
        let Ok(info) = ptrace::syscall_info(pid) else {
            return;
        };
        let traced = self.processes.entry(pid).or_default();
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT && traced.fails {
            traced.fails = false;
            let answer = (-i64::from(self.fault.answer() as i32)).cast_unsigned();
            set(pid, |registers| registers.rax = answer);
        }
        if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY && traced.counts {
            let number = ptrace::getregs(pid).map_or(u64::MAX, |registers| registers.orig_rax);
            let hits = self.fault.concerns(pid, number);
            traced.calls += u64::from(hits);
            let now = traced.calls == self.call && self.hit.is_none() || self.fault.lasts();
            if hits && now {
                self.hit = Some(number);
                if self.fault == Fault::Kill {
                    let _sent = kill(pid, Signal::SIGKILL);
                    return;
                }
                traced.fails = true;
                // Linux closes the descriptor whatever close answers (close(2)).
                if number != CLOSE {
                    set(pid, |registers| registers.orig_rax = u64::MAX);
                }
            }
        }
        go_on(pid, None);
    }
}

fn is_birth(event: i32) -> bool {
    [Event::PTRACE_EVENT_VFORK, Event::PTRACE_EVENT_FORK, Event::PTRACE_EVENT_CLONE]
        .iter()
        .any(|&birth| birth as i32 == event)
}

fn go_on(pid: Pid, signal: Option<Signal>) {
    // ESRCH: it was killed while it stood.
    let _gone = ptrace::syscall(pid, signal);
}

/// Not those that never come back, nor those of which the manual says that they always succeed.
fn can_fail(number: u64) -> bool {
    let cannot = [
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_umask,
        libc::SYS_set_tid_address,
        // The C library ends the process on an answer that no kernel gives.
        libc::SYS_futex,
    ];
    !cannot.iter().any(|call| u64::try_from(*call) == Ok(number))
}

fn set(pid: Pid, change: impl FnOnce(&mut libc::user_regs_struct)) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        change(&mut registers);
        let _gone = ptrace::setregs(pid, registers);
    }
}

/// The calls in which a container is most likely to be half made, for the reader of a failure.
fn name(number: u64) -> String {
    let known = [
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_close, "close"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_brk, "brk"),
        (libc::SYS_munmap, "munmap"),
        (libc::SYS_mkdirat, "mkdirat"),
        (libc::SYS_unlinkat, "unlinkat"),
        (libc::SYS_renameat, "renameat"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_fstatfs, "fstatfs"),
        (libc::SYS_socketpair, "socketpair"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_poll, "poll"),
        (libc::SYS_clone, "clone"),
        (libc::SYS_clone3, "clone3"),
        (libc::SYS_execve, "execve"),
        (libc::SYS_execveat, "execveat"),
        (libc::SYS_waitid, "waitid"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_exit_group, "exit_group"),
        (libc::SYS_accept4, "accept4"),
    ];
    let found = known.iter().find(|(call, _)| u64::try_from(*call) == Ok(number));
    found.map_or_else(|| format!("system call {number}"), |(_, name)| (*name).to_owned())
}
