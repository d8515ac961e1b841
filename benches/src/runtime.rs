//! A runtime under test: how its commands are called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Outcome;
use crate::bundle::Bundle;
use crate::measure;

/// The name under which the kernel floor is reported.
pub(crate) const FLOOR: &str = "floor";

/// One program under test.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Its state directory, where only our containers are.
    pub(crate) root: PathBuf,
}

impl Runtime {
    /// True for the floor and its variants (`floor-…`), which have their own command line.
    pub(crate) fn is_floor(&self) -> bool {
        self.name.starts_with(FLOOR)
    }

    /// The same program with an own, empty state directory.
    pub(crate) fn with_root(&self, root: &Path) -> Outcome<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.to_owned(), ..self.clone() })
    }

    /// The command line for a verb: run, create, start, exec, kill, delete or state, or `remove` for
    /// a delete by force.
    pub(crate) fn command(&self, verb: &str, bundle: &Bundle) -> Command {
        let mut command = Command::new(&self.path);
        if self.is_floor() {
            command
                .arg(if verb == "remove" { "delete" } else { verb })
                .arg("--root")
                .arg(&self.root);
            command.args(["--cgroup", &bundle.cgroup_parent]).arg("--rootfs").arg(&bundle.rootfs);
            let payload = if verb == "exec" { "/bin/true" } else { bundle.payload.path() };
            command.args(["--payload", payload]);
            if let Some(limit) = bundle.memory {
                command.args(["--memory", &limit.to_string()]);
            }
            command.arg(&bundle.id);
            return command;
        }
        command.arg("--root").arg(&self.root);
        match verb {
            "remove" => command.args(["delete", "--force"]),
            _ => command.arg(verb),
        };
        if matches!(verb, "run" | "create") {
            command.arg("--bundle").arg(&bundle.directory);
        }
        command.arg(&bundle.id);
        match verb {
            "exec" => command.arg("/bin/true"),
            "kill" => command.arg("KILL"),
            _ => &mut command,
        };
        command
    }

    /// The process id of the container's init, from `state`.
    pub(crate) fn pid(&self, bundle: &Bundle) -> Outcome<i32> {
        let mut command = self.command("state", bundle);
        let output = command.output()?;
        let state: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{command:?}: {error}"))?;
        let pid = state.get("pid").and_then(Value::as_i64).ok_or("`state` names no pid")?;
        Ok(i32::try_from(pid)?)
    }

    /// Ends a container whatever its state; used to clean up, so failures do not matter.
    pub(crate) fn remove(&self, bundle: &Bundle) {
        if let Ok(pid) = self.pid(bundle)
            && pid > 0
        {
            // Not by the runtime's own `kill`, which may refuse.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            measure::wait_for(pid);
        }
        let _ = self.command("remove", bundle).output();
        measure::reap();
    }
}
