//! Containers chosen by a regular expression, and commands that need no container.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use bundle::Bundle;

const WAIT: &str = "while :; do sleep 1; done";

#[test]
fn a_regular_expression_names_many_containers() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let names = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    // Cgroups have the names of containers.
    let named = |name: &str| format!("{}-{name}", bundle.id);
    let [one, two, other] = ["web-1", "web-2", "db-1"].map(named);
    for name in [&one, &two, &other] {
        // Its output is the containers', which would hold a pipe open.
        let mut run = bundle.command(&["run", "--detach", name]);
        assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("runs").success());
    }
    // Without --regex it is a name.
    bundle.fail(1, &["kill", ".*web-.*", "KILL"]);
    bundle.succeed(&["kill", "--regex", "[-]web-[0-9]$", "KILL"]);
    for name in [&one, &two] {
        bundle::await_true(&format!("the end of {name}"), || {
            bundle.succeed(&["state", name]).contains("\"stopped\"")
        });
    }
    assert!(bundle.succeed(&["state", &other]).contains("\"running\""));
    // All that can be deleted are; the one that cannot is the error.
    let error = bundle.fail(1, &["delete", "-r", "[-]1$"]);
    let text = format!("cannot delete container {other} that is not stopped");
    assert!(error.contains(&text), "{error}");
    assert_eq!(names(&bundle.succeed(&["list", "-q"])), [other, two]);
    bundle.succeed(&["delete", "--regex", "nothing"]);
    let error = bundle.fail(1, &["delete", "--regex", "("]);
    assert!(error.contains("invalid regular expression"), "{error}");
    bundle.succeed(&["delete", "-f", "-r", "."]);
    assert!(bundle.succeed(&["list", "-q"]).is_empty());
}

#[test]
fn a_configuration_can_have_another_name() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.succeed(&["spec", "--file", "other.json"]);
    let text = fs::read_to_string(bundle.path("other.json")).expect("the file");
    assert!(text.contains("\"ociVersion\""), "{text}");
    let error = bundle.fail(1, &["spec", "-f", "other.json"]);
    assert!(error.contains("exists"), "{error}");
}

#[test]
fn the_report_of_the_host_tells_what_is_there() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let text = bundle.succeed(&["info"]);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    assert!(text.contains(&format!("\nkernel:           {} ", kernel.trim())), "{text}");
    let root = bundle.path("state");
    assert!(text.contains(&format!("\nstate root:       {root}\n")), "{text}");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert!(text.contains(if unified {
        "\ncgroups:          v2\n"
    } else {
        "\ncgroups:          v1"
    }));
    assert!(text.lines().all(|line| line.contains(": ") && !line.ends_with(": ")), "{text}");
}

#[test]
fn a_journal_that_is_not_there_is_the_error() {
    if Path::new("/run/systemd/journal/socket").exists() {
        println!("skipped: this host has a journal");
        return;
    }
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let error = bundle.fail(1, &["--systemd-log", "list"]);
    assert!(error.contains("/run/systemd/journal/socket"), "{error}");
}
