//! `exec`: the process that it makes of options, process file and recorded settings.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::fs;

use bundle::{Bundle, stderr};
use serde_json::json;

fn running() -> Option<Bundle> {
    let bundle = Bundle::new("while :; do sleep 1; done")?;
    bundle.edit(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "A=recorded", "B=recorded"]);
    });
    bundle.start_waiting();
    Some(bundle)
}

/// What this script prints when it is run by exec with these options.
fn said(bundle: &Bundle, options: &[&str], script: &str) -> String {
    let arguments = [&["exec"], options, &[&bundle.id, "sh", "-c", script]].concat();
    bundle.succeed(&arguments)
}

#[test]
fn the_exit_status_is_that_of_the_process() {
    let Some(bundle) = running() else {
        return;
    };
    let id = bundle.id.as_str();
    bundle.succeed(&["exec", id, "true"]);
    bundle.fail(7, &["exec", id, "sh", "-c", "exit 7"]);
    bundle.fail(137, &["exec", id, "sh", "-c", "kill -9 $$"]);
}

#[test]
fn failures_end_with_255() {
    let Some(bundle) = running() else {
        return;
    };
    let id = bundle.id.as_str();
    let error = bundle.fail(255, &["exec", "missing", "true"]);
    assert!(error.contains("does not exist"), "{error}");
    let error = bundle.fail(255, &["exec", id, "no-such-program"]);
    assert!(error.contains("executable file not found in $PATH"), "{error}");
    let error = bundle.fail(255, &["exec", id, "/no/such/program"]);
    assert!(error.contains("no such file or directory"), "{error}");
    let error = bundle.fail(255, &["exec", id, "/etc"]);
    assert!(error.contains("is a directory") || error.contains("permission denied"), "{error}");
    let error = bundle.fail(255, &["exec", id]);
    assert!(error.contains("args cannot be empty"), "{error}");
    for user in ["root", "", "-1", "+1", "4294967295", "4294967296", "0x1", "1:", "1:root"] {
        let error = bundle.fail(255, &["exec", "--user", user, id, "true"]);
        assert!(error.contains("is not a number"), "{user}: {error}");
    }
    bundle.fail(1, &["exec"]);
}

#[test]
fn an_unknown_capability_is_left_out_with_a_warning() {
    let Some(bundle) = running() else {
        return;
    };
    let output = bundle.coracle(&["exec", "--cap", "CAP_NOTHING", &bundle.id, "true"]);
    assert!(output.status.success(), "{output:?}");
    let warning = stderr(&output);
    assert!(warning.contains("level=warning") && warning.contains("CAP_NOTHING"), "{warning}");
}

#[test]
fn options_change_the_recorded_settings() {
    let Some(bundle) = running() else {
        return;
    };
    assert_eq!(said(&bundle, &[], "echo $A$B; pwd"), "recordedrecorded\n/\n");
    assert_eq!(said(&bundle, &["-e", "A=x", "--env=C=y"], "echo $A$B$C"), "xrecordedy\n");
    assert_eq!(said(&bundle, &["--cwd", "/etc"], "pwd"), "/etc\n");
    let ids =
        said(&bundle, &["-u", "5:6", "-g", "7", "--additional-gids", "8"], "id -u; id -g; id -G");
    assert_eq!(ids, "5\n6\n6 7 8\n");
    let status = said(&bundle, &["--cap", "sys_time"], "cat /proc/self/status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = u64::from_str_radix(bounding.expect("a set").trim(), 16).expect("hexadecimal");
    assert_eq!(bounding >> 25 & 1, 1, "{status}");
    assert_eq!(bounding >> 5 & 1, 1, "CAP_KILL stays: {status}");
}

#[test]
fn words_after_the_container_belong_to_the_command() {
    let Some(bundle) = running() else {
        return;
    };
    let text = bundle.succeed(&["exec", &bundle.id, "sh", "-c", "echo $1 $2", "-d", "--tty", "-h"]);
    assert_eq!(text, "--tty -h\n");
}

#[test]
fn an_edited_bundle_changes_nothing() {
    let Some(bundle) = running() else {
        return;
    };
    bundle.edit(|config| config["process"]["env"] = json!(["PATH=/bin", "A=edited"]));
    assert_eq!(said(&bundle, &[], "echo $A"), "recorded\n");
}

#[test]
fn a_process_file_replaces_the_program_and_keeps_the_cage() {
    let Some(bundle) = running() else {
        return;
    };
    let file = bundle.path("process.json");
    let process = json!({
        "args": ["sh", "-c", "echo $A; grep -E 'NoNewPrivs|CapBnd' /proc/self/status || cat /proc/self/status"],
        "env": ["PATH=/bin", "A=file"],
        "cwd": "/",
        "user": {"uid": 3, "gid": 4}
    });
    fs::write(&file, process.to_string()).expect("a process file");
    let text = bundle.succeed(&["exec", "--process", &file, &bundle.id]);
    assert!(text.starts_with("file\n"), "{text}");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).expect(name).to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("CapBnd:"), "0000000020000420");
    let pid = bundle.path("pid");
    bundle.succeed(&["exec", "-p", &file, "--pid-file", &pid, &bundle.id]);
    fs::read_to_string(pid).expect("a pid file").parse::<i32>().expect("a number");
}

#[test]
fn a_detached_process_goes_on() {
    let Some(bundle) = running() else {
        return;
    };
    let pid = bundle.path("pid");
    let arguments = ["exec", "-d", "--pid-file", &pid, &bundle.id, "sleep", "100"];
    let mut command = bundle.command(&arguments);
    let null = std::process::Stdio::null;
    let status = command.stdout(null()).stderr(null()).status().expect("coracle runs");
    assert!(status.success());
    let pid = fs::read_to_string(pid).expect("a pid file");
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).expect("a process");
    assert_eq!(name, "sleep\n");
    assert_ne!(bundle.state()["pid"].to_string(), pid);
    let pids = bundle.succeed(&["ps", "-f", "json", &bundle.id]);
    let pids: Vec<i32> = serde_json::from_str(&pids).expect("JSON");
    assert!(pids.iter().any(|one| one.to_string() == pid), "{pids:?}");
}
