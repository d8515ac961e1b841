//! The container's place in a resctrl file system, against an imitation: an ordinary directory, in which the
//! kernel neither makes files nor moves processes nor refuses a value. What is held here is which directories
//! and files are made, read, written and removed; no machine of this project has the hardware.
#![allow(clippy::expect_used, reason = "a test fails where it expects in vain")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

mod scene;
mod stats;
mod update;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coracle::{Container, ErrorKind, ExecOptions};
use serde_json::json;

use scene::Scene;

fn pid(container: &Container) -> String {
    format!("{}\n", container.state().expect("a state").pid)
}

#[test]
fn without_a_class_the_container_gets_one_of_its_name() {
    let Some(scene) = Scene::new("own") else { return };
    let before = scene.whole();
    let settings = json!({"l3CacheSchema": "L3:0=f;1=3", "memBwSchema": "MB:0=20;1=70",
                          "schemata": ["L3:0=7"]});
    let container = scene.create(&settings).expect("created");
    let id = &scene.id;
    assert_eq!(scene.read(&format!("{id}/schemata")), "L3:0=f;1=3\nMB:0=20;1=70\nL3:0=7\n");
    assert_eq!(scene.read(&format!("{id}/tasks")), pid(&container), "before it has started");
    assert_eq!(scene.read("tasks"), "");
    container.start().expect("started");
    let process = serde_json::from_value(json!({"args": ["/bin/busybox", "true"], "cwd": "/"}))
        .expect("valid");
    let exec = container.exec(&process, &ExecOptions::default()).expect("exec");
    // The first of its processes is moved; the kernel keeps what that starts in the same class.
    let tasks = scene.read(&format!("{id}/tasks"));
    let moved =
        tasks.strip_prefix(&pid(&container)).and_then(|rest| rest.trim().parse::<i32>().ok());
    assert!(moved.is_some_and(|moved| moved > 0), "{tasks:?}");
    exec.wait().expect("ends");
    scene.delete();
    assert_eq!(scene.whole(), before);
}

#[test]
fn no_schema_means_that_no_schemata_file_is_written() {
    let Some(scene) = Scene::new("plain") else { return };
    scene.create(&json!({})).expect("created");
    assert!(!scene.path(&format!("{}/schemata", scene.id)).exists());
    scene.delete();
    assert!(!scene.path(&scene.id).exists());
}

#[test]
fn a_class_that_exists_is_joined_and_stays() {
    let Some(scene) = Scene::new("join") else { return };
    scene.class("gold");
    let (before, shares) = (scene.whole(), scene.read("gold/schemata"));
    for settings in [
        json!({"closID": "gold"}),
        json!({"closID": "gold", "l3CacheSchema": "L3:1=7FF;0=ff"}),
        json!({"closID": "gold", "memBwSchema": "MB:1=0100"}),
        json!({"closID": "gold", "schemata": ["L3:0=ff;1=7ff", "MB:0=100"]}),
    ] {
        let container = scene.create(&settings).expect("created");
        assert!(scene.read("gold/tasks").ends_with(&pid(&container)), "{settings}");
        assert_eq!(scene.read("gold/schemata"), shares, "{settings}");
        scene.delete();
        assert_eq!(scene.whole(), before, "{settings}");
    }
}

#[test]
fn a_class_with_other_shares_or_none_at_all_is_an_error() {
    let Some(scene) = Scene::new("other") else { return };
    scene.class("gold");
    let invalid = ErrorKind::InvalidSpec;
    for settings in [
        json!({"closID": "gold", "l3CacheSchema": "L3:0=f"}),
        json!({"closID": "gold", "memBwSchema": "MB:2=10"}),
        json!({"closID": "gold", "l3CacheSchema": "L3:0=ff", "schemata": ["L3:0=1"]}),
        json!({"closID": "/", "schemata": ["L2:0=1"]}),
    ] {
        scene.refused(&settings, "linux.intelRdt", invalid);
    }
    scene.refused(&json!({"closID": "silver"}), "linux.intelRdt.closID", invalid);
    let monitored = json!({"closID": "silver", "enableMonitoring": true});
    scene.refused(&monitored, "linux.intelRdt.closID", invalid);
}

#[test]
fn a_class_that_was_made_goes_with_its_last_process() {
    let Some(scene) = Scene::new("made") else { return };
    let before = scene.whole();
    let settings = json!({"closID": "bronze", "schemata": ["L3:0=3"]});
    scene.create(&settings).expect("created");
    assert_eq!(scene.read("bronze/schemata"), "L3:0=3\n");
    scene.delete();
    assert_eq!(scene.whole(), before);

    scene.create(&settings).expect("created");
    let mut tasks = scene.read("bronze/tasks");
    tasks.push_str(&format!("{}\n", std::process::id()));
    fs::write(scene.path("bronze/tasks"), tasks).expect("another process joins");
    scene.delete();
    assert!(scene.path("bronze").exists(), "this process would lose its shares");
}

#[test]
fn the_default_class_is_neither_made_nor_removed() {
    let Some(scene) = Scene::new("default") else { return };
    let (before, shares) = (scene.whole(), scene.read("schemata"));
    for settings in [json!({"closID": "/"}), json!({"closID": "/", "schemata": ["L3:0=ff"]})] {
        let container = scene.create(&settings).expect("created");
        assert!(scene.read("tasks").ends_with(&pid(&container)));
        assert_eq!(scene.read("schemata"), shares);
        scene.delete();
        assert_eq!(scene.whole(), before);
    }
}

#[test]
fn a_monitoring_group_is_below_the_class() {
    let Some(scene) = Scene::new("monitor") else { return };
    scene.class("gold");
    let before = scene.whole();
    for (class, settings) in [
        ("gold/", json!({"closID": "gold", "enableMonitoring": true})),
        ("gold/", json!({"closID": "gold", "enableCMT": true})),
        ("gold/", json!({"closID": "gold", "enableMBM": true})),
        ("", json!({"closID": "/", "enableMonitoring": true})),
        (&format!("{}/", scene.id), json!({"enableMonitoring": true})),
    ] {
        let container = scene.create(&settings).expect("created");
        let group = scene.read(&format!("{class}mon_groups/{}/tasks", scene.id));
        assert_eq!(group, pid(&container), "{settings}");
        assert!(scene.read(&format!("{class}tasks")).ends_with(&pid(&container)), "{settings}");
        scene.delete();
        assert_eq!(scene.whole(), before, "{settings}");
    }
}

#[test]
fn what_has_the_containers_name_already_is_not_its_own() {
    let Some(scene) = Scene::new("taken") else { return };
    scene.class(&scene.id);
    scene.refused(&json!({}), "linux.intelRdt", ErrorKind::AlreadyExists);
    fs::create_dir(scene.path("mon_groups").join(&scene.id)).expect("a group");
    let settings = json!({"closID": "/", "enableMonitoring": true});
    scene.refused(&settings, "linux.intelRdt.enableMonitoring", ErrorKind::AlreadyExists);
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let Some(scene) = Scene::new("fails") else { return };
    let before = scene.whole();
    let hooks = json!({"createRuntime": [{"path": "/bin/false"}]});
    for settings in [
        json!({"schemata": ["L3:0=3"], "enableMonitoring": true}),
        json!({"closID": "new", "schemata": ["L3:0=3"], "enableMonitoring": true}),
    ] {
        let error = scene.create_with(&settings, &hooks).expect_err("the hook fails");
        assert_eq!(error.kind(), ErrorKind::Hook, "{error}");
        assert_eq!(scene.whole(), before);
    }
}

#[test]
fn the_words_of_the_kernel_are_in_the_error() {
    let Some(scene) = Scene::new("words") else { return };
    fs::write(scene.path("info/last_cmd_status"), "too many groups\n").expect("a status");
    // In the place of the class's directory nothing can be made.
    fs::remove_dir(scene.path("mon_groups")).expect("removed");
    fs::write(scene.path("mon_groups"), "").expect("a file");
    let settings = json!({"closID": "/", "enableMonitoring": true});
    let error = scene.create(&settings).expect_err("no monitoring");
    assert_eq!(error.field(), Some("linux.intelRdt.enableMonitoring"), "{error}");
    assert_eq!(error.hint(), Some("too many groups"), "{error}");
}

/// In this variable the test below finds that it is the process to be killed.
const VICTIM: &str = "CORACLE_TEST_VICTIM";

#[test]
fn a_create_that_was_killed_is_cleaned_by_force() {
    if let Ok(directory) = std::env::var(VICTIM) {
        let id = std::env::var("CORACLE_TEST_ID").expect("an id");
        let scene = Scene::borrowed(PathBuf::from(directory), id);
        let settings = json!({"schemata": ["L3:0=3"], "enableMonitoring": true});
        let hooks = json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "60"]}]});
        scene.create_with(&settings, &hooks).expect_err("this process is killed before");
        return;
    }
    let Some(scene) = Scene::new("killed") else { return };
    let before = scene.whole();
    let mut victim = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_create_that_was_killed_is_cleaned_by_force"])
        .env(VICTIM, &scene.directory)
        .env("CORACLE_TEST_ID", &scene.id)
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let tasks = scene.path(&format!("{}/mon_groups/{0}/tasks", scene.id));
    let end = Instant::now() + Duration::from_secs(20);
    while !tasks.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    victim.kill().expect("killed");
    victim.wait().expect("reaped");
    assert!(tasks.exists(), "nobody has cleaned up yet");
    scene.delete();
    assert_eq!(scene.whole(), before);
}
