//! The help texts, made from the table.

use std::fmt::Write;

use super::table::{self, Command, Flag, GLOBAL_FLAGS};

/// The width that texts are wrapped to.
const WIDTH: usize = 80;

/// The help of the program, or of one command.
pub(crate) fn text(command: Option<&Command>) -> String {
    let mut out = String::new();
    match command {
        Some(command) => command_help(&mut out, command),
        None => program_help(&mut out),
    }
    out
}

fn program_help(out: &mut String) {
    out.push_str(
        "coracle - run containers from OCI bundles\n\n\
         Usage:\n  coracle [OPTION...] COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n",
    );
    let commands = table::listed().map(|command| (command.name.to_owned(), command.about));
    list(
        out,
        &commands.chain([("help".to_owned(), "show the help of a command")]).collect::<Vec<_>>(),
    );
    out.push_str("\nOptions:\n");
    flags(out, GLOBAL_FLAGS);
}

fn command_help(out: &mut String, command: &Command) {
    let (name, about) = (command.name, command.about);
    let gap = if command.arguments.is_empty() { "" } else { " " };
    let arguments = command.arguments;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "coracle {name} - {about}\n\nUsage:\n  coracle {name} [OPTION...]{gap}{arguments}\n"
    );
    if !command.details.is_empty() {
        out.push('\n');
        wrap(out, command.details, 0);
    }
    out.push_str("\nOptions:\n");
    flags(out, command.flags);
}

fn flags(out: &mut String, flags: &[Flag]) {
    let rows: Vec<_> = flags.iter().map(|flag| (spelling(flag), flag.help)).collect();
    list(out, &rows);
}

fn spelling(flag: &Flag) -> String {
    let mut text = match flag.short {
        Some(short) => format!("-{short}, --{}", flag.long),
        None => format!("    --{}", flag.long),
    };
    if let Some(value) = flag.value {
        text.push(' ');
        text.push_str(value);
    }
    text
}

/// Two columns, the second one wrapped.
fn list(out: &mut String, rows: &[(String, &str)]) {
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let indent = widest + 4;
    for (name, text) in rows {
        let _ = write!(out, "  {name:widest$}  ");
        wrap(out, text, indent);
    }
}

/// Writes the text, continuing lines with this indent.
fn wrap(out: &mut String, text: &str, indent: usize) {
    let mut column = indent;
    let mut first = true;
    for word in text.split_whitespace() {
        if !first && column + 1 + word.len() > WIDTH {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
        first = false;
    }
    out.push('\n');
}
