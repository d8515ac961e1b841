//! For fish.

use std::fmt::Write;

use super::super::table::{self, Command, Flag, GLOBAL_FLAGS};
use super::Values;

const START: &str = "\
# Completes command lines of coracle in fish: `coracle completion fish`.

function __coracle_containers
    set -l words (commandline -opc)
    set -l root
    if set -l at (contains -i -- --root $words)
        set root --root $words[(math $at + 1)]
    end
    coracle $root list --quiet 2>/dev/null
end

complete -c coracle -f
";

pub(super) fn script() -> String {
    let mut out = START.to_owned();
    let first = "__fish_use_subcommand";
    for flag in GLOBAL_FLAGS {
        option(&mut out, first, flag);
    }
    let mut names = Vec::new();
    for command in table::listed() {
        let (name, about) = (command.name, quoted(command.about));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "complete -c coracle -n {first} -a {name} -d {about}");
        names.push(name);
    }
    let _ = writeln!(out, "complete -c coracle -n {first} -a help -d 'show the help of a command'");
    let words = quoted(&names.join(" "));
    let _ = writeln!(out, "complete -c coracle -n '__fish_seen_subcommand_from help' -a {words}");
    for command in table::listed() {
        of_command(&mut out, command);
    }
    out
}

fn of_command(out: &mut String, command: &Command) {
    let condition = format!("'__fish_seen_subcommand_from {}'", command.name);
    for flag in command.flags {
        option(out, &condition, flag);
    }
    for values in Values::of_arguments(command) {
        if let Some(choice) = choice(&values) {
            let _ = writeln!(out, "complete -c coracle -n {condition} -a {choice}");
        }
    }
}

fn option(out: &mut String, condition: &str, flag: &Flag) {
    let _ = write!(out, "complete -c coracle -n {condition}");
    if let Some(short) = flag.short {
        let _ = write!(out, " -s {short}");
    }
    let _ = write!(out, " -l {}", flag.long);
    if flag.value.is_some() {
        out.push_str(" -r");
        match (Values::of_flag(flag), choice(&Values::of_flag(flag))) {
            (Values::Files, _) => out.push_str(" -F"),
            (_, Some(choice)) => {
                let _ = write!(out, " -a {choice}");
            }
            (_, None) => {}
        }
    }
    let _ = writeln!(out, " -d {}", quoted(flag.help));
}

/// The argument of `-a`.
fn choice(values: &Values) -> Option<String> {
    match values {
        Values::Directories => Some("'(__fish_complete_directories)'".to_owned()),
        Values::Containers => Some("'(__coracle_containers)'".to_owned()),
        Values::Words(words) => Some(quoted(&words.join(" "))),
        Values::Files | Values::Free => None,
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
