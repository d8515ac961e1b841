//! What one command sees and does while another is at work on the same container.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bundle::{Bundle, await_true, stderr};
use serde_json::{Value, json};

/// A hook that would outlast any of these tests.
fn endless() -> Value {
    json!([{ "path": "/bin/sleep", "args": ["sleep", "3600"] }])
}

/// A bundle whose program sleeps, with these hooks.
fn with_hooks(hooks: Value) -> Option<Bundle> {
    let bundle = Bundle::new("exec sleep 3600")?;
    bundle.edit(|config| config["hooks"] = hooks);
    Some(bundle)
}

fn begin(bundle: &Bundle, arguments: &[&str]) -> Child {
    let mut command = bundle.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a command")
}

fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("a command");
    (output.status.code(), stderr(&output))
}

fn state(bundle: &Bundle) -> Value {
    let output = bundle.coracle(&["state", &bundle.id]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Deletes by force, which must not take long.
fn delete_at_once(bundle: &Bundle) {
    let begin = Instant::now();
    bundle.succeed(&["delete", "--force", &bundle.id]);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_start_whose_container_is_killed_before_its_program_fails() {
    let Some(bundle) = with_hooks(json!({ "startContainer": endless() })) else { return };
    bundle.create(&[]);
    let start = begin(&bundle, &["start", &bundle.id]);
    await_true("the start", || state(&bundle)["status"] == "running");
    delete_at_once(&bundle);
    let (status, error) = end(start);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("ended before it executed the program"), "{error}");
}

#[test]
fn a_poststart_hook_keeps_nobody_from_exec_and_ends_with_the_container() {
    let Some(bundle) = with_hooks(json!({ "poststart": endless() })) else { return };
    bundle.create(&[]);
    let start = begin(&bundle, &["start", &bundle.id]);
    await_true("the start", || state(&bundle)["status"] == "running");
    bundle.succeed(&["exec", &bundle.id, "/bin/true"]);
    delete_at_once(&bundle);
    let (status, error) = end(start);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("hooks.poststart[0]"), "{error}");
}

#[test]
fn a_container_that_is_being_created_has_a_whole_state_and_takes_no_command() {
    let Some(bundle) = with_hooks(json!({ "createRuntime": endless() })) else { return };
    let create = begin(&bundle, &["create", &bundle.id]);
    await_true("the hook", || state(&bundle)["pid"].as_i64().is_some_and(|pid| pid > 0));
    let state = state(&bundle);
    assert_eq!(state["status"], "creating");
    assert_eq!(state["rootfs"], bundle.path("rootfs"));
    assert_eq!(state["owner"], "root");
    let created = state["created"].as_str().expect("a time");
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    for refused in
        [&["start"][..], &["pause"], &["resume"], &["kill"], &["kill", "--all"], &["delete"]]
    {
        let arguments: Vec<&str> = refused.iter().copied().chain([bundle.id.as_str()]).collect();
        let begin = Instant::now();
        assert_eq!(bundle.coracle(&arguments).status.code(), Some(1), "{arguments:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{arguments:?}");
    }
    delete_at_once(&bundle);
    let (status, error) = end(create);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("hooks.createRuntime[0]"), "{error}");
}

#[test]
fn a_hook_in_the_container_is_named_with_its_field() {
    let hook = |script: &str, timeout: Option<u32>| {
        let args = json!(["sh", "-c", script]);
        json!({ "path": "/bin/sh", "args": args, "timeout": timeout.unwrap_or(9) })
    };
    let cases = [
        (hook("exit 3", None), "hooks.startContainer[0]: hook /bin/sh failed with exit status 3"),
        (hook("sleep 3600", Some(1)), "hook /bin/sh killed after its timeout of 1 s"),
        (json!({ "path": "/no/such" }), "hook /no/such cannot be run: no such file or directory"),
    ];
    for (hook, said) in cases {
        let Some(bundle) = with_hooks(json!({ "startContainer": [hook] })) else { return };
        let output = bundle.coracle(&["run", &bundle.id]);
        let error = stderr(&output);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_exec_that_meets_a_deletion_says_that_the_container_is_gone() {
    let Some(bundle) = Bundle::new("exec sleep 3600") else { return };
    for round in 0..20 {
        bundle.create(&[]);
        let execs: Vec<Child> =
            (0..4).map(|_| begin(&bundle, &["exec", &bundle.id, "/bin/true"])).collect();
        std::thread::sleep(Duration::from_micros(500 * round));
        bundle.succeed(&["delete", "--force", &bundle.id]);
        for exec in execs {
            let (status, error) = end(exec);
            let gone = ["container not running", "does not exist", "in a stopped container"];
            let told = status == Some(255) && gone.iter().any(|words| error.contains(words));
            // Its program ran, and was killed with the container or was faster.
            let ran = matches!(status, Some(0 | 137)) && error.is_empty();
            assert!(told || ran, "{status:?}: {error}");
        }
    }
}
