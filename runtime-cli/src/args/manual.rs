//! The manual pages, made from the table: roff with the macros of man(7).

use std::fmt::Write;

use super::table::{self, Command, Flag, GLOBAL_FLAGS, Verb};

const DESCRIPTION: &str = "\
coracle turns an OCI bundle, a directory with a config.json and a root file system, into an \
isolated process, as the OCI runtime specification says. Its options, output and exit statuses are \
those of runc, so that it can take runc's place under Docker, Podman, containerd, CRI-O and buildah.";

const FILES: [(&str, &str); 2] = [
    ("/run/coracle", "the state of root's containers"),
    ("$XDG_RUNTIME_DIR/coracle", "the state of another user's containers"),
];

const LOG: &str = "\
A command that fails writes one record to the log: a line with time, level and msg, or with \
--log-format json a JSON object, which also tells code, step, field, path, errno and hint where they \
are known. The same text goes to standard error, unless the log itself does. With journald:NAME and \
syslog:NAME the records get NAME as their identifier (coracle if it is empty).";

/// Every page: its file's name and its text.
pub(crate) fn pages() -> Vec<(String, String)> {
    let commands = table::listed();
    let pages = commands.map(|command| (format!("coracle-{}.1", command.name), page_of(command)));
    [("coracle.1".to_owned(), main_page())].into_iter().chain(pages).collect()
}

fn main_page() -> String {
    let mut out = start("coracle", "run containers from OCI bundles");
    out.push_str(".B coracle\n[\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n");
    section(&mut out, "DESCRIPTION");
    paragraph(&mut out, DESCRIPTION);
    section(&mut out, "COMMANDS");
    for command in table::listed() {
        item(&mut out, &format!(".BR coracle\\-{} (1)", command.name), command.about);
    }
    section(&mut out, "OPTIONS");
    options(&mut out, GLOBAL_FLAGS);
    section(&mut out, "LOG");
    paragraph(&mut out, LOG);
    section(&mut out, "EXIT STATUS");
    paragraph(
        &mut out,
        "0 on success and 1 on failure, 255 if exec fails, 3 if there is no such command; run and \
         exec in the foreground return the status of the program, 128 + N after signal N.",
    );
    section(&mut out, "FILES");
    for (path, text) in FILES {
        item(&mut out, &format!(".I {}", escaped(path)), text);
    }
    section(&mut out, "SEE ALSO");
    let names = table::listed().map(|command| format!("coracle\\-{}", command.name));
    references(&mut out, names.collect());
    out
}

fn page_of(command: &Command) -> String {
    let name = format!("coracle-{}", command.name);
    let mut out = start(&name, command.about);
    let arguments = escaped(command.arguments);
    // Writing to a string cannot fail.
    let _ = writeln!(out, ".B coracle {}\n[\\fIOPTION\\fR...] {arguments}", command.name);
    section(&mut out, "DESCRIPTION");
    let (first, rest) = command.about.split_at(1);
    paragraph(&mut out, &format!("{}{rest}.", first.to_uppercase()));
    if !command.details.is_empty() {
        out.push_str(".PP\n");
        paragraph(&mut out, command.details);
    }
    section(&mut out, "OPTIONS");
    options(&mut out, command.flags);
    section(&mut out, "EXIT STATUS");
    let success = match command.verb {
        Verb::Run | Verb::Exec => "That of the program, 128 + N after signal N; detached 0",
        _ => "0 on success",
    };
    paragraph(&mut out, &format!("{success}, {} on failure.", command.failure));
    section(&mut out, "SEE ALSO");
    references(&mut out, vec!["coracle".to_owned()]);
    out
}

/// The head of a page, up to its synopsis.
fn start(name: &str, about: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (title, name) = (escaped(&name.to_uppercase()), escaped(name));
    // The date stays empty: the same source makes the same page.
    format!(
        ".TH {title} 1 \"\" \"coracle {version}\" \"User Commands\"\n.SH NAME\n\
         {name} \\- {}\n.SH SYNOPSIS\n",
        escaped(about)
    )
}

fn section(out: &mut String, name: &str) {
    let _ = writeln!(out, ".SH {name}");
}

fn paragraph(out: &mut String, text: &str) {
    let _ = writeln!(out, "{}", line(text));
}

/// A request that prints the name, and what is said about it.
fn item(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, ".TP\n{name}\n{}", line(text));
}

fn options(out: &mut String, flags: &[Flag]) {
    for flag in flags {
        let mut name = flag.short.map_or_else(String::new, |short| format!("\\fB\\-{short}\\fR, "));
        let _ = write!(name, "\\fB{}\\fR", escaped(&format!("--{}", flag.long)));
        if let Some(value) = flag.value {
            let _ = write!(name, " \\fI{}\\fR", escaped(value));
        }
        item(out, &name, flag.help);
    }
}

fn references(out: &mut String, names: Vec<String>) {
    let last = names.len().saturating_sub(1);
    for (index, name) in names.into_iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        let _ = writeln!(out, ".BR {name} (1){comma}");
    }
}

/// Text that starts a line, where a dot or a quote would make it a request.
fn line(text: &str) -> String {
    let text = escaped(text);
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Text without roff's escapes, and with dashes that can be copied into a shell.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '`' => out.push_str("\\(ga"),
            '\'' => out.push_str("\\(aq"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roff_sees_no_request_in_a_text() {
        assert_eq!(line(".TH a-b \\c"), "\\&.TH a\\-b \\ec");
        assert_eq!(line("'quoted'"), "\\(aqquoted\\(aq");
    }

    #[test]
    fn every_command_has_a_page_that_names_its_options() {
        let pages = pages();
        assert_eq!(pages.len(), table::listed().count() + 1);
        for command in table::listed() {
            let name = format!("coracle-{}.1", command.name);
            let (_, text) = pages.iter().find(|(page, _)| *page == name).expect("a page");
            for flag in command.flags {
                let option = escaped(&format!("--{}", flag.long));
                assert!(text.contains(&format!("\\fB{option}\\fR")), "{name}: {option}");
            }
        }
    }
}
