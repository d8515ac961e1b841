//! `wait`: the exit status for others than the parent.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::process::Stdio;
use std::time::Duration;

use bundle::Bundle;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Makes this process the parent of what its children leave behind: then nobody but the test reaps.
fn adopt_orphans() {
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
}

/// Reaps the container's program.
fn reap(bundle: &Bundle) {
    let pid = std::fs::read_to_string(bundle.path("pid")).expect("a pid file");
    waitpid(Pid::from_raw(pid.parse().expect("a number")), None).expect("a child");
}

#[test]
fn it_waits_and_writes_the_status() {
    adopt_orphans();
    for (script, signal, expected) in
        [("exit 7", None, "7\n"), ("exit 0", None, "0\n"), ("sleep 9", Some("KILL"), "137\n")]
    {
        let Some(bundle) = Bundle::new(script) else { return };
        bundle.create(&["--pid-file", "pid"]);
        let waiting = bundle.command(&["wait", &bundle.id]).stdout(Stdio::piped()).spawn();
        bundle.succeed(&["start", &bundle.id]);
        if let Some(signal) = signal {
            bundle.succeed(&["kill", &bundle.id, signal]);
        }
        let output = waiting.expect("coracle runs").wait_with_output().expect("an end");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

        // Before it is reaped everybody can ask again; afterwards nobody.
        assert_eq!(bundle.succeed(&["wait", &bundle.id]), expected);
        reap(&bundle);
        let error = bundle.fail(1, &["wait", &bundle.id]);
        assert!(error.contains("container not running"), "{error}");
    }
}

#[test]
fn a_parent_that_reaps_at_once_takes_nothing_away() {
    adopt_orphans();
    let Some(bundle) = Bundle::new("exit 7") else { return };
    bundle.create(&["--pid-file", "pid"]);
    let mut waiting = bundle.command(&["wait", &bundle.id]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    // Until it waits: what was reaped before that cannot be asked any more.
    std::thread::sleep(Duration::from_millis(300));
    bundle.succeed(&["start", &bundle.id]);
    reap(&bundle);
    let output = waiting.expect("coracle runs").wait_with_output().expect("an end");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("its exit status is not known") && !kernel_keeps_statuses() {
        println!("skipped: needs Linux 6.15");
        return;
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "7\n", "{stderr}");
}

/// Whether this is Linux 6.15 or newer.
fn kernel_keeps_statuses() -> bool {
    let name = nix::sys::utsname::uname().expect("uname");
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn a_missing_container_is_an_error() {
    let Some(bundle) = Bundle::new("true") else { return };
    let error = bundle.fail(1, &["wait", "nothing"]);
    assert!(error.contains("does not exist"), "{error}");
}
