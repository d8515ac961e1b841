//! Units of systemd, as systemctl(1) shows them.

use std::collections::BTreeMap;
use std::process::Command;

use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// A unit of the manager that serves this user.
#[derive(Debug)]
pub(crate) struct Unit<'t> {
    trial: &'t Trial,
    name: String,
}

impl<'t> Unit<'t> {
    /// The unit of this name, whether it is there or not.
    pub(crate) fn new(trial: &'t Trial, name: impl Into<String>) -> Self {
        Self { trial, name: name.into() }
    }

    /// The unit of a container whose `linux.cgroupsPath` is the default of this suite.
    pub(crate) fn of(trial: &'t Trial, id: &str) -> Self {
        Self::new(trial, format!("conformance-{id}.scope"))
    }

    /// These properties, by name; what systemd does not know is not there.
    ///
    /// # Errors
    /// systemctl fails.
    pub(crate) fn properties(&self, names: &[&str]) -> Check<BTreeMap<String, String>> {
        let text =
            systemctl(self.trial, &["show", "--property", &names.join(","), "--", &self.name])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// One property.
    ///
    /// # Errors
    /// systemctl fails, or does not know it.
    pub(crate) fn property(&self, name: &str) -> Check<String> {
        match self.properties(&[name])?.remove(name) {
            Some(value) => Ok(value),
            None => broken(format!("systemd knows no {name} of {}", self.name)),
        }
    }

    /// Each property is this one, in systemctl's words.
    ///
    /// # Errors
    /// One differs.
    pub(crate) fn shows(&self, wanted: &[(&str, &str)]) -> Check {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let found = self.properties(&names)?;
        wanted.iter().try_for_each(|(name, value)| {
            let found = found.get(*name).map_or("(unknown)", String::as_str);
            equal(&format!("{name} of {}", self.name), found, *value)
        })
    }

    /// The unit is loaded: it runs, or what it was is still known.
    ///
    /// # Errors
    /// systemctl fails.
    pub(crate) fn is_known(&self) -> Check<bool> {
        Ok(self.property("LoadState")? != "not-found")
    }

    /// systemd has forgotten it; that may take a moment.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn gone(&self) -> Check {
        let mut last = String::new();
        let waited = self.trial.until("the end of a unit", || {
            last = self
                .property("ActiveState")
                .unwrap_or_else(|failure| format!("not to be asked: {failure:?}"));
            matches!(self.is_known(), Ok(false))
        });
        waited.or_else(|_| broken(format!("{} stays, {last}", self.name)))
    }

    /// Asks systemd to end it.
    ///
    /// # Errors
    /// systemctl fails.
    pub(crate) fn stop(&self) -> Check {
        systemctl(self.trial, &["stop", "--", &self.name]).map(drop)
    }
}

/// Calls systemctl for the manager that serves this user; what it printed.
///
/// # Errors
/// It fails.
pub(crate) fn systemctl(trial: &Trial, words: &[&str]) -> Check<String> {
    let mut command = manager_command(trial, "systemctl");
    let output = command.args(words).output()?;
    ensure(
        output.status.success(),
        format!("systemctl {words:?}: {}", String::from_utf8_lossy(&output.stderr)),
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program of systemd that talks to the manager that serves this user.
pub(crate) fn manager_command(trial: &Trial, program: &str) -> Command {
    let mut command = Command::new(program);
    command.args((!trial.host.root).then_some("--user"));
    command
}
