//! The container's place in a resctrl file system, against an imitation: an ordinary directory, in which the
//! kernel neither makes files nor moves processes nor refuses a value. What is held here is which directories
//! and files are made, read, written and removed; no machine of this project has the hardware.
#![allow(clippy::expect_used, reason = "a test fails where it expects in vain")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coracle::{Bundle, Container, CreateOptions, Error, ErrorKind, ExecOptions, Runtime};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file system, a bundle and a state root.
struct Scene {
    directory: PathBuf,
    id: String,
    /// Removes the directory at the end; absent in a process that borrows it.
    _owned: Option<TempDir>,
}

impl Scene {
    /// `None` where containers cannot be made, which it says.
    fn new(name: &str) -> Option<Self> {
        let missing = if !nix::unistd::geteuid().is_root() {
            "needs root"
        } else if !Path::new("/bin/busybox").exists() {
            "needs /bin/busybox (Debian package busybox-static)"
        } else {
            let owned = tempfile::tempdir().expect("a directory");
            let id = format!("rdt-{name}-{}", std::process::id());
            let scene = Self { directory: owned.path().to_owned(), id, _owned: Some(owned) };
            scene.class("");
            fs::create_dir(scene.path("info")).expect("info");
            return Some(scene);
        };
        println!("skipped: {missing}");
        None
    }

    /// A path in the file system.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join("resctrl").join(name)
    }

    /// Makes a class of service as the kernel does.
    fn class(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.join("mon_groups")).expect("a class");
        fs::write(path.join("tasks"), "").expect("tasks");
        fs::write(path.join("schemata"), "    MB:0= 100;1= 100\n    L3:0=0ff;1=7ff\n")
            .expect("schemata");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    /// Everything in the file system, sorted.
    fn whole(&self) -> Vec<String> {
        fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(directory).expect("readable").flatten() {
                let name = entry.path().strip_prefix(root).expect("below").display().to_string();
                found.push(name);
                if entry.path().is_dir() {
                    walk(&entry.path(), root, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(""), &self.path(""), &mut found);
        found.sort();
        found
    }

    fn runtime(&self) -> Runtime {
        Runtime::new(self.directory.join("state"))
    }

    /// Creates a container with these settings, and with more in its configuration.
    fn create_with(&self, settings: &Value, hooks: &Value) -> Result<Container, Error> {
        let bin = self.directory.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("rootfs");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox");
        let config = json!({
            "ociVersion": "1.3.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/busybox", "sleep", "60"],
                        "cwd": "/", "capabilities": {}},
            "root": {"path": "rootfs"},
            "hooks": hooks,
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}], "intelRdt": settings}
        });
        fs::write(self.directory.join("config.json"), config.to_string()).expect("config");
        let bundle = Bundle::load(&self.directory)?;
        let mut options = CreateOptions::default();
        options.resctrl_imitation = Some(self.path(""));
        self.runtime().create(&self.id.parse().expect("an id"), &bundle, &options)
    }

    fn create(&self, settings: &Value) -> Result<Container, Error> {
        self.create_with(settings, &json!({}))
    }

    fn delete(&self) {
        let id = self.id.parse().expect("an id");
        self.runtime().delete(&id, true).expect("deleted");
    }

    /// Creating fails with this field and kind, and leaves the file system as it was.
    fn refused(&self, settings: &Value, field: &str, kind: ErrorKind) {
        let before = self.whole();
        let error = self.create(settings).expect_err("refused");
        assert_eq!((error.field(), error.kind()), (Some(field), kind), "{error}");
        assert_eq!(self.whole(), before);
    }
}

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
        let scene = Scene { directory: PathBuf::from(directory), id, _owned: None };
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
