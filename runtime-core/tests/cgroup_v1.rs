//! The cgroup of a container on a host with cgroup v1 hierarchies, with or without the v2 one.
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
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use birth::born_in;
use coracle::cgroup::{self, Entry, Layout, Leftover, Manager, Record, Version};
use coracle::spec::Resources;
use coracle::{ContainerId, ErrorKind};

/// The layout, when tests can run here.
fn layout() -> Option<Layout> {
    let layout = Layout::detect().expect("detected");
    let reason = match layout.version() {
        Version::V2 => "no cgroup v1 hierarchies",
        _ if nix::unistd::geteuid().is_root() => return Some(layout),
        _ => "not root",
    };
    eprintln!("skipped: {reason}");
    None
}

/// A cgroup that is removed at the end of its test.
struct Cgroup(Box<dyn Manager>);

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.0.delete(Leftover::Kill).expect("clean up");
    }
}

fn unique(name: &str) -> ContainerId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("coracle-test-v1-{}-{count}-{name}", std::process::id()).parse().unwrap()
}

fn record(layout: &Layout, name: &str) -> Record {
    layout.place(&unique(name), None).unwrap()
}

fn resources(text: &str) -> Resources {
    serde_json::from_str(text).unwrap()
}

fn made(layout: &Layout, name: &str, text: &str) -> Cgroup {
    let resources = resources(text);
    assert_eq!(cgroup::unsupported(&resources, layout), None);
    let mut manager = cgroup::open(record(layout, name)).unwrap();
    manager.create(&resources).unwrap();
    let cgroup = Cgroup(manager);
    cgroup.0.apply(&resources).unwrap();
    cgroup
}

impl Cgroup {
    fn file(&self, controller: &str, file: &str) -> PathBuf {
        self.0.record().paths()[controller].join(file)
    }

    fn read(&self, controller: &str, file: &str) -> String {
        std::fs::read_to_string(self.file(controller, file)).unwrap().trim_end().to_owned()
    }

    /// Starts a script that begins when it has been moved in, so that nothing can escape before.
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

#[test]
fn detection_agrees_with_the_mount_table() {
    let Some(layout) = layout() else { return };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let placed = layout.place(&"x".parse().unwrap(), Some("/x")).unwrap();
    let mut expected: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (point, kind) = (fields.nth(1)?, fields.next()?);
            kind.starts_with("cgroup").then(|| Path::new(point).join("x"))
        })
        .collect();
    let mut found: Vec<PathBuf> = placed.paths().into_values().collect();
    expected.sort();
    found.sort();
    found.dedup();
    assert_eq!(found, expected);
}

#[test]
fn a_process_joins_every_hierarchy() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "join", "{}");
    let mut child = cgroup.start("exec sleep 100");
    let membership = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    for line in membership.lines() {
        assert!(line.contains("coracle-test-v1"), "{membership}");
    }
    assert_eq!(cgroup.0.processes().unwrap(), [i32::try_from(child.id()).unwrap()]);
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn limits_read_back() {
    let Some(layout) = layout() else { return };
    let cgroup = made(
        &layout,
        "limits",
        r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432,"swappiness":7,
             "disableOOMKiller":true,"kernelTCP":8192},
            "cpu":{"shares":512,"quota":50000,"period":100000,"burst":10000,"cpus":"0","mems":"0"},
            "pids":{"limit":17}}"#,
    );
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("memory", "memory.swappiness", "7"),
        ("memory", "memory.kmem.tcp.limit_in_bytes", "8192"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_burst_us", "10000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "17"),
    ] {
        assert_eq!(cgroup.read(controller, file), value, "{file}");
    }
    assert!(cgroup.read("memory", "memory.oom_control").starts_with("oom_kill_disable 1"));
}

#[test]
fn limits_that_bound_each_other_are_updated_in_both_directions() {
    let Some(layout) = layout() else { return };
    let cgroup = made(
        &layout,
        "update",
        r#"{"memory":{"limit":67108864,"swap":67108864},"cpu":{"quota":50000,"burst":50000}}"#,
    );
    for (limit, swap, quota) in [(1 << 28, 1 << 29, 90_000), (1 << 24, 1 << 25, 20_000)] {
        let text = format!(
            r#"{{"memory":{{"limit":{limit},"swap":{swap}}},
                "cpu":{{"quota":{quota},"burst":{quota}}}}}"#
        );
        cgroup.0.update(&resources(&text)).unwrap();
        assert_eq!(cgroup.read("memory", "memory.limit_in_bytes"), limit.to_string());
        assert_eq!(cgroup.read("memory", "memory.memsw.limit_in_bytes"), swap.to_string());
        assert_eq!(cgroup.read("cpu", "cpu.cfs_burst_us"), quota.to_string());
    }
    cgroup.0.update(&resources(r#"{"memory":{"limit":-1},"pids":{"limit":-1}}"#)).unwrap();
    let limit: u64 = cgroup.read("memory", "memory.memsw.limit_in_bytes").parse().unwrap();
    assert!(limit > 1 << 62);
    assert_eq!(cgroup.read("pids", "pids.max"), "max");
    cgroup.0.update(&resources(r#"{"pids":{"limit":0}}"#)).unwrap();
    assert_eq!(cgroup.read("pids", "pids.max"), "0");
}

#[test]
fn the_default_devices_are_those_of_runc() {
    let Some(layout) = layout() else { return };
    let rules = r#"{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
        {"allow":true,"type":"b","major":8,"minor":-1,"access":"r"}]}"#;
    let cgroup = made(&layout, "devices", rules);
    let list = cgroup.read("devices", "devices.list");
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "b *:* m",
            "b 8:* r",
            "c *:* m",
            "c 10:200 rwm",
            "c 10:229 rw",
            "c 136:* rwm",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm"
        ]
    );
    // It holds: null can be opened, a device that is not listed cannot.
    let script = "true </dev/null || exit 3; true </dev/loop-control && exit 4; exit 5";
    let status = cgroup.start(script).wait().unwrap();
    assert_eq!(status.code(), Some(5));
}

#[test]
fn an_update_of_devices_that_is_refused_changes_none() {
    let Some(layout) = layout() else { return };
    let rules = |minor: u32| {
        format!(
            r#"{{"devices":[{{"allow":false,"access":"rwm"}},
                {{"allow":true,"type":"b","major":7,"minor":{minor},"access":"rw"}}]}}"#
        )
    };
    let above = made(&layout, "above", &rules(3));
    let directory = above.file("devices", "below");
    let Ok(path) = directory.strip_prefix("/sys/fs/cgroup/devices") else {
        eprintln!("skipped: the hierarchy of devices is mounted elsewhere");
        return;
    };
    let asked = format!("/{}", path.display());
    let mut below = cgroup::open(layout.place(&unique("below"), Some(&asked)).unwrap()).unwrap();
    let three = resources(&rules(3));
    below.create(&three).unwrap();
    let below = Cgroup(below);
    below.0.apply(&three).unwrap();
    let listed = || {
        let mut lines: Vec<String> =
            below.read("devices", "devices.list").lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = listed();
    assert!(before.contains(&"b 7:3 rw".to_owned()), "{before:?}");
    let error = below.0.update(&resources(&rules(4))).expect_err("above has no b 7:4");
    assert_eq!(error.field(), Some("linux.resources.devices"));
    assert!(error.to_string().contains("the cgroup above does not allow this device"), "{error}");
    assert_eq!(listed(), before);
}

#[test]
fn a_refused_update_to_idle_gives_the_shares_back() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "woken", r#"{"cpu":{"shares":512}}"#);
    if !cgroup.file("cpu", "cpu.idle").exists() {
        eprintln!("skipped: this kernel has no cpu.idle");
        return;
    }
    // The processors are written last.
    let asked = resources(r#"{"cpu":{"idle":1,"cpus":"8191"}}"#);
    let error = cgroup.0.update(&asked).expect_err("no such processor");
    assert_eq!(error.field(), Some("linux.resources.cpu.cpus"));
    assert_eq!(cgroup.read("cpu", "cpu.idle"), "0");
    assert_eq!(cgroup.read("cpu", "cpu.shares"), "512");
}

#[test]
fn all_devices_allowed_stays_so() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "privileged", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert_eq!(cgroup.read("devices", "devices.list"), "a *:* rwm");
}

#[test]
fn nested_paths_fill_their_cpusets() {
    let Some(layout) = layout() else { return };
    let id = unique("deep");
    let record = layout.place(&id, Some(&format!("/{id}/a/b"))).unwrap();
    let top = layout.place(&id, Some(&format!("/{id}"))).unwrap();
    let mut manager = cgroup::open(record).unwrap();
    let mut top = cgroup::open(top).unwrap();
    manager.create(&Resources::default()).unwrap();
    top.create(&Resources::default()).unwrap();
    let top = Cgroup(top);
    assert!(!top.read("cpuset", "cpuset.cpus").is_empty());
    assert!(!top.read("cpuset", "a/b/cpuset.mems").is_empty());
    manager.delete(Leftover::Wait).unwrap();
    // What lies above is not ours to remove.
    assert!(top.file("memory", "a").exists());
}

#[test]
fn an_existing_cgroup_is_taken_over_only_when_empty() {
    let Some(layout) = layout() else { return };
    let unmade = record(&layout, "taken");
    let mut first = cgroup::open(unmade.clone()).unwrap();
    first.create(&Resources::default()).unwrap();
    let cgroup = Cgroup(first);
    let mut second = cgroup::open(unmade.clone()).unwrap();
    second.create(&Resources::default()).unwrap();
    let mut child = cgroup.start("exec sleep 100");
    let error = second.create(&Resources::default()).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBUSY), "{error}");
    // The creation that was refused, and a command that finds only its first record, touch nothing.
    let refused = cgroup::open(unmade).unwrap();
    refused.kill().unwrap();
    refused.delete(Leftover::Kill).unwrap();
    assert!(child.try_wait().unwrap().is_none(), "the other container lives");
    assert_eq!(cgroup.0.processes().unwrap().len(), 1);
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    eventually("empty", || cgroup.0.processes().unwrap().is_empty());
    cgroup.0.freeze().unwrap();
    assert!(cgroup.0.frozen().unwrap());
    let below = cgroup::open(cgroup.0.record().below("x").unwrap()).unwrap();
    assert_eq!(below.frozen_at().unwrap(), Some(cgroup.0.record().paths()["freezer"].clone()));
    let error = second.create(&Resources::default()).unwrap_err();
    assert!(error.to_string().contains("frozen"), "{error}");
    assert!(cgroup.file("memory", "").exists(), "the refusal removes nothing");
    cgroup.0.thaw().unwrap();
    assert!(!cgroup.0.frozen().unwrap());
}

#[test]
fn frozen_processes_can_be_killed() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "frozen", "{}");
    let mut child = cgroup.start("while :; do sleep 0.01; done");
    cgroup.0.freeze().unwrap();
    // A part of the container freezes itself: a directory below with its own state.
    let inner = cgroup.file("freezer", "inner");
    std::fs::create_dir(&inner).unwrap();
    let mut other = Command::new("sleep").arg("100").spawn().unwrap();
    cgroup.0.add(i32::try_from(other.id()).unwrap(), Entry::Moved).unwrap();
    std::fs::write(inner.join("cgroup.procs"), other.id().to_string()).unwrap();
    std::fs::write(inner.join("freezer.state"), "FROZEN").unwrap();
    assert!(cgroup.0.processes().unwrap().len() >= 2);
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    other.wait().unwrap();
    cgroup.0.delete(Leftover::Wait).unwrap();
    assert!(!inner.exists());
}

#[test]
fn a_fork_bomb_dies() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "bomb", r#"{"pids":{"limit":60}}"#);
    let mut child = cgroup.start(BOMB);
    eventually("forks", || cgroup.0.processes().unwrap().len() > 40);
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    eventually("all are dead", || cgroup.0.processes().unwrap().is_empty());
}

/// Held in check by the limit on tasks of the cgroup that it starts in.
const BOMB: &str = "exec perl -e 'fork while 1'";

#[test]
fn a_fork_bomb_outside_of_the_v2_directory_dies_too() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "moved", r#"{"pids":{"limit":60}}"#);
    // Someone moves it out of the v2 hierarchy before it forks.
    let leave = match layout.version() {
        Version::Hybrid => "echo $$ >/sys/fs/cgroup/unified/cgroup.procs;",
        _ => "",
    };
    let mut child = cgroup.start(&format!("{leave} {BOMB}"));
    eventually("forks", || cgroup.0.processes().unwrap().len() > 40);
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    eventually("all are dead", || cgroup.0.processes().unwrap().is_empty());
}

#[test]
fn deleting_waits_or_kills() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "delete", "{}");
    // The container made cgroups of its own, deeper than a path can be long.
    let deep = cgroup.file("memory", "x");
    std::fs::create_dir(&deep).unwrap();
    let script = r#"chdir $ARGV[0]; for (1..40) { my $n = "y" x 200; mkdir $n; chdir $n or die }"#;
    let status = Command::new("perl").args(["-e", script]).arg(&deep).status().unwrap();
    assert!(status.success());
    let mut child = cgroup.start("exec sleep 100");
    std::fs::write(deep.join("cgroup.procs"), child.id().to_string()).unwrap();
    let error = cgroup.0.delete(Leftover::Wait).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBUSY), "{error}");
    assert!(error.to_string().contains(&child.id().to_string()), "names the process: {error}");
    let record = cgroup.0.record().clone();
    let again = cgroup::open(record).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| child.wait().unwrap());
        again.delete(Leftover::Kill).unwrap();
    });
    for path in again.record().paths().into_values() {
        assert!(!path.exists(), "{}", path.display());
    }
    again.delete(Leftover::Wait).unwrap();
    again.kill().unwrap();
    assert_eq!(again.processes().unwrap(), [0; 0]);
    assert!(!again.frozen().unwrap());
}

#[test]
fn a_record_survives_its_text() {
    let Some(layout) = layout() else { return };
    let record = record(&layout, "text");
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    // Half made: only one directory exists.
    let path = record.paths()["memory"].clone();
    std::fs::create_dir(&path).unwrap();
    cgroup::open(record).unwrap().delete(Leftover::Wait).unwrap();
    assert!(!path.exists());
}

#[test]
fn errors_name_field_file_and_reason() {
    let Some(layout) = layout() else { return };
    let unified = resources(r#"{"unified":{"memory.high":"max"}}"#);
    assert_eq!(
        cgroup::unsupported(&unified, &layout).map(|(field, _)| field).as_deref(),
        Some("linux.resources.unified")
    );
    let cgroup = made(&layout, "errors", "{}");
    assert_eq!(cgroup.0.apply(&unified).unwrap_err().kind(), ErrorKind::Unsupported);
    let error = cgroup.0.update(&resources(r#"{"cpu":{"quota":1}}"#)).unwrap_err();
    assert_eq!(error.field(), Some("linux.resources.cpu.quota"));
    assert_eq!(error.errno(), Some(libc::EINVAL));
    assert!(error.path().unwrap().ends_with("cpu.cfs_quota_us"));
    let error = cgroup.0.update(&resources(r#"{"cpu":{"cpus":"900"}}"#)).unwrap_err();
    assert_eq!(error.field(), Some("linux.resources.cpu.cpus"), "{error}");
    let sneaky = r#"{"hugepageLimits":[{"pageSize":"../../x","limit":1}]}"#;
    assert!(cgroup.0.update(&resources(sneaky)).is_err());
}

#[test]
fn a_limit_below_the_use_says_so() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "below", "{}");
    // tmpfs pages cannot be reclaimed without swap; what is charged stays after the writer's end.
    let file = format!("/dev/shm/coracle-test-v1-{}", std::process::id());
    let mut child = cgroup.start(&format!("head -c 20000000 /dev/zero >{file}"));
    child.wait().unwrap();
    let checked = r#"{"memory":{"limit":4194304,"checkBeforeUpdate":true}}"#;
    let result = cgroup.0.update(&resources(checked));
    std::fs::remove_file(&file).unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.field(), Some("linux.resources.memory.limit"));
    assert!(error.to_string().contains("below the current use"), "{error}");
}

#[test]
fn block_io_rates_read_back() {
    let Some(layout) = layout() else { return };
    let Some(number) = whole_disk() else {
        eprintln!("skipped: no block device with a request queue");
        return;
    };
    let (major, minor) = number.split_once(':').unwrap();
    let cgroup = made(
        &layout,
        "rates",
        &format!(
            r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}],
                "throttleWriteIOPSDevice":[{{"major":{major},"minor":{minor},"rate":77}}]}}}}"#
        ),
    );
    let read = cgroup.read("blkio", "blkio.throttle.read_bps_device");
    assert_eq!(read, format!("{number} 1048576"));
    let written = cgroup.read("blkio", "blkio.throttle.write_iops_device");
    assert_eq!(written, format!("{number} 77"));
}

/// The number of some whole block device.
fn whole_disk() -> Option<String> {
    let entries = std::fs::read_dir("/sys/block").ok()?;
    let mut numbers: Vec<String> = entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("dev")).ok())
        .map(|number| number.trim_end().to_owned())
        .collect();
    numbers.sort();
    numbers.into_iter().next()
}

#[test]
fn a_process_can_be_born_inside() {
    let Some(layout) = layout() else { return };
    if layout.version() != Version::Hybrid {
        eprintln!("skipped: no cgroup v2 hierarchy");
        return;
    }
    let cgroup = made(&layout, "born", "{}");
    let fd = cgroup.0.clone_fd().unwrap().expect("a v2 directory");
    let Some(pid) = born_in(fd) else { return };
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = membership.lines().find(|line| line.starts_with("0::")).unwrap();
    assert!(line.contains("coracle-test-v1"), "{membership}");
    cgroup.0.add(pid, Entry::Cloned).unwrap();
    assert_eq!(cgroup.0.processes().unwrap(), [pid]);
    cgroup.0.kill().unwrap();
    eventually("it is dead", || cgroup.0.processes().unwrap().is_empty());
}

#[test]
fn huge_pages_are_limited_where_their_controller_is() {
    let Some(layout) = layout() else { return };
    let root = "/sys/fs/cgroup/unified/cgroup.subtree_control";
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
    if layout.has_v1("hugetlb") || !controllers.is_ok_and(|list| list.contains("hugetlb")) {
        eprintln!("skipped: the v2 hierarchy does not have the huge pages");
        return;
    }
    let before = std::fs::read_to_string(root).unwrap();
    let text = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#;
    let cgroup = made(&layout, "huge", text);
    assert_eq!(cgroup.read("", "hugetlb.2MB.max"), "2097152");
    if !before.contains("hugetlb") {
        // The host is left as it was, unless others have begun to use it.
        let _ = std::fs::write(root, "-hugetlb");
    }
}

#[test]
fn a_long_list_of_processes_is_read_whole() {
    let Some(layout) = layout() else { return };
    let cgroup = made(&layout, "many", "{}");
    // Far more than one read of the list holds.
    let script = "i=0; while [ $i -lt 900 ]; do sleep 100 & i=$((i+1)); done; exec sleep 100";
    let mut child = cgroup.start(script);
    eventually("all have started", || cgroup.0.processes().unwrap().len() == 901);
    cgroup.0.kill().unwrap();
    child.wait().unwrap();
    eventually("all are dead", || cgroup.0.processes().unwrap().is_empty());
}
