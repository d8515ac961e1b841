//! Hooks that run in the runtime's own namespaces (runtime-spec, config.md "POSIX-platform Hooks").

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::Hook;
use crate::sys::{pidfd, process};

/// How much of a failed hook's output goes into the error.
const TAIL: u64 = 4096;

/// What hooks of one kind are run with.
#[derive(Debug)]
pub(crate) struct Environment<'a> {
    /// Their kind as the configuration spells it: `createRuntime`.
    pub(crate) kind: &'a str,
    /// The container's state, for standard input.
    pub(crate) state: &'a [u8],
    /// Their working directory; the root directory if it is gone.
    pub(crate) bundle: &'a Path,
}

impl Environment<'_> {
    /// Runs the hooks in order and stops at the first that fails. `started` is told of each process.
    ///
    /// A hook gets exactly the environment of its configuration and leads a process group of its own, which
    /// is killed as a whole when its time is up.
    ///
    /// # Errors
    /// [`ErrorKind::Hook`] with the end of the hook's output, or what `started` answers.
    pub(crate) fn run(
        &self,
        hooks: &[Hook],
        started: &mut dyn FnMut(i32, BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut numbered = hooks.iter().enumerate();
        numbered.try_for_each(|(index, hook)| self.run_at(index, hook, started))
    }

    /// Runs one hook, the one at `index` of its kind.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_at(
        &self,
        index: usize,
        hook: &Hook,
        started: &mut dyn FnMut(i32, BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        self.run_one(hook, started)
            .map_err(|error| error.with_field(format!("hooks.{}[{index}]", self.kind)))
    }

    /// The bundle; by the time of the poststop hooks it may be removed already.
    fn directory(&self) -> &Path {
        if self.bundle.is_dir() { self.bundle } else { Path::new("/") }
    }

    fn run_one(
        &self,
        hook: &Hook,
        started: &mut dyn FnMut(i32, BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let output = memory("hook-output")?;
        let mut input = memory("hook-state")?;
        input.write_all(self.state).attempt("write the state for a hook")?;
        input.rewind().attempt("rewind the state for a hook")?;
        let mut command = Command::new(&hook.path);
        command
            .current_dir(self.directory())
            .process_group(0)
            .stdin(input)
            .stdout(output.try_clone().attempt("duplicate a descriptor")?)
            .stderr(output.try_clone().attempt("duplicate a descriptor")?);
        process::keep_to_itself(&mut command);
        let (mut child, pidfd) = begin(command, hook, started)?;
        let how = match supervise(&mut child, pidfd.as_fd(), hook)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => ending(status),
            None => {
                format!("killed after its timeout of {} s", hook.timeout.unwrap_or_default())
            }
        };
        Err(failed(hook, &format!("{how}{}", tail(&output))))
    }
}

/// The arguments of a hook: without any, its path stands for its name.
fn arguments(hook: &Hook) -> Cow<'_, [String]> {
    if hook.args.is_empty() {
        Cow::Owned(vec![hook.path.to_string_lossy().into_owned()])
    } else {
        Cow::Borrowed(&hook.args)
    }
}

fn memory(name: &str) -> Result<File> {
    let fd: OwnedFd = memfd_create(name, MFdFlags::MFD_CLOEXEC).attempt("memfd_create")?;
    Ok(File::from(fd))
}

/// Starts the hook, which executes nothing before `started` has recorded it: whatever kills this process,
/// no hook runs that a deletion would not find.
fn begin(
    mut command: Command,
    hook: &Hook,
    started: &mut dyn FnMut(i32, BorrowedFd<'_>) -> Result<()>,
) -> Result<(Child, OwnedFd)> {
    let (mut ours, theirs) = UnixStream::pair().attempt("make a pair of sockets")?;
    process::await_leave(&mut command, theirs, ours.as_raw_fd());
    let exact = (&*arguments(hook), hook.env.as_deref().unwrap_or_default());
    process::execute_exactly(&mut command, hook.path.as_os_str().as_bytes(), exact)
        .map_err(|source| unspawned(hook, &source))?;
    std::thread::scope(|scope| {
        // It returns only after the execve; with the command it drops the last copy of the other end.
        let spawn = move || command.spawn();
        let spawned = std::thread::Builder::new()
            .spawn_scoped(scope, spawn)
            .attempt("start a thread for a hook")?;
        let mut pid = [0; 4];
        let recorded = match ours.read_exact(&mut pid) {
            Ok(()) => {
                let pid = i32::from_ne_bytes(pid);
                pidfd::open(pid).attempt("pidfd_open").and_then(|pidfd| {
                    started(pid, pidfd.as_fd())?;
                    // A write would kill a program that leaves SIGPIPE at its default.
                    send(ours.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL)
                        .attempt("release a hook")?;
                    Ok(Some(pidfd))
                })
            }
            Err(_) => Ok(None),
        };
        drop(ours);
        let spawned = spawned.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        match (recorded, spawned) {
            (Ok(Some(pidfd)), Ok(child)) => Ok((child, pidfd)),
            (recorded, Ok(mut child)) => {
                // Killed before it was released; to the standard library its end looks like an execve.
                let _gone = child.kill();
                let _reaped = child.wait();
                recorded.and_then(|_none| Err(failed(hook, "was killed")))
            }
            (Err(error), Err(_)) => Err(error),
            (Ok(_), Err(source)) => Err(unspawned(hook, &source)),
        }
    })
}

fn unspawned(hook: &Hook, source: &std::io::Error) -> Error {
    match source.raw_os_error() {
        Some(errno) => failed(hook, "cannot be run").with_errno(errno),
        None => failed(hook, &format!("cannot be run: {source}")),
    }
}

/// Waits for the hook within its time, and answers `None` when that was up; whatever happens, its
/// process is reaped.
fn supervise(child: &mut Child, pidfd: BorrowedFd<'_>, hook: &Hook) -> Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let timeout = hook.timeout.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let outcome = pidfd::ended_within(pidfd, timeout).attempt("wait for a hook");
    if !matches!(outcome, Ok(true)) {
        let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        // It may have moved to another group.
        let _gone = pidfd::send_signal(pidfd, libc::SIGKILL);
    }
    let status = child.wait().attempt("wait for a hook")?;
    outcome.map(|ended| ended.then_some(status))
}

fn failed(hook: &Hook, how: &str) -> Error {
    Error::new(ErrorKind::Hook, format!("hook {} {how}", hook.path.display()))
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// The end of a hook's output, for the error message.
pub(crate) fn tail(output: &File) -> String {
    let length = output.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(length - start).unwrap_or_default()];
    if output.read_exact_at(&mut bytes, start).is_err() || bytes.is_empty() {
        return String::new();
    }
    format!(", its output: {}", String::from_utf8_lossy(&bytes).trim_end())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn hook(script: &str, timeout: Option<u32>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: Some(vec!["A=b".to_owned()]),
            timeout,
        }
    }

    fn run(hooks: &[Hook]) -> Result<()> {
        Environment { kind: "createRuntime", state: b"{\"pid\":7}", bundle: Path::new("/usr") }
            .run(hooks, &mut |_, _| Ok(()))
    }

    #[test]
    fn a_hook_sees_its_state_environment_and_directory() {
        let script = r#"test "$(cat)" = '{"pid":7}' && test "$A" = b && test "$PWD" = /usr"#;
        run(&[hook(script, None)]).expect("hook");
    }

    #[test]
    fn a_failure_names_the_field_and_shows_the_output() {
        let error =
            run(&[hook("true", None), hook("echo why >&2; exit 3", None)]).expect_err("hook");
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert_eq!(
            error.to_string(),
            "hooks.createRuntime[1]: hook /bin/sh failed with exit status 3, its output: why"
        );
    }

    #[test]
    fn a_missing_program_is_named_once_and_a_missing_bundle_is_no_reason_to_fail() {
        let missing = Hook { path: "/no/such".into(), ..hook("true", None) };
        let error = run(&[missing]).expect_err("hook");
        let text = "hooks.createRuntime[0]: hook /no/such cannot be run: no such file or directory";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.errno(), Some(libc::ENOENT));
        Environment { kind: "poststop", state: b"", bundle: Path::new("/no/such/bundle") }
            .run(&[hook("test \"$PWD\" = /", None)], &mut |_, _| Ok(()))
            .expect("hook");
    }

    #[test]
    fn a_hook_that_is_killed_before_its_release_is_reaped_and_runs_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let mark = directory.path().join("mark");
        let script = format!("touch {}", mark.display());
        let mut started = None;
        let error = Environment { kind: "createRuntime", state: b"", bundle: Path::new("/") }
            .run(&[hook(&script, None)], &mut |pid, pidfd| {
                started = Some(pid);
                pidfd::send_signal(pidfd, libc::SIGKILL).attempt("kill")?;
                pidfd::ended_within(pidfd, None).attempt("wait").map(drop)
            })
            .expect_err("killed");
        // Which of the two depends on whether the spawning thread has let go of the socket yet.
        let text = error.to_string();
        assert!(text.contains("release a hook") || text.contains("killed by signal 9"), "{text}");
        assert!(!mark.exists());
        let gone = pidfd::open(started.expect("a process")).expect_err("reaped");
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn the_environment_is_given_as_it_is() {
        let env = ["Z=1", "A=2", "odd", "A=3"].map(str::to_owned).to_vec();
        let hook = Hook {
            path: "/bin/cat".into(),
            args: ["cat", "/proc/self/environ", "/no/such"].map(str::to_owned).to_vec(),
            env: Some(env),
            timeout: None,
        };
        let error = run(&[hook]).expect_err("cat fails");
        assert!(error.to_string().contains("its output: Z=1\0A=2\0odd\0A=3\0"), "{error:?}");
    }

    #[test]
    fn the_whole_group_is_killed_when_the_time_is_up() {
        let start = Instant::now();
        let script = "echo here; sleep 50 & sleep 60";
        let error = run(&[hook(script, Some(1))]).expect_err("timeout");
        assert!(error.to_string().contains("timeout of 1 s, its output: here"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
