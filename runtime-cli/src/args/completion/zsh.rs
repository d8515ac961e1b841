//! For zsh: a function for `$fpath`.

use std::fmt::Write;

use super::super::table::{self, Command, Flag, GLOBAL_FLAGS};
use super::{Values, names};

const TEMPLATE: &str = r#"#compdef coracle
# Completes command lines of coracle in zsh: `coracle completion zsh`.

_coracle_containers() {
    local -a ids
    ids=(${(f)"$(_call_program containers coracle $root list --quiet 2>/dev/null)"})
    _wanted containers expl container compadd -a ids
}

_coracle_commands() {
    local -a commands
    commands=(
@commands@    )
    _describe -t commands command commands
}

_coracle() {
    local curcontext=$curcontext context state state_descr line expl
    local -A opt_args
    local -a root
    _arguments -C \
@globals@        '1:command:_coracle_commands' \
        '*::argument:->arguments' && return
    [[ $state == arguments ]] || return 1
    [[ -z ${opt_args[--root]} ]] || root=(--root ${(Q)opt_args[--root]})
    curcontext=${curcontext%:*}-$line[1]:
    case $line[1] in
@branches@    help) _arguments '1:command:_coracle_commands' ;;
    esac
}

if [[ $funcstack[1] == _coracle ]]; then
    _coracle "$@"
else
    compdef _coracle coracle
fi
"#;

pub(super) fn script() -> String {
    let mut commands = String::new();
    let mut branches = String::new();
    for command in table::listed() {
        let about = quoted(&command.about.replace(':', "\\:"));
        // Writing to a string cannot fail.
        let _ = writeln!(commands, "        '{}:{about}'", command.name);
        branches.push_str(&branch(command));
    }
    let mut globals = String::new();
    for flag in GLOBAL_FLAGS {
        let _ = writeln!(globals, "        {} \\", option(flag));
    }
    TEMPLATE
        .replace("@commands@", &commands)
        .replace("@globals@", &globals)
        .replace("@branches@", &branches)
}

fn branch(command: &Command) -> String {
    // Options end at the first argument where the rest belongs to somebody else.
    let ends = if command.trailing { " -A '-*'" } else { "" };
    let mut out = format!("    {})\n        _arguments -s{ends}", command.name);
    for flag in command.flags {
        let _ = write!(out, " \\\n            {}", option(flag));
    }
    for (index, values) in Values::of_arguments(command).iter().enumerate() {
        let place = index + 1;
        let many = command.trailing && index > 0;
        let place = if many { "*".to_owned() } else { place.to_string() };
        let _ = write!(out, " \\\n            '{place}:{}'", action("argument", values));
    }
    out.push_str("\n        ;;\n");
    out
}

/// The specification of one option.
fn option(flag: &Flag) -> String {
    let text = quoted(&escaped(flag.help));
    let value = match flag.value {
        Some(name) => format!(":{}", action(name, &Values::of_flag(flag))),
        None => String::new(),
    };
    let rest = format!("[{text}]{value}");
    // A star: every option may be repeated.
    let specs: Vec<_> = names(flag)
        .map(|name| match (flag.value, name.starts_with("--")) {
            (Some(_), true) => format!("'*{name}={rest}'"),
            (Some(_), false) => format!("'*{name}+{rest}'"),
            (None, _) => format!("'*{name}{rest}'"),
        })
        .collect();
    specs.join(" ")
}

/// What a value is called, and how it is completed.
fn action(name: &str, values: &Values) -> String {
    let name = escaped(&name.to_lowercase());
    match values {
        Values::Directories => format!("{name}:_files -/"),
        Values::Files => format!("{name}:_files"),
        Values::Containers => "container:_coracle_containers".to_owned(),
        Values::Words(words) => format!("{name}:({})", words.join(" ")),
        Values::Free => format!("{name}: "),
    }
}

/// Without the characters that mean something in a specification.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if matches!(character, '[' | ']' | ':' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// For use between single quotes.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}
