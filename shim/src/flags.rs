//! The command line, in the way of Go's `flag` package: one dash or two, the value in the next argument
//! or after `=`, flags before the action.

use std::path::PathBuf;

/// What the shim is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    /// `-v`, `-version`: tell the version.
    Version,
    /// `-info`: describe the runtime, as a message.
    Info,
    /// `start`: begin to serve, or find who serves the group already.
    Start,
    /// `delete`: remove what is left of a container.
    Delete,
    /// None that is known.
    #[default]
    None,
}

/// The command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// What to do.
    pub(crate) action: Action,
    /// `-namespace`: containerd's namespace of the container.
    pub(crate) namespace: String,
    /// `-id`: the container.
    pub(crate) id: String,
    /// `-address`: containerd's gRPC socket.
    pub(crate) address: String,
    /// `-bundle`: its bundle, with `delete`.
    pub(crate) bundle: PathBuf,
    /// `-debug`: log more.
    pub(crate) debug: bool,
}

/// Flags without a value.
const SWITCHES: [&str; 5] = ["debug", "v", "version", "info", "h"];

/// Flags with a value that are understood; `true` if it is used.
const VALUES: [(&str, bool); 7] = [
    ("namespace", true),
    ("id", true),
    ("address", true),
    ("bundle", true),
    ("publish-binary", false),
    ("socket", false),
    ("debug-socket", false),
];

impl Flags {
    /// Reads the arguments without the program's name.
    ///
    /// What is unknown is passed over, so that an older shim works with a newer containerd: such a flag
    /// takes the next argument as its value, unless that is a flag or the last argument.
    ///
    /// # Errors
    /// A flag without its value, a switch with a value that is none.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut rest = arguments;
        while let [first, tail @ ..] = rest {
            rest = tail;
            let Some(name) = first.strip_prefix('-').filter(|name| !name.is_empty()) else {
                flags.set_action(first);
                break;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            if SWITCHES.contains(&name) {
                flags.set_switch(name, given)?;
                continue;
            }
            let known = VALUES.iter().any(|(flag, _)| *flag == name);
            let value = match (given, rest) {
                (Some(value), _) => value,
                (None, [value, tail @ ..])
                    if known || (!value.starts_with('-') && !tail.is_empty()) =>
                {
                    rest = tail;
                    value
                }
                (None, _) if known => return Err(format!("the flag -{name} needs a value")),
                (None, _) => continue,
            };
            flags.set_value(name, value);
        }
        Ok(flags)
    }

    fn set_action(&mut self, word: &str) {
        // A switch before it, as in `-v start`, wins.
        if self.action == Action::None {
            self.action = match word {
                "start" => Action::Start,
                "delete" => Action::Delete,
                _ => Action::None,
            };
        }
    }

    fn set_switch(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let on = match value {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(value) => return Err(format!("the flag -{name} is on or off, not {value:?}")),
        };
        match name {
            "debug" => self.debug = on,
            "v" | "version" if on => self.action = Action::Version,
            "info" if on => self.action = Action::Info,
            _ => {}
        }
        Ok(())
    }

    fn set_value(&mut self, name: &str, value: &str) {
        match name {
            "namespace" => value.clone_into(&mut self.namespace),
            "id" => value.clone_into(&mut self.id),
            "address" => value.clone_into(&mut self.address),
            "bundle" => self.bundle = PathBuf::from(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(&arguments)
    }

    #[test]
    fn reads_what_containerd_passes() {
        let line = "-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd \
                    -id a1 -debug start";
        let expected = Flags {
            action: Action::Start,
            namespace: "k8s.io".to_owned(),
            id: "a1".to_owned(),
            address: "/run/c.sock".to_owned(),
            bundle: PathBuf::new(),
            debug: true,
        };
        assert_eq!(parse(line), Ok(expected));
        let flags = parse("--namespace=n -id=x -bundle /b delete");
        let expected = Flags {
            action: Action::Delete,
            namespace: "n".to_owned(),
            id: "x".to_owned(),
            bundle: PathBuf::from("/b"),
            ..Flags::default()
        };
        assert_eq!(flags, Ok(expected));
    }

    #[test]
    fn passes_over_what_it_does_not_know() {
        for line in ["-later start", "-later=x start", "-later x -more start", "-later x start"] {
            assert_eq!(parse(line).map(|flags| flags.action), Ok(Action::Start), "{line}");
        }
        assert_eq!(parse("surprise").map(|flags| flags.action), Ok(Action::None));
    }

    #[test]
    fn a_missing_value_is_an_error() {
        assert!(parse("-namespace").is_err());
        assert!(parse("-debug=perhaps start").is_err());
        assert_eq!(parse("-debug=false start").map(|flags| flags.debug), Ok(false));
    }
}
