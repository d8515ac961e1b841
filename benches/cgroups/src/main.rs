//! Making, limiting and removing the cgroup of a container: the library, the crate cgroups-rs, and the
//! same directories and files by plain system calls, interleaved in one run.
//!
//! Before the first round cgroups-rs reads back what the library has written; not in the rounds, as a
//! directory whose files were read takes the kernel longer to remove.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Cgroup, MaxValue, Resources, hierarchies};
use coracle::cgroup::{self, Layout, Leftover};
use coracle::spec::resources;

type Outcome<T> = Result<T, Box<dyn Error>>;

const MEMORY: i64 = 64 << 20;
const SHARES: u64 = 512;
const QUOTA: i64 = 50_000;
const PERIOD: u64 = 100_000;
const PIDS: i64 = 100;

/// What the limits are in files, by controller: cgroup v1, then v2.
const V1: [(&str, &str, &str); 5] = [
    ("memory", "memory.limit_in_bytes", "67108864"),
    ("cpu", "cpu.shares", "512"),
    ("cpu", "cpu.cfs_period_us", "100000"),
    ("cpu", "cpu.cfs_quota_us", "50000"),
    ("pids", "pids.max", "100"),
];
const V2: [(&str, &str, &str); 4] = [
    ("", "memory.max", "67108864"),
    ("", "cpu.weight", "59"),
    ("", "cpu.max", "50000 100000"),
    ("", "pids.max", "100"),
];

/// Microseconds of the three phases.
#[derive(Debug, Default)]
struct Times {
    make: Vec<f64>,
    limit: Vec<f64>,
    remove: Vec<f64>,
}

impl Times {
    fn total(&self) -> Vec<f64> {
        self.make.iter().zip(&self.limit).zip(&self.remove).map(|((a, b), c)| a + b + c).collect()
    }
}

fn timed<T>(into: &mut Vec<f64>, act: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let begin = Instant::now();
    let done = act()?;
    into.push(begin.elapsed().as_secs_f64() * 1e6);
    Ok(done)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The limits for the library. All devices are allowed: cgroups-rs cannot filter them on cgroup v2.
fn limits() -> Outcome<resources::Resources> {
    Ok(serde_json::from_str(&format!(
        r#"{{"memory":{{"limit":{MEMORY}}},"pids":{{"limit":{PIDS}}},
            "cpu":{{"shares":{SHARES},"quota":{QUOTA},"period":{PERIOD}}},
            "devices":[{{"allow":true,"access":"rwm"}}]}}"#
    ))?)
}

fn library(
    layout: &Layout,
    name: &str,
    times: &mut Times,
    look: impl FnOnce() -> Outcome<()>,
) -> Outcome<()> {
    let wanted = limits()?;
    let path = format!("/{name}");
    let manager = timed(&mut times.make, || {
        let record = layout.place(&name.parse()?, Some(&path))?;
        let mut manager = cgroup::open(record)?;
        manager.create(&wanted)?;
        Ok(manager)
    })?;
    let done = timed(&mut times.limit, || Ok(manager.apply(&wanted)?)).and_then(|()| look());
    timed(&mut times.remove, || Ok(manager.delete(Leftover::Wait)?))?;
    done
}

/// Reads back through cgroups-rs what the library has written.
fn reread(name: &str) -> Outcome<()> {
    let group = Cgroup::load(hierarchies::auto(), name);
    let memory: &MemController = group.controller_of().ok_or("no memory controller")?;
    let pids: &PidController = group.controller_of().ok_or("no pids controller")?;
    let cpu: &CpuController = group.controller_of().ok_or("no cpu controller")?;
    let found = (memory.memory_stat().limit_in_bytes, pids.get_pid_max()?, cpu.cfs_quota()?);
    if found != (MEMORY, MaxValue::Value(PIDS), QUOTA) {
        return Err(format!("cgroups-rs reads {found:?}").into());
    }
    Ok(())
}

/// The crate's way; directories that it does not know are made and removed for it by plain calls, so
/// that both make the same ones.
fn other(name: &str, unknown: &[PathBuf], times: &mut Times) -> Outcome<()> {
    let group = timed(&mut times.make, || {
        let group = Cgroup::new(hierarchies::auto(), name)?;
        unknown.iter().try_for_each(fs::create_dir)?;
        Ok(group)
    })?;
    let done = timed(&mut times.limit, || {
        let mut wanted = Resources::default();
        wanted.memory.memory_hard_limit = Some(MEMORY);
        wanted.cpu.shares = Some(SHARES);
        wanted.cpu.quota = Some(QUOTA);
        wanted.cpu.period = Some(PERIOD);
        wanted.pid.maximum_number_of_processes = Some(MaxValue::Value(PIDS));
        Ok(group.apply(&wanted)?)
    });
    timed(&mut times.remove, || {
        group.delete()?;
        Ok(unknown.iter().try_for_each(fs::remove_dir)?)
    })?;
    done
}

/// Those of the directories that the crate does not make: the cgroup2 hierarchy beside cgroup v1.
fn unknown(directories: &[PathBuf], name: &str) -> Outcome<Vec<PathBuf>> {
    let group = Cgroup::new(hierarchies::auto(), name)?;
    let missing = directories.iter().filter(|directory| !directory.exists()).cloned().collect();
    group.delete()?;
    Ok(missing)
}

/// The directories and writes that the kernel needs for the same, and nothing else.
fn bare(directories: &[PathBuf], files: &[(PathBuf, &str)], times: &mut Times) -> Outcome<()> {
    timed(&mut times.make, || {
        for directory in directories {
            fs::create_dir(directory)?;
        }
        Ok(())
    })?;
    timed(&mut times.limit, || {
        for (file, value) in files {
            fs::write(file, value)?;
        }
        Ok(())
    })?;
    timed(&mut times.remove, || {
        for directory in directories {
            fs::remove_dir(directory)?;
        }
        Ok(())
    })
}

/// What the library makes: its directories, and the files of the limits.
fn places(layout: &Layout, name: &str) -> Outcome<(Vec<PathBuf>, Vec<(PathBuf, &'static str)>)> {
    let paths = layout.place(&name.parse()?, Some(&format!("/{name}")))?.paths();
    let mut directories: Vec<PathBuf> = paths.values().cloned().collect();
    directories.sort();
    directories.dedup();
    let table: &[_] = if paths.contains_key("memory") { &V1 } else { &V2 };
    let file = |(controller, file, value): &(&str, &str, &'static str)| {
        Some((paths.get(*controller)?.join(file), *value))
    };
    let mut files: Vec<_> = table.iter().filter_map(file).collect();
    // A new cpuset has no processors: they are copied from the one above.
    if let Some(cpuset) = paths.get("cpuset") {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = cpuset.parent().unwrap_or(Path::new("/")).join(file);
            let value: &'static str = fs::read_to_string(above)?.leak();
            files.push((cpuset.join(file), value));
        }
    }
    if let Some(devices) = paths.get("devices") {
        files.push((devices.join("devices.allow"), "a"));
    }
    Ok((directories, files))
}

fn main() -> Outcome<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    let layout = Layout::detect()?;
    let name = format!("coracle-bench-{}", std::process::id());
    let (directories, files) = places(&layout, &name)?;
    // The controllers of cgroup v2 are shared out once, so that this is in nobody's figures.
    library(&layout, &name, &mut Times::default(), || reread(&name))?;
    let unknown = unknown(&directories, &name)?;
    let (mut ours, mut theirs, mut kernel) = <(Times, Times, Times)>::default();
    for _ in 0..rounds {
        bare(&directories, &files, &mut kernel)?;
        library(&layout, &name, &mut ours, || Ok(()))?;
        other(&name, &unknown, &mut theirs)?;
    }
    println!(
        "| cgroup of a container, µs | bare calls | coracle | cgroups-rs |\n|---|--:|--:|--:|"
    );
    for (row, of) in [
        ("make", (|times| times.make.clone()) as fn(&Times) -> Vec<f64>),
        ("limit", |times| times.limit.clone()),
        ("remove", |times| times.remove.clone()),
        ("all", Times::total),
    ] {
        let [kernel, ours, theirs] = [&kernel, &ours, &theirs].map(|times| median(&of(times)));
        println!("| {row} | {kernel:.0} | {ours:.0} ({:.2}×) | {theirs:.0} |", ours / kernel);
    }
    let version = if hierarchies::auto().v2() { "v2" } else { "v1" };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!(
        "\n{rounds} rounds, medians; Linux {}, cgroup {version}, {} directories, of which cgroups-rs does \
         not know {}",
        release.trim(),
        directories.len(),
        unknown.len()
    );
    Ok(())
}
