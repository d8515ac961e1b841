//! The cgroup of a container in the v2 hierarchy: the only one, or that of a hybrid host, where
//! the tests of limits are skipped because the controllers are elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod birth;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use birth::born_in;
use coracle::ErrorKind;
use coracle::cgroup::{self, Entry, Layout, Leftover, Manager, Record, Version};
use coracle::spec::Resources;

/// A place in the v2 hierarchy, where tests can run.
fn place(name: &str) -> Option<Record> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("coracle-test-v2-{}-{count}-{name}", std::process::id());
    let layout = Layout::detect().expect("detected");
    let reason = match layout.version() {
        _ if !nix::unistd::geteuid().is_root() => "not root",
        Version::V2 => {
            let path = format!("/{id}");
            return Some(layout.place(&id.parse().unwrap(), Some(&path)).unwrap());
        }
        Version::V1 => "no cgroup v2 hierarchy",
        Version::Hybrid => {
            let text = format!(
                r#"{{"base":"/sys/fs/cgroup/unified","unified":{{"mount":"","path":"{id}"}}}}"#
            );
            return Some(serde_json::from_str(&text).unwrap());
        }
    };
    eprintln!("skipped: {reason}");
    None
}

/// The same, on a host whose v2 hierarchy has these controllers.
fn place_with(name: &str, controllers: &[&str]) -> Option<Record> {
    let record = place(name)?;
    let root = record.paths()[""].parent().unwrap().join("cgroup.controllers");
    let there = std::fs::read_to_string(root).unwrap();
    let there: Vec<&str> = there.split_whitespace().collect();
    match controllers.iter().find(|name| !there.contains(name)) {
        None => Some(record),
        Some(missing) => {
            eprintln!("skipped: the v2 hierarchy has no controller {missing:?}");
            None
        }
    }
}

/// A cgroup that is removed at the end of its test.
struct Cgroup(Box<dyn Manager>);

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.0.delete(Leftover::Kill).expect("clean up");
    }
}

fn resources(text: &str) -> Resources {
    serde_json::from_str(text).unwrap()
}

fn made(record: Record, text: &str) -> Cgroup {
    let resources = resources(text);
    let mut manager = cgroup::open(record).unwrap();
    manager.create(&resources).unwrap();
    let cgroup = Cgroup(manager);
    cgroup.0.apply(&resources).unwrap();
    cgroup
}

impl Cgroup {
    fn file(&self, file: &str) -> PathBuf {
        self.0.record().paths()[""].join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.file(file)).unwrap().trim_end().to_owned()
    }

    /// Starts a script that begins when it has been moved in.
    fn start(&self, script: &str) -> Child {
        let script = format!("read go; exec </dev/null 2>/dev/null; {script}");
        let mut child =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.0.add(pid, Entry::Moved).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} within 5 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a device can be opened inside; loop-control is a device that no default allows.
const OPEN: &str = "true </dev/null || exit 3; true </dev/loop-control || exit 4; exit 5";

fn needs_loop_control() -> bool {
    let there = std::path::Path::new("/dev/loop-control").exists();
    if !there {
        eprintln!("skipped: no /dev/loop-control");
    }
    there
}

#[test]
fn the_device_filter_holds() {
    let Some(record) = place("devices") else {
        return;
    };
    if !needs_loop_control() {
        return;
    }
    let cgroup = made(record, r#"{"devices":[{"allow":false,"access":"rwm"}]}"#);
    assert_eq!(cgroup.start(OPEN).wait().unwrap().code(), Some(4));
    // An update of limits leaves it alone.
    cgroup.0.update(&Resources::default()).unwrap();
    assert_eq!(cgroup.start(OPEN).wait().unwrap().code(), Some(4));
}

#[test]
fn a_device_that_is_allowed_can_be_opened() {
    let Some(record) = place("allowed") else {
        return;
    };
    if !needs_loop_control() {
        return;
    }
    let rules = r#"{"devices":[{"allow":true,"type":"c","access":"rw"},
        {"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]}"#;
    let cgroup = made(record, rules);
    assert_eq!(cgroup.start(OPEN).wait().unwrap().code(), Some(5));
    let all = r#"{"devices":[{"allow":true,"access":"rwm"}]}"#;
    let cgroup = made(place("all").unwrap(), all);
    assert_eq!(cgroup.start(OPEN).wait().unwrap().code(), Some(5));
}

#[test]
fn a_cgroup_taken_over_loses_its_old_filter() {
    let Some(record) = place("again") else { return };
    if !needs_loop_control() {
        return;
    }
    let _first = made(record.clone(), "{}");
    let second = made(record, r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert_eq!(second.start(OPEN).wait().unwrap().code(), Some(5));
}

#[test]
fn an_existing_cgroup_is_taken_over_only_when_empty() {
    let Some(record) = place("taken") else { return };
    let cgroup = made(record.clone(), "{}");
    let mut child = cgroup.start("exec sleep 100");
    let mut second = cgroup::open(record).unwrap();
    let error = second.create(&Resources::default()).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBUSY), "{error}");
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    eventually("empty", || cgroup.0.processes().unwrap().is_empty());
    cgroup.0.freeze().unwrap();
    let error = second.create(&Resources::default()).unwrap_err();
    assert!(error.to_string().contains("frozen"), "{error}");
    cgroup.0.thaw().unwrap();
    second.create(&Resources::default()).unwrap();
}

#[test]
fn frozen_processes_stand_still_and_can_be_killed() {
    let Some(record) = place("frozen") else {
        return;
    };
    let cgroup = made(record, "{}");
    let mut child = cgroup.start("while :; do sleep 0.01; done");
    cgroup.0.freeze().unwrap();
    assert!(cgroup.0.frozen().unwrap());
    cgroup.0.thaw().unwrap();
    eventually("runs again", || !cgroup.0.frozen().unwrap());
    cgroup.0.freeze().unwrap();
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    assert!(cgroup.file("").exists());
    cgroup.0.delete(Leftover::Wait).unwrap();
    assert!(!cgroup.0.frozen().unwrap());
    assert!(!cgroup.file("").exists());
}

#[test]
fn a_process_can_be_born_inside() {
    let Some(record) = place("born") else { return };
    let cgroup = made(record, "{}");
    let fd = cgroup.0.clone_fd().unwrap().expect("a v2 directory");
    let Some(pid) = born_in(fd) else { return };
    cgroup.0.add(pid, Entry::Cloned).unwrap();
    assert_eq!(cgroup.0.processes().unwrap(), [pid]);
    cgroup.0.kill().unwrap();
    eventually("it is dead", || cgroup.0.processes().unwrap().is_empty());
}

#[test]
fn deleting_removes_what_the_container_made() {
    let Some(record) = place("delete") else {
        return;
    };
    let cgroup = made(record, "{}");
    for name in ["a", "a/b", "a/b/c", "d"] {
        std::fs::create_dir(cgroup.file(name)).unwrap();
    }
    let mut child = cgroup.start("exec sleep 100");
    let pid = child.id().to_string();
    std::fs::write(cgroup.file("a/b/c/cgroup.procs"), &pid).unwrap();
    let error = cgroup.0.delete(Leftover::Wait).unwrap_err();
    assert!(error.to_string().contains(&pid), "names the process: {error}");
    std::thread::scope(|scope| {
        scope.spawn(|| child.wait().unwrap());
        cgroup.0.delete(Leftover::Kill).unwrap();
    });
    cgroup.0.delete(Leftover::Wait).unwrap();
    cgroup.0.kill().unwrap();
}

#[test]
fn a_missing_controller_is_named_with_its_field() {
    let Some(record) = place("missing") else {
        return;
    };
    let path = record.unified_path().unwrap();
    let text = r#"{"unified":{"nonsense.max":"1"}}"#;
    let error = cgroup::open(record).unwrap().create(&resources(text)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.field(), Some(r#"linux.resources.unified["nonsense.max"]"#));
    assert!(!path.exists(), "what was made is gone");
}

#[test]
fn the_unified_map_is_written() {
    let Some(record) = place("unified") else {
        return;
    };
    let cgroup = made(record, r#"{"unified":{"cgroup.max.depth":"3"}}"#);
    assert_eq!(cgroup.read("cgroup.max.depth"), "3");
    let error = cgroup.0.update(&resources(r#"{"unified":{"cgroup.max.depth":"x"}}"#)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EINVAL), "{error}");
    assert_eq!(error.field(), Some(r#"linux.resources.unified["cgroup.max.depth"]"#));
}

#[test]
fn limits_read_back() {
    let Some(record) = place_with("limits", &["memory", "cpu", "pids"]) else {
        return;
    };
    let cgroup = made(
        record,
        r#"{"memory":{"limit":67108864,"swap":67108864,"reservation":33554432},
            "cpu":{"shares":2048,"quota":50000,"period":100000,"burst":10000},
            "pids":{"limit":17},"unified":{"memory.high":"50331648"}}"#,
    );
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "10000"),
        ("pids.max", "17"),
    ] {
        assert_eq!(cgroup.read(file), value, "{file}");
    }
    if cgroup.file("memory.swap.max").exists() {
        assert_eq!(cgroup.read("memory.swap.max"), "0");
    }
    let weight: u32 = cgroup.read("cpu.weight").parse().unwrap();
    assert!((150..=200).contains(&weight), "{weight}");
    cgroup.0.update(&resources(r#"{"memory":{"limit":-1},"pids":{"limit":0}}"#)).unwrap();
    assert_eq!(cgroup.read("memory.max"), "max");
    assert_eq!(cgroup.read("pids.max"), "0");
    cgroup.0.update(&resources(r#"{"cpu":{"quota":20000,"burst":20000}}"#)).unwrap();
    assert_eq!(cgroup.read("cpu.max"), "20000 100000");
}

#[test]
fn controllers_reach_a_nested_cgroup() {
    let Some(record) = place_with("nested", &["memory", "pids"]) else {
        return;
    };
    let top = record.unified_path().unwrap();
    let name = top.file_name().unwrap().to_str().unwrap().to_owned();
    let layout = Layout::detect().unwrap();
    let nested = layout.place(&"x".parse().unwrap(), Some(&format!("/{name}/a/b"))).unwrap();
    let cgroup = made(nested, r#"{"pids":{"limit":9}}"#);
    // Its removal takes the other with it.
    let _top = made(record, "{}");
    assert_eq!(cgroup.read("pids.max"), "9");
    assert!(cgroup.file("memory.current").exists(), "statistics for engines");
}

#[test]
fn a_limit_below_the_use_is_refused_when_asked() {
    let Some(record) = place_with("below", &["memory"]) else {
        return;
    };
    let cgroup = made(record, r#"{"memory":{"limit":134217728}}"#);
    let file = format!("/dev/shm/coracle-test-v2-{}", std::process::id());
    cgroup.start(&format!("head -c 20000000 /dev/zero >{file}")).wait().unwrap();
    let checked = r#"{"memory":{"limit":4194304,"checkBeforeUpdate":true}}"#;
    let result = cgroup.0.update(&resources(checked));
    std::fs::remove_file(&file).unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.field(), Some("linux.resources.memory.limit"));
}

#[test]
fn what_only_v1_has_is_refused() {
    let Some(record) = place_with("only-v1", &["memory"]) else {
        return;
    };
    let text = resources(r#"{"memory":{"swappiness":3}}"#);
    let mut manager = cgroup::open(record).unwrap();
    manager.create(&text).unwrap();
    let cgroup = Cgroup(manager);
    let error = cgroup.0.apply(&text).unwrap_err();
    assert_eq!(error.field(), Some("linux.resources.memory.swappiness"));
    let layout = Layout::detect().unwrap();
    assert_eq!(layout.version() == Version::V2, cgroup::unsupported(&text, &layout).is_some());
}

#[test]
fn huge_pages_read_back() {
    let Some(record) = place_with("huge", &["hugetlb"]) else {
        return;
    };
    let root = record.unified_path().unwrap().parent().unwrap().join("cgroup.subtree_control");
    let before = std::fs::read_to_string(&root).unwrap();
    let cgroup = made(record, r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#);
    assert_eq!(cgroup.read("hugetlb.2MB.max"), "4194304");
    assert_eq!(cgroup.read("hugetlb.2MB.rsvd.max"), "4194304");
    if !before.contains("hugetlb") {
        // The host is left as it was, unless others have begun to use it.
        let _ = std::fs::write(&root, "-hugetlb");
    }
}

#[test]
fn values_that_share_a_file_are_kept_in_an_update() {
    let Some(record) = place_with("kept", &["memory", "cpu"]) else { return };
    let text = r#"{"cpu":{"quota":50000,"period":100000},"memory":{"limit":67108864}}"#;
    let cgroup = made(record, text);
    cgroup.0.update(&resources(r#"{"cpu":{"period":200000}}"#)).unwrap();
    assert_eq!(cgroup.read("cpu.max"), "50000 200000");
    cgroup.0.update(&resources(r#"{"cpu":{"quota":-1}}"#)).unwrap();
    assert_eq!(cgroup.read("cpu.max"), "max 200000");
    cgroup.0.update(&resources(r#"{"cpu":{"period":100000}}"#)).unwrap();
    assert_eq!(cgroup.read("cpu.max"), "max 100000");
    if cgroup.file("memory.swap.max").exists() {
        cgroup.0.update(&resources(r#"{"memory":{"swap":134217728}}"#)).unwrap();
        assert_eq!(cgroup.read("memory.swap.max"), "67108864");
        assert_eq!(cgroup.read("memory.max"), "67108864");
    }
}

#[test]
fn what_freezes_it_is_found() {
    let Some(record) = place("above") else { return };
    let cgroup = made(record, "{}");
    std::fs::create_dir(cgroup.file("inner")).unwrap();
    let inner = cgroup::open(cgroup.0.record().below("inner").unwrap()).unwrap();
    assert_eq!(inner.frozen_at().unwrap(), None);
    cgroup.0.freeze().unwrap();
    assert_eq!(inner.frozen_at().unwrap(), cgroup.0.record().unified_path());
    assert!(inner.frozen().unwrap(), "an empty cgroup below counts as frozen");
}

#[test]
fn a_further_process_joins_where_the_init_has_gone() {
    let Some(record) = place("gone") else { return };
    let cgroup = made(record, "{}");
    let mut init = cgroup.start("exec sleep 100");
    let pid = i32::try_from(init.id()).unwrap();
    let same_file = |fd: &OwnedFd, path: PathBuf| {
        let by_fd = nix::sys::stat::fstat(fd).unwrap();
        by_fd.st_ino == std::fs::metadata(path).unwrap().ino()
    };
    let top = cgroup.0.clone_fd_of(pid).unwrap().unwrap();
    assert!(same_file(&top, cgroup.file("")));
    std::fs::create_dir(cgroup.file("init.scope")).unwrap();
    std::fs::write(cgroup.file("init.scope/cgroup.procs"), pid.to_string()).unwrap();
    let moved = cgroup.0.clone_fd_of(pid).unwrap().unwrap();
    assert!(same_file(&moved, cgroup.file("init.scope")));
    // A process elsewhere is not followed.
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(cgroup.0.clone_fd_of(own).unwrap_err().kind(), ErrorKind::WrongStatus);
    cgroup.0.kill().unwrap();
    init.wait().unwrap();
}

#[test]
fn ownership_of_a_delegated_cgroup() {
    let Some(record) = place("owner") else { return };
    let cgroup = made(record, "{}");
    cgroup.0.delegate(12_345, 54_321).unwrap();
    let owner = |file: &str| {
        let data = std::fs::metadata(cgroup.file(file)).unwrap();
        (data.uid(), data.gid())
    };
    let given = (12_345, 54_321);
    assert_eq!(owner(""), given);
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        assert_eq!(owner(file), given, "{file}");
    }
    assert_eq!(owner("cgroup.freeze"), (0, 0));
    assert_eq!(owner("cgroup.max.depth"), (0, 0));
}
