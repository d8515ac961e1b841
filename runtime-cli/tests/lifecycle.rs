//! create, start, state, kill, delete, list and ps on real containers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use bundle::{Bundle, stderr};
use serde_json::{Value, json};

const WAIT: &str = "while :; do sleep 1; done";

#[test]
fn a_whole_life() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.create(&["--pid-file", "pid"]);
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["bundle"], bundle.path("").trim_end_matches('/'));
    assert_eq!(state["rootfs"], bundle.path("rootfs"));
    let pid = fs::read_to_string(bundle.path("pid")).expect("a pid file");
    assert_eq!(state["pid"].to_string(), pid);

    bundle.succeed(&["start", &bundle.id]);
    assert_eq!(bundle.state()["status"], "running");
    assert_eq!(bundle.state()["pid"].to_string(), pid);

    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.await_status("stopped");
    assert_eq!(bundle.state()["pid"], 0);

    bundle.succeed(&["delete", &bundle.id]);
    let error = bundle.fail(1, &["state", &bundle.id]);
    assert!(error.contains("does not exist"), "{error}");
}

#[test]
fn the_state_has_the_keys_of_runc_in_their_order() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.create(&[]);
    let text = bundle.succeed(&["state", &bundle.id]);
    let lines = text.lines().filter_map(|line| line.strip_prefix("  \""));
    let keys: Vec<&str> = lines.filter_map(|line| line.split('"').next()).collect();
    assert_eq!(
        keys,
        ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"],
        "{text}"
    );
    let state: Value = serde_json::from_str(&text).expect("JSON");
    let created = state["created"].as_str().expect("a time");
    assert!(created.starts_with('2') && created.ends_with('Z'), "{created}");
}

#[test]
fn annotations_are_in_the_state() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.edit(|config| config["annotations"] = serde_json::json!({"a": "b"}));
    bundle.create(&[]);
    assert_eq!(bundle.state()["annotations"]["a"], "b");
}

#[test]
fn operations_refuse_the_wrong_status_in_the_words_of_runc() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let id = bundle.id.as_str();
    for arguments in
        [&["state", id][..], &["start", id], &["kill", id], &["delete", id], &["ps", id]]
    {
        let error = bundle.fail(1, arguments);
        assert!(error.contains("does not exist"), "{arguments:?}: {error}");
    }
    bundle.succeed(&["delete", "--force", id]);

    bundle.start_waiting();
    let error = bundle.fail(1, &["start", id]);
    assert!(error.contains("cannot start an already running container"), "{error}");
    let error = bundle.fail(1, &["delete", id]);
    let text = format!("cannot delete container {id} that is not stopped: running");
    assert!(error.contains(&text), "{error}");
    let error = bundle.fail(1, &["create", id]);
    assert!(error.contains("exists"), "{error}");

    bundle.succeed(&["kill", id, "9"]);
    bundle.await_status("stopped");
    let error = bundle.fail(1, &["kill", id, "TERM"]);
    assert!(error.contains("container not running"), "{error}");
    bundle.succeed(&["kill", "--all", id, "KILL"]);
    let error = bundle.fail(1, &["start", id]);
    assert!(error.contains("cannot start a container that has stopped"), "{error}");
}

#[test]
fn a_start_that_is_refused_leaves_the_socket_for_notifications_alone() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let with_manager = |arguments: &[&str]| {
        let mut command = bundle.command(arguments);
        command.env("NOTIFY_SOCKET", bundle.path("manager")).stdout(Stdio::null());
        command
    };
    let manager = UnixDatagram::bind(bundle.path("manager")).expect("a socket");
    let created = with_manager(&["create", &bundle.id]).status().expect("coracle runs");
    assert!(created.success());
    bundle.succeed(&["start", &bundle.id]);
    let socket = bundle.path(&format!("state/{}/notify/notify.sock", bundle.id));
    // Somebody else's, who passes the messages on.
    let _theirs = UnixDatagram::bind(&socket).expect("a socket");
    let inode = || fs::metadata(&socket).expect("the socket").ino();
    let before = inode();
    let again = with_manager(&["start", &bundle.id]).output().expect("coracle runs");
    assert!(stderr(&again).contains("already running"), "{}", stderr(&again));
    assert_eq!(inode(), before);
    drop(manager);
}

#[test]
fn a_signal_for_all_reaches_every_process() {
    let mark = r#"trap 'echo >>/marks' USR1; echo >>/ready; while :; do sleep 0.1; done"#;
    let script = format!("({mark}) & {mark}");
    let Some(bundle) = Bundle::new(&script) else {
        return;
    };
    let lines = |name: &str| {
        fs::read_to_string(bundle.path(&format!("rootfs/{name}"))).map_or(0, |text| text.len())
    };
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    bundle.start_waiting();
    bundle::await_true("both to listen", || lines("ready") == 2);
    bundle.succeed(&["kill", "--all", &bundle.id, "USR1"]);
    bundle::await_true("both to be told", || lines("marks") == 2);
}

#[test]
fn signals_have_many_spellings() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.start_waiting();
    for signal in ["0", "CONT", "SIGCONT", "sigcont", "cont", "18"] {
        bundle.succeed(&["kill", &bundle.id, signal]);
    }
    for signal in ["NOTHING", "", "65", "-1"] {
        bundle.fail(1, &["kill", "--", &bundle.id, signal]);
    }
}

#[test]
fn force_deletes_what_runs() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.start_waiting();
    let pid = bundle.state()["pid"].to_string();
    bundle.succeed(&["delete", "-f", &bundle.id]);
    assert!(!fs::exists(format!("/proc/{pid}/root/bin")).expect("an answer"));
    assert_eq!(bundle.succeed(&["list", "-q"]), "");
}

#[test]
fn one_record_tells_why_a_command_failed() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.edit(|config| config["process"]["args"] = serde_json::json!(["/nothing/here"]));
    let log = bundle.path("log.json");
    let output = bundle.coracle(&["--log", &log, "--log-format", "json", "create", &bundle.id]);
    assert_eq!(output.status.code(), Some(1));
    let text = fs::read_to_string(&log).expect("a log");
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON record")).collect();
    assert_eq!(records.len(), 1, "{text}");
    let message = records[0]["msg"].as_str().expect("a message");
    assert!(message.to_lowercase().contains("no such file or directory"), "{message}");
    assert!(message.contains("/nothing/here"), "{message}");
    assert_eq!(records[0]["code"], "executable", "{text}");
    assert_eq!(stderr(&output).trim_end(), message);
    assert_eq!(bundle.succeed(&["list", "-q"]), "", "nothing is left");
}

#[test]
fn the_state_root_may_be_named_by_a_link() {
    let Some(bundle) = Bundle::new(WAIT) else { return };
    fs::create_dir(bundle.path("state")).expect("a directory");
    std::os::unix::fs::symlink("state", bundle.path("link")).expect("a link");
    let link = bundle.path("link");
    bundle.create(&[]);
    let id = bundle.id.as_str();
    assert_eq!(bundle.succeed(&["--root", &link, "list", "-q"]), format!("{id}\n"));
    bundle.succeed(&["--root", &link, "start", id]);
    bundle.succeed(&["--root", &link, "delete", "-f", id]);
}

/// Podman clears `USER` for `start`, but not for `create`; both must find the same containers.
#[test]
fn only_its_real_root_gives_a_user_namespace_the_state_of_the_host() {
    let Some(bundle) = Bundle::new(WAIT) else { return };
    bundle.edit(|config| config["root"]["path"] = json!("nowhere"));
    for (user, own) in [(None, true), (Some("someone"), true), (Some("root"), false)] {
        let runtime = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", env!("CARGO_BIN_EXE_coracle"), "create", "--bundle"]);
        command.args([bundle.path(""), bundle.id.clone()]);
        command.env_clear().env("XDG_RUNTIME_DIR", runtime.path());
        if let Some(user) = user {
            command.env("USER", user);
        }
        let output = command.output().expect("unshare of util-linux");
        assert!(stderr(&output).contains("nowhere"), "{output:?}");
        assert_eq!(runtime.path().join("coracle").is_dir(), own, "USER is {user:?}");
    }
}

#[test]
fn lists_in_three_forms() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.fail(1, &["list"]);
    bundle.create(&[]);
    let id = bundle.id.as_str();
    assert_eq!(bundle.succeed(&["list", "-q"]), format!("{id}\n"));
    let table = bundle.succeed(&["list"]);
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().expect("a head").split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<&str> = lines.next().expect("a row").split_whitespace().collect();
    assert_eq!((row[0], row[2], row[5]), (id, "created", "root"));
    let json = bundle.succeed(&["list", "--format=json"]);
    let list: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(list[0]["id"], id);
    assert_eq!(list[0]["rootfs"], bundle.path("rootfs"));
    bundle.succeed(&["delete", "-f", id]);
    // Only directories are containers; a broken one is named once.
    fs::write(bundle.path("state/file"), "").expect("a file");
    fs::create_dir(bundle.path("state/broken")).expect("a directory");
    let output = bundle.coracle(&["list", "-f", "json"]);
    assert_eq!(output.stdout, b"[]\n");
    let warnings = stderr(&output);
    assert_eq!(
        (warnings.lines().count(), warnings.matches("broken").count()),
        (1, 2),
        "{warnings}"
    );
    bundle.succeed(&["delete", "-f", "broken"]);
    let error = bundle.fail(1, &["list", "-f", "xml"]);
    assert!(error.contains("invalid format option"), "{error}");
}

#[test]
fn ps_shows_the_processes() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.start_waiting();
    let pid = bundle.state()["pid"].to_string();
    let json = bundle.succeed(&["ps", "--format", "json", &bundle.id]);
    let pids: Vec<i32> = serde_json::from_str(&json).expect("JSON");
    assert!(pids.iter().any(|one| one.to_string() == pid), "{json}");
    if std::process::Command::new("ps").output().is_err() {
        println!("skipped: the table needs ps on the host");
        return;
    }
    let table = bundle.succeed(&["ps", &bundle.id, "-o", "pid,comm", "-A"]);
    let mut lines = table.lines();
    assert!(lines.next().expect("a head").contains("PID"));
    assert!(table.lines().any(|line| line.split_whitespace().next() == Some(&pid)), "{table}");
    assert!(!table.contains("coracle"), "{table}");
}

#[test]
fn what_is_missing_is_named() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let id = bundle.id.as_str();
    let error = bundle.fail(1, &["create", "--pidfd-socket", "/s", id]);
    assert!(error.contains("connect to the pidfd socket") && error.contains("/s"), "{error}");
    let error = bundle.fail(1, &["--root", "/", "list"]);
    assert!(error.contains("must not be /"), "{error}");
    let error = bundle.fail(1, &["create", "--preserve-fds", "40", id]);
    assert!(error.contains("bad file"), "{error}");
    let error = bundle.fail(1, &["create", "--bundle", "/nonexistent", id]);
    assert!(error.contains("no such file or directory"), "{error}");
}

#[test]
fn without_cgroups_a_container_stays_where_its_creator_is() {
    let Some(bundle) = Bundle::new("cat /proc/self/cgroup") else {
        return;
    };
    bundle.edit(|config| {
        config["linux"]["resources"] = Value::Null;
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "cgroup");
    });
    let own = fs::read_to_string("/proc/self/cgroup").expect("own cgroups");
    assert_eq!(bundle.succeed(&["--cgroup-manager=disabled", "run", &bundle.id]), own);
    bundle.edit(|config| config["linux"]["resources"] = json!({"pids": {"limit": 9}}));
    let error = bundle.fail(1, &["--cgroup-manager=disabled", "run", &bundle.id]);
    assert!(error.contains("linux.resources.pids.limit: cannot be held"), "{error}");
}

#[test]
fn without_systemd_its_driver_says_so() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    if Path::new("/run/systemd/private").exists() {
        println!("skipped: this host has systemd");
        return;
    }
    let error = bundle.fail(1, &["--systemd-cgroup", "create", &bundle.id]);
    assert!(error.contains("connect to systemd") && error.contains("cgroupfs"), "{error}");
}

#[test]
fn explain_and_features_change_nothing() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let text = bundle.succeed(&["explain"]);
    assert!(text.contains("/proc"), "{text}");
    let json = bundle.succeed(&["explain", "--format", "json"]);
    serde_json::from_str::<Value>(&json).expect("JSON");
    assert!(!fs::exists(bundle.path("state")).expect("an answer"));
    let output = bundle.coracle(&["features"]);
    assert!(output.stderr.is_empty());
    let features: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(features["ociVersionMin"], "1.0.0");
}
