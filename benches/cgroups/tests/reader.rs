//! The crate cgroups-rs as an independent reader: what the library writes is what another program reads,
//! and what another program writes is what the library counts with.
//!
//! The crate reads no `io.max`, no device filter and nothing of the unified map on cgroup v2.

use std::error::Error;
use std::fs;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use cgroups_rs::FreezerState;
use cgroups_rs::fs::blkio::{BlkIoController, BlkIoData};
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::devices::{DevicePermissions, DeviceType, DevicesController};
use cgroups_rs::fs::freezer::FreezerController;
use cgroups_rs::fs::hugetlb::HugeTlbController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::net_cls::NetClsController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Cgroup, MaxValue, hierarchies};
use coracle::cgroup::{self, Entry, Layout, Leftover, Manager};
use coracle::spec::resources::Resources;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A cgroup that the library has made, as both see it.
struct Both {
    ours: Box<dyn Manager>,
    theirs: Cgroup,
    v2: bool,
}

/// The sleeper in it, if any, ends with the cgroup.
impl Drop for Both {
    fn drop(&mut self) {
        let gone = self.ours.delete(Leftover::Kill);
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

fn resources(json: &str) -> Outcome<Resources> {
    Ok(serde_json::from_str(json)?)
}

fn made(json: &str) -> Outcome<Both> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("coracle-reader-{}-{number}", std::process::id());
    let wanted = resources(json)?;
    let record = Layout::detect()?.place(&name.parse()?, Some(&format!("/{name}")))?;
    let mut ours = cgroup::open(record)?;
    ours.create(&wanted)?;
    let theirs = Cgroup::load(hierarchies::auto(), &name);
    let both = Both { ours, v2: theirs.v2(), theirs };
    both.ours.apply(&wanted)?;
    Ok(both)
}

impl Both {
    fn update(&self, json: &str) -> Outcome {
        Ok(self.ours.update(&resources(json)?)?)
    }

    /// Whether the cgroup of this controller has the file.
    fn has(&self, controller: &str, file: &str) -> bool {
        let paths = self.ours.record().paths();
        let path = paths.get(if self.v2 { "" } else { controller });
        path.is_some_and(|path| path.join(file).exists())
    }
}

/// Cgroups can be made here, and this controller is there.
fn possible(controller: &str) -> bool {
    let mounted = if hierarchies::auto().v2() {
        let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        // These are no controllers in version 2: every cgroup can be frozen.
        controller == "freezer" || list.split_whitespace().any(|name| name == controller)
    } else {
        fs::exists(format!("/sys/fs/cgroup/{controller}")).unwrap_or(false)
    };
    let root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !root || !mounted {
        println!(
            "skipped: needs root and the controller {controller}, where cgroups-rs looks for it"
        );
    }
    root && mounted
}

fn sleeper(both: &Both) -> Outcome<Child> {
    let child = Command::new("sleep").arg("60").spawn()?;
    both.ours.add(i32::try_from(child.id())?, Entry::Moved)?;
    Ok(child)
}

#[test]
fn memory() -> Outcome {
    if !possible("memory") {
        return Ok(());
    }
    let both = made(r#"{"memory":{"limit":67108864,"reservation":33554432}}"#)?;
    let reader: &MemController = both.theirs.controller_of().ok_or("no memory")?;
    let found = reader.memory_stat();
    assert_eq!((found.limit_in_bytes, found.soft_limit_in_bytes), (67_108_864, 33_554_432));
    both.update(r#"{"memory":{"limit":50331648}}"#)?;
    assert_eq!(reader.memory_stat().limit_in_bytes, 50_331_648);
    // The other way: what the crate writes the library counts with.
    reader.set_limit(41_943_040)?;
    assert_eq!(both.ours.stats()?.memory.usage.limit, 41_943_040);
    Ok(())
}

#[test]
fn memory_and_swap() -> Outcome {
    if !possible("memory") {
        return Ok(());
    }
    let look = made("{}")?;
    if !look.has("memory", "memory.memsw.limit_in_bytes") && !look.has("memory", "memory.swap.max")
    {
        println!("skipped: this kernel does not account swap");
        return Ok(());
    }
    let both = made(r#"{"memory":{"limit":67108864,"swap":100663296}}"#)?;
    let reader: &MemController = both.theirs.controller_of().ok_or("no memory")?;
    // Together in version 1, swap alone in version 2.
    let wanted = if both.v2 { 33_554_432 } else { 100_663_296 };
    assert_eq!(reader.memswap().limit_in_bytes, wanted);
    Ok(())
}

#[test]
fn memory_of_version_1() -> Outcome {
    if !possible("memory") {
        return Ok(());
    }
    if hierarchies::auto().v2() {
        println!("skipped: cgroup v2 has neither swappiness nor an OOM killer to switch off");
        return Ok(());
    }
    let both = made(r#"{"memory":{"limit":67108864,"swappiness":33,"disableOOMKiller":true}}"#)?;
    let reader: &MemController = both.theirs.controller_of().ok_or("no memory")?;
    let found = reader.memory_stat();
    assert_eq!(found.swappiness, 33);
    assert!(found.oom_control.oom_kill_disable);
    Ok(())
}

#[test]
fn processor_time() -> Outcome {
    if !possible("cpu") {
        return Ok(());
    }
    let both = made(r#"{"cpu":{"shares":512,"quota":50000,"period":200000}}"#)?;
    let reader: &CpuController = both.theirs.controller_of().ok_or("no cpu")?;
    assert_eq!(reader.shares()?, if both.v2 { weight(512.0) } else { 512 });
    assert_eq!((reader.cfs_quota()?, reader.cfs_period()?), (50_000, 200_000));
    both.update(r#"{"cpu":{"quota":40000}}"#)?;
    assert_eq!((reader.cfs_quota()?, reader.cfs_period()?), (40_000, 200_000));
    both.update(r#"{"cpu":{"quota":-1}}"#)?;
    assert_eq!((reader.cfs_quota()?, reader.cfs_period()?), (-1, 200_000));
    Ok(())
}

/// The weight on cgroup v2, as the maintainers of runc have published the rule: on the curve through the
/// least, the default and the most of both.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10,000")]
fn weight(shares: f64) -> u64 {
    let log = shares.log2();
    10_f64.powf(log.mul_add(log, 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
}

#[test]
fn shares_and_weights() -> Outcome {
    if !possible("cpu") {
        return Ok(());
    }
    for shares in [2, 10, 1023, 1024, 2048, 100_000, 262_144] {
        let both = made(&format!(r#"{{"cpu":{{"shares":{shares}}}}}"#))?;
        let reader: &CpuController = both.theirs.controller_of().ok_or("no cpu")?;
        let wanted = if both.v2 { weight(f64::from(shares)) } else { u64::try_from(shares)? };
        assert_eq!(reader.shares()?, wanted, "{shares} shares");
    }
    Ok(())
}

#[test]
fn processors_and_nodes() -> Outcome {
    if !possible("cpuset") {
        return Ok(());
    }
    let both = made(r#"{"cpu":{"cpus":"0","mems":"0"}}"#)?;
    let reader: &CpuSetController = both.theirs.controller_of().ok_or("no cpuset")?;
    let found = reader.cpuset();
    assert_eq!((found.cpus, found.mems), (vec![(0, 0)], vec![(0, 0)]));
    Ok(())
}

#[test]
fn processors_of_the_parent() -> Outcome {
    if !possible("cpuset") {
        return Ok(());
    }
    if hierarchies::auto().v2() {
        println!("skipped: a cpuset of cgroup v2 need not be filled");
        return Ok(());
    }
    let both = made("{}")?;
    let reader: &CpuSetController = both.theirs.controller_of().ok_or("no cpuset")?;
    let root = Cgroup::load(hierarchies::auto(), "");
    let above: &CpuSetController = root.controller_of().ok_or("no cpuset above")?;
    let (found, wanted) = (reader.cpuset(), above.cpuset());
    assert!(!wanted.cpus.is_empty());
    assert_eq!((found.cpus, found.mems), (wanted.cpus, wanted.mems));
    Ok(())
}

#[test]
fn tasks() -> Outcome {
    if !possible("pids") {
        return Ok(());
    }
    for (limit, wanted) in [(42, MaxValue::Value(42)), (0, MaxValue::Value(0)), (-1, MaxValue::Max)]
    {
        let both = made(&format!(r#"{{"pids":{{"limit":{limit}}}}}"#))?;
        // A limit that keeps everything out is set when the first process is in.
        both.ours.settle(&resources(&format!(r#"{{"pids":{{"limit":{limit}}}}}"#))?)?;
        let reader: &PidController = both.theirs.controller_of().ok_or("no pids")?;
        assert_eq!(reader.get_pid_max()?, wanted, "limit {limit}");
    }
    Ok(())
}

#[test]
fn processes() -> Outcome {
    if !possible("pids") {
        return Ok(());
    }
    let both = made(r#"{"pids":{"limit":42}}"#)?;
    let mut child = sleeper(&both)?;
    let found: Vec<u64> = both.theirs.procs().iter().map(|pid| pid.pid).collect();
    let reader: &PidController = both.theirs.controller_of().ok_or("no pids")?;
    let current = reader.get_pid_current()?;
    let ours = both.ours.stats()?.pids.current;
    child.kill()?;
    child.wait()?;
    assert!(
        !found.is_empty() && found.iter().all(|pid| *pid == u64::from(child.id())),
        "{found:?}"
    );
    assert_eq!((current, ours), (1, 1));
    Ok(())
}

#[test]
fn freezer() -> Outcome {
    if !possible("freezer") {
        return Ok(());
    }
    let both = made("{}")?;
    let reader: &FreezerController = both.theirs.controller_of().ok_or("no freezer")?;
    assert!(matches!(reader.state()?, FreezerState::Thawed));
    both.ours.freeze()?;
    assert!(matches!(reader.state()?, FreezerState::Frozen));
    both.ours.thaw()?;
    assert!(matches!(reader.state()?, FreezerState::Thawed));
    // The other way.
    reader.freeze()?;
    assert!(both.ours.frozen()?);
    reader.thaw()?;
    assert!(!both.ours.frozen()?);
    Ok(())
}

#[test]
fn huge_pages() -> Outcome {
    if !possible("hugetlb") {
        return Ok(());
    }
    let both = made(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#)?;
    let reader: &HugeTlbController = both.theirs.controller_of().ok_or("no hugetlb")?;
    assert_eq!(reader.limit_in_bytes("2MB")?, 4_194_304);
    Ok(())
}

#[test]
fn network_class() -> Outcome {
    if !possible("net_cls") {
        return Ok(());
    }
    let both = made(r#"{"network":{"classID":1048577}}"#)?;
    let reader: &NetClsController = both.theirs.controller_of().ok_or("no net_cls")?;
    assert_eq!(reader.get_class()?, 1_048_577);
    Ok(())
}

#[test]
fn throttled_disks() -> Outcome {
    if !possible("blkio") {
        return Ok(());
    }
    let mut disks = fs::read_dir("/sys/block")?.flatten();
    let Some(disk) = disks.find_map(|disk| fs::read_to_string(disk.path().join("dev")).ok()) else {
        println!("skipped: there is no disk");
        return Ok(());
    };
    let (major, minor) = disk.trim().split_once(':').ok_or("no number")?;
    let entry = |rate: u64| format!(r#"[{{"major":{major},"minor":{minor},"rate":{rate}}}]"#);
    let both = made(&format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":{},"throttleWriteBpsDevice":{},
            "throttleReadIOPSDevice":{},"throttleWriteIOPSDevice":{}}}}}"#,
        entry(1_048_576),
        entry(2_097_152),
        entry(100),
        entry(200),
    ))?;
    let reader: &BlkIoController = both.theirs.controller_of().ok_or("no blkio")?;
    let found = reader.blkio().throttle;
    let one = |data| {
        Ok::<_, std::num::ParseIntError>(vec![BlkIoData {
            major: major.parse()?,
            minor: minor.parse()?,
            data,
        }])
    };
    assert_eq!(found.read_bps_device, one(1_048_576)?);
    assert_eq!(found.write_bps_device, one(2_097_152)?);
    assert_eq!(found.read_iops_device, one(100)?);
    assert_eq!(found.write_iops_device, one(200)?);
    Ok(())
}

#[test]
fn devices() -> Outcome {
    if !possible("devices") {
        return Ok(());
    }
    let both = made(
        r#"{"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"b","major":7,"minor":3,"access":"r"}]}"#,
    )?;
    let reader: &DevicesController = both.theirs.controller_of().ok_or("no devices")?;
    let list = reader.allowed_devices()?;
    let access = |kind, numbers| {
        let found =
            list.iter().find(|one| one.devtype == kind && (one.major, one.minor) == numbers);
        found.map(|one| one.access.clone())
    };
    assert_eq!(access(DeviceType::Block, (7, 3)), Some(vec![DevicePermissions::Read]));
    // The default devices: null and the terminals, and any node may be made.
    assert_eq!(access(DeviceType::Char, (1, 3)), Some(DevicePermissions::all()));
    assert_eq!(access(DeviceType::Char, (136, -1)), Some(DevicePermissions::all()));
    assert_eq!(access(DeviceType::Char, (-1, -1)), Some(vec![DevicePermissions::MkNod]));
    assert!(list.iter().all(|one| one.devtype != DeviceType::All), "{list:?}");
    both.update(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#)?;
    let list = reader.allowed_devices()?;
    assert!(!list.iter().any(|one| one.devtype == DeviceType::Block && one.major == 7), "{list:?}");
    Ok(())
}

#[test]
fn all_devices() -> Outcome {
    if !possible("devices") {
        return Ok(());
    }
    let both = made(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)?;
    let reader: &DevicesController = both.theirs.controller_of().ok_or("no devices")?;
    let list = reader.allowed_devices()?;
    assert!(list.iter().any(|one| one.devtype == DeviceType::All), "{list:?}");
    Ok(())
}

#[test]
fn nothing_is_left() -> Outcome {
    if !possible("pids") {
        return Ok(());
    }
    let both = made(r#"{"pids":{"limit":42}}"#)?;
    assert!(both.theirs.exists());
    let theirs = both.theirs.clone();
    let paths = both.ours.record().paths();
    drop(both);
    drop(theirs);
    for (controller, path) in paths {
        assert!(!path.exists(), "{controller}: {}", path.display());
    }
    Ok(())
}
