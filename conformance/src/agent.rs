//! The probe as a seccomp agent.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::console::Console;
use crate::failure::Check;
use crate::trial::Trial;
use crate::value::{equal, text};

/// An agent that listens.
pub(crate) struct Agent<'t>(Console<'t>);

impl<'t> Agent<'t> {
    /// Listens for as many listeners as `count` says and answers by the rules of the probe's `agent`.
    ///
    /// # Errors
    /// The probe does not listen.
    pub(crate) fn listen(trial: &'t Trial, count: usize, rules: &str) -> Check<Self> {
        let path = trial.new_path("agent");
        let op = format!("agent={},{count},{rules}", path.display());
        Console::behind(trial, path, op).map(Self)
    }

    /// A bundle whose calls of these names are left to the agent.
    pub(crate) fn bundle(&self, trial: &'t Trial, names: &[&str]) -> Bundle<'t> {
        notifying(trial, names).set("/linux/seccomp/listenerPath", self.0.argument())
    }

    /// The socket.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0.path
    }

    /// What came on each connection, once the processes of all listeners are gone.
    ///
    /// # Errors
    /// Fewer listeners came than it waits for, or not each alone on a connection.
    pub(crate) fn finish(self) -> Check<Vec<Connection>> {
        let told = self.0.finish()?;
        let list = told.as_array().cloned().unwrap_or_default();
        list.iter().map(Connection::read).collect()
    }
}

/// A bundle whose calls of these names are left to an agent that is not named yet.
pub(crate) fn notifying<'t>(trial: &'t Trial, names: &[&str]) -> Bundle<'t> {
    trial.bundle().set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": names, "action": "SCMP_ACT_NOTIFY" }],
        }),
    )
}

/// What came on one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The container process state.
    pub(crate) state: Value,
    /// The calls that the agent has answered: number, pid, arguments.
    pub(crate) calls: Vec<Value>,
    /// Whether the runtime closed it at once.
    pub(crate) closed: bool,
}

impl Connection {
    fn read(told: &Value) -> Check<Self> {
        equal("descriptors", &told["descriptors"], &json!(1))?;
        // One value and nothing behind it.
        let state = serde_json::from_str(text(told, "/payload")?)?;
        let calls = told["calls"].as_array().cloned().unwrap_or_default();
        Ok(Self { state, calls, closed: told["closed"] == true })
    }
}
