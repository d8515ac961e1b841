//! A container that exists.

use std::path::PathBuf;

use serde_json::Value;

use crate::bundle::Answers;
use crate::call::{Call, Output, read_lossy};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value;

/// A container that `create` or `run` made.
#[derive(Debug)]
pub(crate) struct Container<'t> {
    pub(crate) trial: &'t Trial,
    /// Its id.
    pub(crate) id: String,
    /// Its bundle.
    pub(crate) bundle: PathBuf,
    output: PathBuf,
}

impl<'t> Container<'t> {
    /// A container whose first process writes to `output`.
    pub(crate) fn new(trial: &'t Trial, id: String, bundle: PathBuf, output: PathBuf) -> Self {
        Self { trial, id, bundle, output }
    }

    /// A call with this command, options and the id at the end.
    pub(crate) fn call(&self, words: &[&str]) -> Call<'t> {
        let mut args = words.to_vec();
        args.push(&self.id);
        Call::new(self.trial, args)
    }

    /// `start`.
    ///
    /// # Errors
    /// The call hangs.
    pub(crate) fn start(&self) -> Check<Output> {
        self.call(&["start"]).run()
    }

    /// `kill` with a signal.
    ///
    /// # Errors
    /// The call hangs.
    pub(crate) fn kill(&self, signal: &str) -> Check<Output> {
        self.trial.run(&["kill", &self.id, signal])
    }

    /// `delete`.
    ///
    /// # Errors
    /// The call hangs.
    pub(crate) fn delete(&self) -> Check<Output> {
        let output = self.call(&["delete"]).run()?;
        if output.code == 0 {
            self.trial.gone(&self.id);
        }
        Ok(output)
    }

    /// `delete --force`.
    ///
    /// # Errors
    /// The call hangs.
    pub(crate) fn delete_force(&self) -> Check<Output> {
        let output = self.call(&["delete", "--force"]).run()?;
        if output.code == 0 {
            self.trial.gone(&self.id);
        }
        Ok(output)
    }

    /// `state`, as JSON.
    ///
    /// # Errors
    /// The call fails or prints something else.
    pub(crate) fn state(&self) -> Check<Value> {
        self.call(&["state"]).run()?.ok()?.json()
    }

    /// The status in `state`.
    ///
    /// # Errors
    /// As `state`.
    pub(crate) fn status(&self) -> Check<String> {
        Ok(value::text(&self.state()?, "/status")?.to_owned())
    }

    /// The status is this one.
    ///
    /// # Errors
    /// It is another one.
    pub(crate) fn is(&self, status: &str) -> Check {
        value::equal("status", &self.status()?, status)
    }

    /// The process id in `state`.
    ///
    /// # Errors
    /// As `state`.
    pub(crate) fn pid(&self) -> Check<i64> {
        let pid = value::number(&self.state()?, "/pid")?;
        ensure(pid > 0, format!("pid {pid} in the state"))?;
        Ok(pid)
    }

    /// What the container's first process printed so far.
    pub(crate) fn stdout(&self) -> String {
        read_lossy(&self.output)
    }

    /// Waits until the output contains `part`.
    ///
    /// # Errors
    /// It does not in time.
    pub(crate) fn prints(&self, part: &str) -> Check {
        self.trial.until(&format!("output {part:?}"), || self.stdout().contains(part))
    }

    /// The probe's answers so far, once all of `count` are there.
    ///
    /// # Errors
    /// They do not come in time.
    pub(crate) fn answers(&self, count: usize) -> Check<Answers> {
        self.trial.until("the answers of the probe", || {
            self.stdout().lines().filter(|line| line.ends_with('}')).count() >= count
        })?;
        Answers::of(&self.stdout())
    }

    /// Waits until the container is stopped.
    ///
    /// # Errors
    /// It does not stop in time.
    pub(crate) fn stopped(&self) -> Check {
        let mut last = String::new();
        let waited = self.trial.until("status stopped", || {
            last = self.status().unwrap_or_else(|failure| format!("{failure:?}"));
            last == "stopped"
        });
        waited.map_err(|_| crate::failure::Failure::Broken(format!("status stays {last}")))
    }

    /// `exec` of a program with options.
    ///
    /// # Errors
    /// The call hangs.
    pub(crate) fn exec(&self, options: &[&str], program: &[&str]) -> Check<Output> {
        let mut args = vec!["exec"];
        args.extend(options);
        args.push(&self.id);
        args.extend(program);
        self.trial.run(&args)
    }

    /// `exec` of the probe.
    ///
    /// # Errors
    /// The call fails, or the probe prints nothing.
    pub(crate) fn exec_probe(&self, options: &[&str], ops: &[&str]) -> Check<Answers> {
        let mut program = vec!["/probe"];
        program.extend(ops);
        Answers::of(&self.exec(options, &program)?.ok()?.stdout)
    }
}
