//! Changes of shares while the container runs.

use std::fs;

use coracle::spec::Resources;
use coracle::{Container, Error, ErrorKind, ExecOptions, Signal, UpdateOptions};
use serde_json::{Value, json};

use crate::pid;
use crate::scene::Scene;

/// What the kernel puts into the `schemata` file of a new class.
const FULL: &str = "    MB:0= 100;1= 100\n    L3:0=0ff;1=7ff\n";

/// A limit that is refused, after one that is not: there is no such device.
const REFUSED: &str = r#"{"pids": {"limit": 77}, "blockIO": {"throttleReadBpsDevice":
    [{"major": 4095, "minor": 1, "rate": 1}]}}"#;

impl Scene {
    fn update(
        &self,
        container: &Container,
        (cache, bandwidth): (&str, &str),
        resources: &str,
    ) -> Result<(), Error> {
        let mut options = UpdateOptions::default();
        options.l3_cache_schema = Some(cache.to_owned());
        options.mem_bw_schema = Some(bandwidth.to_owned());
        options.resctrl_imitation = Some(self.path(""));
        container.update_with(&Resources::parse(resources.as_bytes()).expect("limits"), &options)
    }

    /// A container in a class of its own, which the kernel has filled.
    fn in_class(&self, settings: &Value, class: &str) -> Container {
        let container = self.create(settings).expect("created");
        fs::write(self.path(class).join("schemata"), FULL).expect("schemata");
        container
    }

    fn load(&self) -> Container {
        self.runtime().load(&self.id.parse().expect("an id")).expect("loaded")
    }
}

/// The shares that hold: of the lines that an imitation was given, the last ones count.
fn added(text: &str) -> &str {
    text.strip_prefix(FULL).expect("the kernel's lines")
}

#[test]
fn the_shares_of_a_running_container_change() {
    let Some(scene) = Scene::new("change") else { return };
    let before = scene.whole();
    let container = scene.in_class(&json!({}), &scene.id);
    let schemata = format!("{}/schemata", scene.id);
    container.start().expect("started");
    scene.update(&container, ("L3:0=f", ""), "{}").expect("the cache");
    assert_eq!(added(&scene.read(&schemata)), "L3:0=f\n");
    scene.update(&container, ("", "MB:1=70"), r#"{"pids": {"limit": 60}}"#).expect("both");
    assert_eq!(added(&scene.read(&schemata)), "L3:0=f\nMB:1=70\n");
    assert_eq!(container.stats().expect("statistics").pids.limit, Some(60));
    // Without shares nothing is written.
    scene.update(&container, ("", ""), r#"{"pids": {"limit": 50}}"#).expect("limits alone");
    assert_eq!(added(&scene.read(&schemata)), "L3:0=f\nMB:1=70\n");
    scene.delete();
    assert_eq!(scene.whole(), before);
}

#[test]
fn a_class_that_was_made_under_a_name_changes_and_one_of_others_does_not() {
    let Some(scene) = Scene::new("others") else { return };
    let container = scene.in_class(&json!({"closID": "new", "schemata": ["L3:0=3"]}), "new");
    scene.update(&container, ("L3:1=1", ""), "{}").expect("changed");
    assert_eq!(added(&scene.read("new/schemata")), "L3:1=1\n");
    scene.delete();
    scene.class("gold");
    for class in ["gold", "/"] {
        let container = scene.create(&json!({"closID": class})).expect("created");
        let error = scene.update(&container, ("L3:0=1", ""), "{}").expect_err(class);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.field(), Some("linux.intelRdt.closID"), "{error}");
        assert_eq!(scene.read("gold/schemata"), FULL);
        assert_eq!(scene.read("schemata"), FULL);
        scene.delete();
    }
}

#[test]
fn what_the_class_does_not_have_is_refused_before_anything_changes() {
    let Some(scene) = Scene::new("missing") else { return };
    let container = scene.in_class(&json!({}), &scene.id);
    let limit = container.stats().expect("statistics").pids.limit;
    for (shares, kind, field) in [
        (("L3:7=f", ""), ErrorKind::Unsupported, "linux.intelRdt"),
        (("L2:0=f", ""), ErrorKind::Unsupported, "linux.intelRdt"),
        (("", "MB:2=10"), ErrorKind::Unsupported, "linux.intelRdt"),
        (("", "L3:0=1"), ErrorKind::InvalidSpec, "linux.intelRdt.memBwSchema"),
        (("nonsense", ""), ErrorKind::InvalidSpec, "linux.intelRdt.l3CacheSchema"),
    ] {
        let limits = r#"{"pids": {"limit": 77}}"#;
        let error = scene.update(&container, shares, limits).expect_err("refused");
        assert_eq!((error.kind(), error.field()), (kind, Some(field)), "{error}");
        assert_eq!(added(&scene.read(&format!("{}/schemata", scene.id))), "", "{shares:?}");
        assert_eq!(container.stats().expect("statistics").pids.limit, limit, "{shares:?}");
    }
    scene.delete();
}

#[test]
fn a_limit_that_is_refused_takes_the_shares_back() {
    let Some(scene) = Scene::new("back") else { return };
    let container = scene.in_class(&json!({}), &scene.id);
    let limit = container.stats().expect("statistics").pids.limit;
    let error = scene.update(&container, ("L3:1=1", "MB:0=20"), REFUSED).expect_err("no device");
    let field = error.field().unwrap_or_default();
    assert!(field.starts_with("linux.resources.blockIO"), "{error}");
    let written = scene.read(&format!("{}/schemata", scene.id));
    assert_eq!(added(&written), "L3:1=1\nMB:0=20\nL3:1=7ff\nMB:0=100\n");
    assert_eq!(container.stats().expect("statistics").pids.limit, limit);
    scene.delete();
}

#[test]
fn a_container_without_a_class_gets_one_with_all_that_runs_in_it() {
    let Some(scene) = Scene::new("later") else { return };
    let before = scene.whole();
    let container = scene.create(&Value::Null).expect("created");
    container.start().expect("started");
    let process =
        |args: &[&str]| serde_json::from_value(json!({"args": args, "cwd": "/"})).expect("valid");
    let sleep = process(&["/bin/busybox", "sleep", "60"]);
    let exec = container.exec(&sleep, &ExecOptions::default()).expect("exec");
    assert!(container.rdt_stats().expect("a state").is_none());
    scene.update(&container, ("L3:0=f", ""), "{}").expect("a class");
    assert_eq!(scene.read(&format!("{}/schemata", scene.id)), "L3:0=f\n");
    let tasks = scene.read(&format!("{}/tasks", scene.id));
    for pid in [pid(&container), format!("{}\n", exec.pid())] {
        assert!(tasks.contains(&pid), "{pid} in {tasks}");
    }
    // The end of the pid namespace would wait for this process to reap it.
    exec.kill(Signal::KILL).expect("killed");
    exec.wait().expect("an end");
    // What comes later joins, and what was made goes.
    let later = scene.load();
    let exec =
        later.exec(&process(&["/bin/busybox", "true"]), &ExecOptions::default()).expect("exec");
    assert!(scene.read(&format!("{}/tasks", scene.id)).lines().count() > tasks.lines().count());
    exec.wait().expect("an end");
    fs::write(scene.path(&scene.id).join("schemata"), FULL).expect("schemata");
    // The first handle knows nothing of the class; the change finds it.
    scene.update(&container, ("L3:1=1", ""), "{}").expect("changed");
    assert_eq!(added(&scene.read(&format!("{}/schemata", scene.id))), "L3:1=1\n");
    scene.delete();
    assert_eq!(scene.whole(), before);
}

#[test]
fn a_new_class_goes_again_when_a_limit_is_refused() {
    let Some(scene) = Scene::new("regret") else { return };
    let before = scene.whole();
    let container = scene.create(&Value::Null).expect("created");
    scene.update(&container, ("L3:0=f", ""), REFUSED).expect_err("no device");
    assert_eq!(scene.whole(), before);
    assert!(scene.load().rdt_stats().expect("a state").is_none());
    // Somebody else's by now: the deletion leaves it.
    scene.class(&scene.id);
    scene.delete();
    assert!(scene.path(&scene.id).exists());
}
