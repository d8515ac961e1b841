//! Scripts that complete command lines, made from the table.

mod bash;
mod fish;
mod zsh;

use super::table::{Command, Flag};

/// A shell that there is a script for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The shell of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bash" => Self::Bash,
            "zsh" => Self::Zsh,
            "fish" => Self::Fish,
            _ => return None,
        })
    }

    /// The script.
    pub(crate) fn script(self) -> String {
        match self {
            Self::Bash => bash::script(),
            Self::Zsh => zsh::script(),
            Self::Fish => fish::script(),
        }
    }
}

/// What can stand at a place of the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Values {
    Directories,
    Files,
    Containers,
    Words(Vec<&'static str>),
    /// Something that only the user knows.
    Free,
}

impl Values {
    /// The values of an option.
    fn of_flag(flag: &Flag) -> Self {
        match flag.value {
            _ if !flag.choices.is_empty() => Self::Words(flag.choices.to_vec()),
            Some("DIR") => Self::Directories,
            Some("FILE" | "PATH") => Self::Files,
            _ => Self::Free,
        }
    }

    /// What can stand where the help shows this word.
    fn of_argument(word: &'static str) -> Self {
        match word.trim_matches(['[', ']']) {
            "CONTAINER" => Self::Containers,
            "FILE" => Self::Files,
            "SIGNAL" => Self::Words(vec![
                "TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH",
            ]),
            words if words.contains('|') => Self::Words(words.split('|').collect()),
            _ => Self::Free,
        }
    }

    /// What can stand at each place after the options.
    fn of_arguments(command: &Command) -> Vec<Self> {
        command.arguments.split_whitespace().map(Self::of_argument).collect()
    }
}

/// The ways to write an option's name.
fn names(flag: &Flag) -> impl Iterator<Item = String> {
    let short = flag.short.map(|short| format!("-{short}"));
    short.into_iter().chain([format!("--{}", flag.long)])
}

#[cfg(test)]
mod tests {
    use super::super::table::{GLOBAL_FLAGS, listed};
    use super::*;

    #[test]
    fn every_script_knows_every_command_and_option() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = shell.script();
            let long = |name: &str| match shell {
                Shell::Fish => format!("-l {name} "),
                _ => format!("--{name}"),
            };
            for flag in GLOBAL_FLAGS.iter().chain(listed().flat_map(|command| command.flags)) {
                assert!(script.contains(&long(flag.long)), "{shell:?}: --{}", flag.long);
            }
            for command in listed() {
                assert!(script.contains(command.name), "{shell:?}: {}", command.name);
            }
            assert!(!script.contains("manual"), "{shell:?}");
        }
    }

    #[test]
    fn values_follow_the_table() {
        let kill = super::super::table::find("kill").expect("kill");
        let [container, Values::Words(signals)] = &Values::of_arguments(kill)[..] else {
            panic!("two arguments");
        };
        assert_eq!(*container, Values::Containers);
        assert!(signals.contains(&"TERM"));
        let words = Values::of_argument("bash|zsh|fish");
        assert_eq!(words, Values::Words(vec!["bash", "zsh", "fish"]));
    }
}
