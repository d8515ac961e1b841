//! The probe as the engine's side of a socket.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bundle::Answers;
use crate::call::read_lossy;
use crate::failure::Check;
use crate::leftovers;
use crate::trial::Trial;

/// A console socket, or another one, with somebody behind it.
pub(crate) struct Console<'t> {
    trial: &'t Trial,
    child: Child,
    op: String,
    output: PathBuf,
    /// The socket.
    pub(crate) path: PathBuf,
}

impl<'t> Console<'t> {
    /// Listens; `input` is typed as soon as the terminal comes.
    ///
    /// # Errors
    /// The probe does not listen.
    pub(crate) fn listen(trial: &'t Trial, input: &str) -> Check<Self> {
        let path = trial.new_path("tty");
        let op = format!("console={},{input}", path.display());
        Self::behind(trial, path, op)
    }

    /// The probe serves a socket by this operation.
    ///
    /// # Errors
    /// The probe does not listen.
    pub(crate) fn behind(trial: &'t Trial, path: PathBuf, op: String) -> Check<Self> {
        let output = trial.new_path("console");
        let mut command = Command::new(trial.probe());
        command.arg(&op).stdin(Stdio::null()).stdout(std::fs::File::create(&output)?);
        let child = trial.spawn(&mut command)?;
        let console = Self { trial, child, op, output, path };
        trial.until("the socket", || console.path.exists())?;
        Ok(console)
    }

    /// The socket's path as an argument.
    pub(crate) fn argument(&self) -> String {
        self.path.display().to_string()
    }

    /// What came, once the terminal is closed on the other side.
    ///
    /// # Errors
    /// No terminal comes in time.
    pub(crate) fn finish(mut self) -> Check<Value> {
        let trial = self.trial;
        let child = &mut self.child;
        trial.until("the end of the service", || matches!(child.try_wait(), Ok(Some(_))))?;
        Answers::of(&read_lossy(&self.output))?.value(&self.op)
    }
}

impl Drop for Console<'_> {
    fn drop(&mut self) {
        leftovers::kill_tree(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.trial.disown(self.child.id());
    }
}
