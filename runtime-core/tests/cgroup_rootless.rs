//! The cgroup of a container that an ordinary user makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use coracle::ErrorKind;
use coracle::cgroup::{self, Entry, Layout, Leftover, Record, Version};
use coracle::spec::Resources;

const NOBODY: u32 = 65_534;

/// Whether the test goes on in this process. Root runs it again as nobody instead.
fn as_user(test: &str) -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output();
    match run {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            eprint!("{errors}");
            assert!(output.status.success(), "{text}{errors}");
            assert!(text.contains("1 passed"), "{text}");
        }
        Err(error) => eprintln!("skipped: nobody cannot run the test program: {error}"),
    }
    false
}

/// A place where an ordinary user may not make cgroups; `optional`: the container can do without.
fn forbidden(optional: bool) -> Record {
    let id = format!("coracle-test-rootless-{}", std::process::id());
    let layout = Layout::detect().unwrap();
    let record = layout.place(&id.parse().unwrap(), Some(&format!("/{id}"))).unwrap();
    let mut value = serde_json::to_value(record).unwrap();
    value["optional"] = optional.into();
    serde_json::from_value(value).unwrap()
}

fn resources(text: &str) -> Resources {
    serde_json::from_str(text).unwrap()
}

#[test]
fn without_limits_and_path_there_is_none() {
    if !as_user("without_limits_and_path_there_is_none") {
        return;
    }
    let mut manager = cgroup::open(forbidden(true)).unwrap();
    let devices = resources(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#);
    manager.create(&devices).unwrap();
    manager.apply(&devices).unwrap();
    assert!(manager.record().is_empty());
    assert_eq!(manager.record().paths().len(), 0);
    manager.add(i32::try_from(std::process::id()).unwrap(), Entry::Moved).unwrap();
    assert!(manager.clone_fd().unwrap().is_none());
    assert_eq!(manager.processes().unwrap(), [0; 0]);
    assert!(!manager.frozen().unwrap());
    assert_eq!(manager.freeze().unwrap_err().kind(), ErrorKind::Unsupported);
    manager.kill().unwrap();
    manager.delete(Leftover::Kill).unwrap();
    // And so it is for a later command.
    let later = cgroup::open(manager.record().clone()).unwrap();
    later.kill().unwrap();
    later.delete(Leftover::Kill).unwrap();
}

#[test]
fn a_limit_that_cannot_be_held_is_an_error_with_its_name() {
    if !as_user("a_limit_that_cannot_be_held_is_an_error_with_its_name") {
        return;
    }
    let limit = resources(r#"{"pids":{"limit":5}}"#);
    let mut manager = cgroup::open(forbidden(true)).unwrap();
    let error = manager.create(&limit).and_then(|()| manager.apply(&limit)).unwrap_err();
    assert_eq!(error.field(), Some("linux.resources.pids.limit"), "{error}");
    assert!(error.hint().unwrap().contains("delegate"), "{error}");
}

#[test]
fn a_path_that_was_asked_for_must_be_made() {
    if !as_user("a_path_that_was_asked_for_must_be_made") {
        return;
    }
    let mut manager = cgroup::open(forbidden(false)).unwrap();
    let error = manager.create(&Resources::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.hint().unwrap().contains("delegate"), "{error}");
}

#[test]
fn a_delegated_cgroup_holds_limits() {
    if !as_user("a_delegated_cgroup_holds_limits") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let id = format!("coracle-test-rootless-{}", std::process::id()).parse().unwrap();
    let record = layout.place(&id, None).unwrap();
    let Some(path) = record.unified_path().filter(|_| layout.version() == Version::V2) else {
        eprintln!("skipped: no pure cgroup v2");
        return;
    };
    let above = path.parent().unwrap().join("cgroup.procs");
    if std::fs::OpenOptions::new().write(true).open(above).is_err() {
        eprintln!("skipped: no cgroup is delegated to this user");
        return;
    }
    let limits = resources(
        r#"{"pids":{"limit":7},"memory":{"limit":67108864},
        "devices":[{"allow":false,"access":"rwm"}]}"#,
    );
    let mut manager = cgroup::open(record).unwrap();
    manager.create(&limits).unwrap();
    let applied = manager.apply(&limits);
    let read = |file| std::fs::read_to_string(path.join(file)).unwrap().trim_end().to_owned();
    let (tasks, memory) = (read("pids.max"), read("memory.max"));
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    let joined = manager.add(i32::try_from(child.id()).unwrap(), Entry::Moved);
    let inside = manager.processes().unwrap();
    manager.kill().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    manager.delete(Leftover::Kill).unwrap();
    applied.unwrap();
    joined.unwrap();
    assert_eq!((&*tasks, &*memory), ("7", "67108864"));
    assert_eq!(inside, [i32::try_from(child.id()).unwrap()]);
}
