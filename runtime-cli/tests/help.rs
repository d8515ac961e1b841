//! The help texts, compared with those in `tests/help`. `UPDATE_HELP=1` writes them anew.

#![allow(clippy::expect_used, reason = "a test fails by panicking and prints what it skips")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

const TOPICS: [&str; 21] = [
    "",
    "create",
    "start",
    "run",
    "exec",
    "state",
    "list",
    "ps",
    "pause",
    "resume",
    "kill",
    "delete",
    "update",
    "events",
    "wait",
    "spec",
    "features",
    "mounts",
    "info",
    "explain",
    "completion",
];

fn help(topic: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.arg("help");
    if !topic.is_empty() {
        command.arg(topic);
    }
    let output = command.output().expect("coracle runs");
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn help_texts_are_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    for topic in TOPICS {
        let name = if topic.is_empty() { "coracle" } else { topic };
        let path = directory.join(name).with_extension("txt");
        let text = help(topic);
        if env::var_os("UPDATE_HELP").is_some() {
            fs::write(&path, &text).expect("write the golden file");
        }
        let golden = fs::read_to_string(&path).expect("a golden file");
        assert_eq!(text, golden, "{}", path.display());
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}

#[test]
fn the_list_of_commands_is_complete() {
    let text = help("");
    for topic in TOPICS.iter().filter(|topic| !topic.is_empty()) {
        assert!(text.contains(&format!("\n  {topic} ")), "{topic}");
    }
}
