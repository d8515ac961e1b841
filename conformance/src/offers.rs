//! What a runtime offers beyond the specification's five operations.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The optional commands that cases use.
const COMMANDS: &[&str] = &["update", "events", "checkpoint", "mounts"];

/// Commands and features that not every runtime has and none must have: their cases are left out,
/// with the reason, where the runtime itself says that it does not offer them.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    commands: Vec<&'static str>,
    help: String,
    features: Option<Value>,
}

impl Offers {
    /// Asks the runtime.
    pub(crate) fn of(runtime: &Path) -> Self {
        let has = |name: &&&str| {
            quiet(runtime, &[name, "--help"]).is_some_and(|output| output.status.success())
        };
        let commands = COMMANDS.iter().filter(has).copied().collect();
        let features = quiet(runtime, &["features"])
            .filter(|output| output.status.success())
            .and_then(|output| serde_json::from_slice(&output.stdout).ok());
        let help = quiet(runtime, &["--help"]).map(|output| output.stdout).unwrap_or_default();
        let help = String::from_utf8_lossy(&help).into_owned();
        Self { commands, help, features }
    }

    /// Whether `--help` names this option.
    pub(crate) fn has_option(&self, name: &str) -> bool {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
        self.help.split(|c| !letter(c)).any(|word| word == name)
    }

    /// Whether there is a command of this name.
    pub(crate) fn has_command(&self, name: &str) -> bool {
        self.commands.contains(&name)
    }

    /// Whether the object at this place of the features document says that it is enabled. What is newer than
    /// that document is not there in a runtime without one.
    pub(crate) fn has_feature(&self, pointer: &str) -> bool {
        let found = self.features.as_ref().and_then(|all| all.pointer(pointer));
        found.and_then(|object| object.get("enabled")) == Some(&Value::Bool(true))
    }

    /// Whether the seccomp action is offered; a runtime without a features document may do all.
    pub(crate) fn has_seccomp_action(&self, name: &str) -> bool {
        let actions = self.features.as_ref().and_then(|all| all.pointer("/linux/seccomp/actions"));
        let Some(actions) = actions.and_then(Value::as_array) else {
            return true;
        };
        actions.iter().any(|action| action == name)
    }
}

fn quiet(runtime: &Path, arguments: &[&str]) -> Option<std::process::Output> {
    Command::new(runtime).args(arguments).stdin(Stdio::null()).output().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_refuses_everything_offers_no_command() {
        let offers = Offers::of(Path::new("/bin/false"));
        assert!(!offers.has_command("update") && !offers.has_option("--root"));
        assert!(offers.has_seccomp_action("SCMP_ACT_NOTIFY"), "nothing is said against it");
    }

    #[test]
    fn an_option_is_a_whole_word_of_the_help() {
        let help = "  --root value  where\n  --systemd-cgroup, -s\n".to_owned();
        let offers = Offers { help, ..Offers::default() };
        assert!(offers.has_option("--root") && offers.has_option("--systemd-cgroup"));
        assert!(!offers.has_option("--systemd") && !offers.has_option("root"));
    }

    #[test]
    fn a_features_document_is_believed() {
        let features = serde_json::json!({"linux": {"seccomp": {"actions": ["SCMP_ACT_ALLOW"]}}});
        let offers = Offers { features: Some(features), ..Offers::default() };
        assert!(offers.has_seccomp_action("SCMP_ACT_ALLOW"));
        assert!(!offers.has_seccomp_action("SCMP_ACT_NOTIFY"));
        assert!(!offers.has_feature("/linux/netDevices"));
        let features = serde_json::json!({"linux": {"netDevices": {"enabled": true}}});
        let offers = Offers { features: Some(features), ..Offers::default() };
        assert!(offers.has_feature("/linux/netDevices"));
    }
}
