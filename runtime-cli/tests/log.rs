//! Where failures are reported, and how: the formats that engines read.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A directory of this test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coracle-log-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn coracle(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.args(arguments).output().expect("coracle runs")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn a_log_file_gets_one_json_record_and_stderr_the_plain_text() {
    let directory = Directory::new("json");
    let log = directory.file("log.json");
    for times in 1..=2 {
        let output = coracle(&["--log", &log, "--log-format=json", "state", "--foo", "c"]);
        assert_eq!(output.status.code(), Some(1));
        let text = fs::read_to_string(&log).expect("a log");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), times, "appended: {text}");
        let last = lines[times - 1];
        assert!(last.starts_with("{\"level\":\"error\",\"msg\":\"flag provided"), "{last}");
        let record: Value = serde_json::from_str(last).expect("a JSON record");
        assert_eq!(record["code"], "usage");
        assert_eq!(record["hint"], "see coracle help state");
        assert_eq!(stderr(&output).trim_end(), record["msg"].as_str().expect("msg"));
        let time = record["time"].as_str().expect("time");
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn what_is_wrong_before_the_option_is_logged_as_well() {
    let directory = Directory::new("late");
    for (number, wrong) in
        ["--foo", "--foo=bar", "-x", "--debug=maybe", "--rootless=maybe"].iter().enumerate()
    {
        let log = directory.file(&number.to_string());
        let output = coracle(&[wrong, "--log", &log, "--log-format=json", "state", "c"]);
        assert_eq!(output.status.code(), Some(1), "{wrong}");
        let text = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{wrong}: {error}"));
        let record: Value = serde_json::from_str(&text).expect("one JSON record");
        assert_eq!(record["level"], "error");
        assert_eq!(stderr(&output).trim_end(), record["msg"].as_str().expect("msg"));
    }
}

#[test]
fn the_text_format_is_that_of_runc() {
    let directory = Directory::new("text");
    let log = directory.file("log");
    let output = coracle(&["--log", &log, "list", "x"]);
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.starts_with("time=\"2"), "{text}");
    let tail = " level=error msg=\"coracle: \\\"list\\\" requires exactly 0 argument(s) (see coracle help list)\"\n";
    assert!(text.ends_with(tail), "{text}");
    let plain = "coracle: \"list\" requires exactly 0 argument(s) (see coracle help list)\n";
    assert_eq!(stderr(&output), plain);
    let mode = fs::metadata(&log).expect("a log").permissions().mode();
    assert_eq!(mode & 0o133, 0, "{mode:o}");
}

#[test]
fn without_a_log_file_the_record_goes_to_stderr_once() {
    for options in [&[][..], &["--log", ""], &["--log=/dev/stderr"]] {
        let output = coracle(&[options, &["nothing"]].concat());
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty());
        let text = stderr(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(" level=error msg=\"unknown command"), "{text}");
    }
    let output = coracle(&["--log-format", "json", "nothing"]);
    let record: Value = serde_json::from_slice(&output.stderr).expect("a JSON record");
    assert_eq!(record["level"], "error");
}

#[test]
fn a_log_file_may_be_called_one() {
    let directory = Directory::new("form");
    let log = directory.file("log");
    coracle(&["--log", &format!("file:{log}"), "nothing"]);
    let text = fs::read_to_string(&log).expect("a log");
    assert!(text.contains(" level=error msg=\"unknown command"), "{text}");
    let output = coracle(&["--log=file:", "nothing"]);
    assert_eq!(stderr(&output).lines().count(), 1, "standard error alone");
}

/// Runs coracle where `place` is this socket; `None` says why it cannot.
fn coracle_with_socket(directory: &Directory, place: &str, arguments: &[&str]) -> Option<Output> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a private mount namespace needs root");
        return None;
    }
    // A tmpfs over the directory at the top, so that nothing of the host is touched.
    let script = "set -e
        socket=$1; place=$2; shift 2
        mount -t tmpfs none \"/$(echo \"$place\" | cut -d/ -f2)\"
        mkdir -p \"${place%/*}\"
        touch \"$place\"
        mount --bind \"$socket\" \"$place\"
        exec \"$@\"";
    let socket = directory.file("socket");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", &socket, place])
        .arg(env!("CARGO_BIN_EXE_coracle"))
        .args(arguments)
        .output()
        .expect("unshare runs");
    Some(output)
}

fn listen(directory: &Directory) -> UnixDatagram {
    let socket = UnixDatagram::bind(directory.file("socket")).expect("a socket");
    socket.set_nonblocking(true).expect("a non-blocking socket");
    socket
}

/// The only message that came.
fn message(socket: &UnixDatagram, output: &Output) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(socket.recv(&mut [0; 1]).is_err(), "one record only");
    // One character a byte: lengths are no text.
    buffer[..length].iter().map(|byte| char::from(*byte)).collect()
}

#[test]
fn the_journal_gets_one_entry_with_its_priority() {
    let directory = Directory::new("journal");
    let socket = listen(&directory);
    let place = "/run/systemd/journal/socket";
    for (format, start) in [("text", "flag provided but"), ("json", "{\"level\":\"error\",\"msg\"")]
    {
        let arguments = ["--log=journald:c1", "--log-format", format, "state", "--foo", "c"];
        let Some(output) = coracle_with_socket(&directory, place, &arguments) else { return };
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with("flag provided but not defined: --foo"));
        let entry = message(&socket, &output);
        for part in
            ["PRIORITY\n\x01\0\0\0\0\0\0\x003\n", "\nSYSLOG_IDENTIFIER\n\x02\0\0\0\0\0\0\0c1\n"]
        {
            assert!(entry.contains(part), "{entry:?}");
        }
        let text = entry.split("\nMESSAGE\n").nth(1).expect("a message");
        let text: String = text.chars().skip(8).collect();
        assert!(text.starts_with(start), "{entry:?}");
    }
}

#[test]
fn the_log_of_the_system_gets_one_record() {
    let directory = Directory::new("syslog");
    let socket = listen(&directory);
    let arguments = ["--log", "syslog:", "nothing"];
    let Some(output) = coracle_with_socket(&directory, "/dev/log", &arguments) else { return };
    let record = message(&socket, &output);
    assert!(record.starts_with("<11>"), "{record}");
    assert!(record.contains(" coracle: unknown command \"nothing\""), "{record}");
}

#[test]
fn a_log_that_nobody_takes_is_an_error() {
    for log in ["journald:c", "syslog:c"] {
        let place = if log.starts_with('j') { "/run/systemd/journal/socket" } else { "/dev/log" };
        if std::path::Path::new(place).exists() {
            println!("skipped: {place} exists");
            continue;
        }
        let output = coracle(&["--log", log, "--version"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&format!("open the log {place}: no such file")));
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let output = coracle(&["--log", "/nonexistent/log", "--version"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("open the log /nonexistent/log: no such file"));
}

#[test]
fn help_goes_to_a_closed_reader_as_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let status = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .arg("--help")
        .stdout(full.expect("/dev/full"))
        .output()
        .expect("coracle runs")
        .status;
    assert_eq!(status.code(), Some(1));
}
