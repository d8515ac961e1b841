//! Calls of the runtime, each with a time limit.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Check, broken, ensure};
use crate::leftovers;
use crate::trial::Trial;

/// The time limit of a call.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A call that is not made yet.
#[must_use]
pub(crate) struct Call<'t> {
    trial: &'t Trial,
    program: PathBuf,
    args: Vec<OsString>,
    globals: Vec<OsString>,
    shell: Option<String>,
    env: Option<Vec<(String, String)>>,
    cwd: Option<PathBuf>,
    stdin: Stdio,
    terminal: Option<[OwnedFd; 2]>,
    limit: Duration,
    reaps: bool,
}

/// A call that was started.
pub(crate) struct Running<'t> {
    trial: &'t Trial,
    child: Child,
    line: String,
    out: PathBuf,
    err: PathBuf,
    end: Instant,
    reaps: bool,
}

/// What a call did.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// The command line.
    pub(crate) line: String,
    /// Exit status, or 128 and the number of the signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// The file behind standard output: a detached container goes on writing there.
    pub(crate) stdout_file: PathBuf,
}

fn globals(trial: &Trial) -> Vec<OsString> {
    let mut globals = vec!["--root".into(), trial.state_root().into()];
    globals.extend(trial.host.systemd.is_some().then(|| "--systemd-cgroup".into()));
    globals
}

impl<'t> Call<'t> {
    /// A call with these arguments after `--root`.
    pub(crate) fn new<A: Into<OsString>>(
        trial: &'t Trial,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            trial,
            program: trial.runtime().to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            globals: globals(trial),
            shell: None,
            env: None,
            cwd: None,
            stdin: Stdio::null(),
            terminal: None,
            limit: LIMIT,
            reaps: true,
        }
    }

    /// Calls another file than the runtime, usually a copy of it.
    pub(crate) fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// Adds global options before the command.
    pub(crate) fn globals<A: Into<OsString>>(
        mut self,
        globals: impl IntoIterator<Item = A>,
    ) -> Self {
        self.globals.extend(globals.into_iter().map(Into::into));
        self
    }

    /// Runs shell text first in the process that becomes the runtime (`exec 3<file`, `umask`).
    pub(crate) fn shell(mut self, text: impl Into<String>) -> Self {
        self.shell = Some(text.into());
        self
    }

    /// Replaces the environment.
    pub(crate) fn env(mut self, env: &[(&str, &str)]) -> Self {
        self.env = Some(env.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
        self
    }

    /// Sets the working directory of the runtime.
    pub(crate) fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Gives bytes on standard input.
    ///
    /// # Errors
    /// The file behind it cannot be written.
    pub(crate) fn stdin(mut self, text: &str) -> Check<Self> {
        let path = self.trial.new_path("stdin");
        fs::write(&path, text)?;
        self.stdin = File::open(path)?.into();
        Ok(self)
    }

    /// Uses a terminal for standard input and output.
    pub(crate) fn terminal(mut self, input: OwnedFd, output: OwnedFd) -> Self {
        self.terminal = Some([input, output]);
        self
    }

    /// Leaves what ends meanwhile to be reaped afterwards: a runtime can ask only zombies who they were.
    pub(crate) const fn unreaped(mut self) -> Self {
        self.reaps = false;
        self
    }

    /// Sets the time limit.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(self) -> Check<Running<'t>> {
        let runtime = &self.program;
        let mut command = match &self.shell {
            None => Command::new(runtime),
            Some(text) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("{text}; exec \"$@\""), "sh"]).arg(runtime);
                shell
            }
        };
        command.args(&self.globals).args(&self.args).process_group(0);
        let words: Vec<_> = self
            .globals
            .iter()
            .skip(2)
            .chain(&self.args)
            .map(|word| word.to_string_lossy())
            .collect();
        let line = words.join(" ");
        if let Some(env) = &self.env {
            command.env_clear().envs(env.iter().map(|(key, value)| (key, value)));
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        let (out, err) = (self.trial.new_path("out"), self.trial.new_path("err"));
        let open = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path);
        command.stderr(open(&err)?);
        match self.terminal {
            Some([input, output]) => command.stdin(input).stdout(output),
            None => command.stdin(self.stdin).stdout(open(&out)?),
        };
        let child = self.trial.spawn(&mut command)?;
        Ok(Running {
            trial: self.trial,
            child,
            line,
            out,
            err,
            end: Instant::now() + self.limit,
            reaps: self.reaps,
        })
    }

    /// Starts the runtime and waits for its end.
    ///
    /// # Errors
    /// It cannot be started, or it hangs.
    pub(crate) fn run(self) -> Check<Output> {
        self.spawn()?.wait()
    }
}

impl Running<'_> {
    /// Process id of the runtime.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What was printed so far.
    pub(crate) fn stdout(&self) -> String {
        read_lossy(&self.out)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The call takes longer than its limit: it is killed.
    pub(crate) fn wait(mut self) -> Check<Output> {
        let mut pause = Duration::from_micros(300);
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > self.end {
                leftovers::kill_tree(self.child.id());
                let _ = self.child.kill();
                let _ = self.child.wait();
                self.trial.disown(self.child.id());
                self.trial.tell(format!("{}: hangs", self.line));
                return broken(format!("`{}` hangs; stderr: {}", self.line, read_lossy(&self.err)));
            }
            if self.reaps {
                self.trial.reap();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        self.trial.disown(self.child.id());
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let output = Output {
            line: self.line,
            code,
            stdout: read_lossy(&self.out),
            stderr: read_lossy(&self.err),
            stdout_file: self.out,
        };
        self.trial.tell(format!("{} -> {code} {}", output.line, output.stderr.trim()));
        Ok(output)
    }
}

impl Output {
    /// The call succeeded.
    ///
    /// # Errors
    /// It did not.
    pub(crate) fn ok(self) -> Check<Self> {
        self.code(0)
    }

    /// The call ended with this status.
    ///
    /// # Errors
    /// It ended with another one.
    pub(crate) fn code(self, wanted: i32) -> Check<Self> {
        ensure(
            self.code == wanted,
            format!("`{}`: exit status {}, wanted {wanted}: {}", self.line, self.code, self.stderr),
        )?;
        Ok(self)
    }

    /// The call failed, and not by a signal.
    ///
    /// # Errors
    /// It succeeded or crashed.
    pub(crate) fn fails(self) -> Check<Self> {
        ensure(self.code != 0, format!("`{}` succeeds, but must fail", self.line))?;
        ensure(self.code != 139 && self.code != 134, format!("`{}` crashed", self.line))?;
        Ok(self)
    }

    /// The call failed and said one of these words (`a|b`) on standard error, in any case; an empty
    /// word stands for anything, but not for silence.
    ///
    /// # Errors
    /// It succeeded, crashed, or said something else.
    pub(crate) fn fails_with(self, part: &str) -> Check<Self> {
        let output = self.fails()?;
        let said = output.stderr.to_lowercase();
        ensure(
            !said.trim().is_empty()
                && part.to_lowercase().split('|').any(|word| said.contains(word)),
            format!("`{}`: {part:?} is missing in {:?}", output.line, output.stderr),
        )?;
        Ok(output)
    }

    /// The program said `alive`, or the call failed with a word; nothing in between.
    ///
    /// # Errors
    /// A crash, silence, or a success without the program.
    pub(crate) fn ran_or_refused(&self) -> Check {
        let good = match self.code {
            0 => self.stdout.contains("alive"),
            code => code < 128 && !self.stderr.trim().is_empty(),
        };
        ensure(good, format!("`{}`: exit status {}, {:?}", self.line, self.code, self.stdout))
    }

    /// The standard output as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub(crate) fn json(&self) -> Check<Value> {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => Ok(value),
            Err(error) => broken(format!("`{}`: {error}: {:?}", self.line, self.stdout)),
        }
    }
}

/// The content of a file that may hold any bytes.
pub(crate) fn read_lossy(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
