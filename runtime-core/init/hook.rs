//! Hooks that run in the container's namespaces.

use core::ffi::CStr;

use crate::abi::{ETIMEDOUT, POLLHUP, POLLIN, SIGKILL};
use crate::init::Init;
use crate::mount::enter;
use crate::program::{List, Op};
use crate::report::{Attempt as _, Failure, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// A hook as [`crate::program::Step::RunHook`] describes it.
pub struct Hook {
    pub path: &'static CStr,
    pub args: List<'static>,
    pub env: List<'static>,
    pub timeout_ms: u64,
    pub state_head: &'static [u8],
    pub state_tail: &'static [u8],
    pub outside: bool,
}

/// The exit status of a hook that could not be executed, as shells have it.
const NOT_EXECUTED: i32 = 127;

impl Init {
    #[inline(never)]
    pub fn run_hook(&mut self, hook: &Hook) -> Result {
        let state = hook_state(hook).about(Op::Memfd, hook.path)?;
        let output = sys::memfd(c"output").about(Op::Memfd, hook.path)?;
        let vectors = self.vectors(hook.args, hook.env, None)?;
        // Shared with the child, for the error of its execve.
        let shared = sys::map_memory(1, true).during(Op::Map)?;
        let (pid, pidfd) = sys::fork(false).about(Op::Clone, hook.path)?;
        if pid == 0 {
            let failure = self.become_hook(hook, [state, output], vectors);
            if let Some(word) = shared.first_mut() {
                *word = usize::try_from(failure.errno()).unwrap_or(0);
            }
            sys::exit(NOT_EXECUTED);
        }
        let ended =
            self.await_hook(hook, pidfd).and_then(|()| sys::wait(pid).about(Op::Hook, hook.path));
        let status = ended.map_err(|failure| {
            // The child makes its group before it executes anything; until then it is alone.
            sys::kill(-pid, SIGKILL);
            sys::kill(pid, SIGKILL);
            let _ = sys::wait(pid);
            if self.library_is_gone() {
                sys::exit(1);
            }
            failure.with_file(output)
        })?;
        // Written by the other process: not to be remembered from before.
        // SAFETY: a live mapping.
        let errno = shared.first().map_or(0, |word| unsafe { (&raw const *word).read_volatile() });
        sys::close(pidfd);
        sys::close(state);
        if status == 0 {
            sys::close(output);
            return Ok(());
        }
        let failure = Err(Errno(i32::try_from(errno).unwrap_or(0))).about(Op::Hook, hook.path);
        failure.map_err(|failure| {
            failure.with_detail(u64::from(status.cast_unsigned())).with_file(output)
        })
    }

    /// Waits for the hook's end, while its time lasts and the library is there.
    fn await_hook(&self, hook: &Hook, pidfd: Fd) -> Result {
        let bound = Some(hook.timeout_ms).filter(|&time| time > 0);
        // Of the socket only the other end's closing is of interest.
        let ready = sys::poll([(pidfd, POLLIN), (self.channel, 0)], bound);
        match ready.about(Op::Hook, hook.path)? {
            [0, _] => Err(Errno(ETIMEDOUT)).about(Op::HookTimeout, hook.path),
            _ => Ok(()),
        }
    }

    fn library_is_gone(&self) -> bool {
        let ready = sys::poll([(-1, 0), (self.channel, 0)], Some(0));
        ready.is_ok_and(|[_, gone]| gone & POLLHUP != 0)
    }

    /// In the child: executes the hook; returns only if that failed.
    fn become_hook(&self, hook: &Hook, [state, output]: [Fd; 2], vectors: sys::Vectors) -> Failure {
        match self.prepare_hook(hook, [state, output]) {
            Ok(()) => {
                let Errno(errno) = sys::execve(hook.path, vectors);
                Failure::new(Op::Execute, errno)
            }
            Err(failure) => failure,
        }
    }

    fn prepare_hook(&self, hook: &Hook, [state, output]: [Fd; 2]) -> Result {
        sys::setsid().during(Op::Session)?;
        if hook.outside && self.outside >= 0 {
            enter(self.outside)?;
            sys::fchdir(self.tree).during(Op::Chdir)?;
        } else {
            let root = sys::open(c"/", crate::abi::O_PATH).during(Op::Open)?;
            sys::fchdir(root).during(Op::Chdir)?;
        }
        sys::dup3(state, 0).during(Op::Duplicate)?;
        sys::dup3(output, 1).during(Op::Duplicate)?;
        sys::dup3(output, 2).during(Op::Duplicate)?;
        sys::close_range(3, u32::MAX, 0).during(Op::CloseRange)?;
        Ok(())
    }
}

/// A memory file with the state, to be read from its start.
#[inline(never)]
fn hook_state(hook: &Hook) -> sys::Result<Fd> {
    let fd = sys::memfd(c"state")?;
    let mut pid = Text::new();
    pid.push_number(sys::getpid().unsigned_abs())?;
    let parts = [hook.state_head, pid.as_bytes(), hook.state_tail];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if sys::write_parts(fd, &parts)? != length {
        return Err(Errno(crate::abi::EINVAL));
    }
    Ok(fd)
}
