//! The scripts that complete command lines, in the shells themselves.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::io::Write;
use std::process::{Command, Stdio};

use bundle::Bundle;

const CORACLE: &str = env!("CARGO_BIN_EXE_coracle");

fn script(shell: &str) -> String {
    let output = Command::new(CORACLE).args(["completion", shell]).output().expect("coracle runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

/// Gives the script to a shell; `None` says that there is no such shell.
fn shell(name: &str, arguments: &[&str], input: &str) -> Option<String> {
    let child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: no {name} here");
        return None;
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("the script");
    drop(stdin);
    let output = child.wait_with_output().expect("the shell ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{name}: {stderr}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

/// What bash offers after these words, the last one being unfinished.
fn offers(words: &[&str]) -> Option<Vec<String>> {
    let line: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let call = format!(
        "COMP_WORDS=({CORACLE} {})\nCOMP_CWORD={}\n_coracle\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        line.join(" "),
        words.len()
    );
    let text = shell("bash", &["--norc", "-s"], &(script("bash") + &call))?;
    Some(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[test]
fn the_scripts_are_of_their_shells_language() {
    for name in ["bash", "zsh", "fish"] {
        let arguments = if name == "fish" { &["--no-execute"][..] } else { &["-n"][..] };
        shell(name, arguments, &script(name));
    }
}

#[test]
fn bash_offers_what_the_table_has() {
    for (words, expected) in [
        (&["st"][..], &["start", "state"][..]),
        (&["--root", "/tmp", "sta"], &["start", "state"]),
        (&["--root=/tmp", "sta"], &["start", "state"]),
        (&["--root", "=", "/tmp", "sta"], &["start", "state"]),
        (&["--log-format", ""], &["text", "json"]),
        (&["--log-format", "=", "j"], &["json"]),
        (&["--log-format", "="], &["text", "json"]),
        (&["run", "--no-"], &["--no-subreaper", "--no-pivot", "--no-new-keyring"]),
        (&["list", "-f", "t"], &["table"]),
        (&["run", "--bundle", "/pro"], &["/proc"]),
        (&["create", "--config", "/proc/versio"], &["/proc/version"]),
        (&["kill", "c", "USR"], &["USR1", "USR2"]),
        (&["completion", ""], &["bash", "zsh", "fish"]),
        (&["help", "comp"], &["completion"]),
        (&["exec", "c", "-"], &[]),
        (&["update", "--memory", ""], &[]),
    ] {
        let Some(offered) = offers(words) else { return };
        assert_eq!(offered, expected, "{words:?}");
    }
}

#[test]
fn bash_offers_the_containers_of_the_root() {
    let Some(bundle) = Bundle::new("true") else { return };
    bundle.create(&[]);
    let root = bundle.path("state");
    let Some(offered) = offers(&["--root", &root, "delete", "cor"]) else { return };
    assert_eq!(offered, [bundle.id.as_str()]);
}

#[test]
fn fish_offers_what_the_table_has() {
    for (line, expected) in [
        ("coracle sta", &["start", "state"][..]),
        ("coracle completion z", &["zsh"]),
        ("coracle list --format j", &["json"]),
    ] {
        let call = format!("complete -C '{line}' | string split -f 1 \\t; true\n");
        let Some(text) = shell("fish", &["--no-config"], &(script("fish") + &call)) else {
            return;
        };
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{line}");
    }
}

#[test]
fn another_shell_is_refused() {
    let output = Command::new(CORACLE).args(["completion", "tcsh"]).output().expect("coracle runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}
