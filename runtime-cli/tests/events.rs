//! events on real containers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use bundle::Bundle;
use serde_json::{Value, json};

const LIMIT: u64 = 32 << 20;

fn limited(script: &str) -> Option<Bundle> {
    let bundle = Bundle::new(script)?;
    bundle.edit(|config| {
        config["linux"]["resources"] =
            json!({"memory": {"limit": LIMIT, "swap": LIMIT}, "pids": {"limit": 30}});
    });
    Some(bundle)
}

#[test]
fn statistics_once() {
    let Some(bundle) = limited("while :; do :; done") else {
        return;
    };
    bundle.start_waiting();
    let used = |bundle: &Bundle| {
        let line = bundle.succeed(&["events", "--stats", &bundle.id]);
        assert_eq!(line.lines().count(), 1, "{line}");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    let first = used(&bundle);
    assert_eq!((&first["type"], &first["id"]), (&json!("stats"), &json!(bundle.id)));
    let data = &first["data"];
    assert_eq!(data["memory"]["usage"]["limit"], LIMIT);
    let usage = data["memory"]["usage"]["usage"].as_u64().expect("a number");
    assert!(usage > 0 && usage <= LIMIT, "{usage}");
    assert_eq!(data["pids"]["limit"], 30);
    assert_eq!(data["pids"]["current"], 1);
    assert!(data["memory"]["raw"].as_object().is_some_and(|raw| raw.len() > 10), "{data}");
    assert_eq!(data["network_interfaces"], Value::Null);
    let total = |value: &Value| value["data"]["cpu"]["usage"]["total"].as_u64().expect("a number");
    bundle::await_true("processor time", || total(&used(&bundle)) > total(&first) + 10_000_000);
}

#[test]
fn metrics() {
    let Some(bundle) = limited("sleep 100") else {
        return;
    };
    bundle.start_waiting();
    let text = bundle.succeed(&["events", "--format", "prometheus", &bundle.id]);
    let limit =
        format!("coracle_memory_limit_bytes{{id=\"{}\",kind=\"memory\"}} {LIMIT}", bundle.id);
    assert!(text.lines().any(|line| line == limit), "{text}");
}

#[test]
fn memory_that_runs_out_is_told_and_the_end_ends_the_command() {
    let script = "while [ ! -e /tmp/go ]; do sleep 0.02; done
        sh -c 'x=xxxxxxxx; while :; do x=$x$x; done'; sleep 100";
    let Some(bundle) = limited(script) else {
        return;
    };
    bundle.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    });
    bundle.start_waiting();
    let mut command = bundle.command(&["events", "--interval", "50ms", &bundle.id]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("events");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Option<Value> {
        let line = lines.next()?.expect("text");
        Some(serde_json::from_str(&line).expect("JSON"))
    };
    assert_eq!(next().expect("a line")["type"], "stats");
    bundle.succeed(&["exec", &bundle.id, "sh", "-c", ": >/tmp/go"]);
    let told = (0..400).find_map(|_| next().filter(|event| event["type"] == "oom"));
    assert_eq!(told.expect("an event")["id"], bundle.id.as_str());
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    while next().is_some() {}
    assert!(child.wait().expect("an end").success());
}

#[test]
fn what_cannot_be_watched_says_why() {
    let Some(bundle) = limited("sleep 100") else {
        return;
    };
    let error = bundle.fail(1, &["events", "--stats", &bundle.id]);
    assert!(error.contains("does not exist"), "{error}");
    bundle.start_waiting();
    let error = bundle.fail(1, &["events", "--interval", "5", &bundle.id]);
    assert!(error.contains("is no duration"), "{error}");
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.await_status("stopped");
    let error = bundle.fail(1, &["events", "--stats", &bundle.id]);
    assert!(error.contains("container not running"), "{error}");
}
