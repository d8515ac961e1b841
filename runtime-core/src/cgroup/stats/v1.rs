//! Statistics of the cgroup v1 hierarchies (kernel documentation, admin-guide/cgroup-v1).

use std::collections::BTreeMap;

use super::figures::{Files, entries, numbers};
use super::pressure;
use super::{
    BlockIoStats, CpuStats, CpuUsage, CpusetStats, MemoryStats, PidStats, Stats, Throttling, Usage,
};
use crate::cgroup::record::{Place, Record};
use crate::cgroup::tree::Tree;
use crate::error::Result;

/// `cpuacct.stat` counts in hundredths of a second on every architecture (`USER_HZ`).
const TICK: u64 = 10_000_000;

/// Where the files of each controller are.
#[derive(Debug)]
struct Hierarchies<'a> {
    tree: &'a Tree,
    record: &'a Record,
}

impl<'a> Hierarchies<'a> {
    fn of(&self, controller: &str) -> Option<Files<'a>> {
        let place = self.record.hierarchies.iter().find(|place| place.has(controller))?;
        Some(Files { tree: self.tree, directory: place.directory() })
    }
}

/// Reads everything; what only the v2 hierarchy of a hybrid host knows is taken from there.
pub(in crate::cgroup) fn read(tree: &Tree, record: &Record) -> Result<Stats> {
    let from = Hierarchies { tree, record };
    let mut stats = Stats {
        cpu: processor(&from)?,
        cpuset: match from.of("cpuset") {
            Some(files) => {
                CpusetStats { cpus: files.list("cpuset.cpus")?, mems: files.list("cpuset.mems")? }
            }
            None => CpusetStats::default(),
        },
        memory: from.of("memory").map(|files| memory(&files)).transpose()?.unwrap_or_default(),
        pids: from.of("pids").map(|files| pids(&files)).transpose()?.unwrap_or_default(),
        blkio: from.of("blkio").map(|files| block_io(&files)).transpose()?.unwrap_or_default(),
        hugetlb: from
            .of("hugetlb")
            .map(|files| huge_pages(&files))
            .transpose()?
            .unwrap_or_default(),
        rdma: match from.of("rdma") {
            Some(files) => files.nested("rdma.current")?,
            None => BTreeMap::new(),
        },
        misc: BTreeMap::new(),
    };
    if let Some(directory) = record.unified.as_ref().map(Place::directory) {
        let files = Files { tree, directory: directory.clone() };
        stats.cpu.psi = pressure::read(&files, "cpu.pressure")?;
        stats.memory.psi = pressure::read(&files, "memory.pressure")?;
        stats.blkio.psi = pressure::read(&files, "io.pressure")?;
        if from.of("hugetlb").is_none() {
            stats.hugetlb = super::v2::read(tree, &directory)?.hugetlb;
        }
    }
    Ok(stats)
}

fn processor(from: &Hierarchies<'_>) -> Result<CpuStats> {
    let mut stats = CpuStats::default();
    if let Some(files) = from.of("cpuacct") {
        let stat = files.flat("cpuacct.stat")?;
        let ticks = |key: &str| stat.get(key).copied().unwrap_or_default().saturating_mul(TICK);
        let row = |file: &str| Ok(numbers(&files.text(file)?.unwrap_or_default()));
        stats.usage = CpuUsage {
            total: files.number("cpuacct.usage")?.unwrap_or_default(),
            percpu: row("cpuacct.usage_percpu")?,
            percpu_kernel: row("cpuacct.usage_percpu_sys")?,
            percpu_user: row("cpuacct.usage_percpu_user")?,
            kernel: ticks("system"),
            user: ticks("user"),
        };
    }
    if let Some(files) = from.of("cpu") {
        let stat = files.flat("cpu.stat")?;
        let count = |key: &str| stat.get(key).copied().unwrap_or_default();
        stats.throttling = Throttling {
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: count("throttled_time"),
            bursts: count("nr_bursts"),
            burst_time: count("burst_time"),
        };
    }
    Ok(stats)
}

/// Limit, use, peak and refusals of files with a common beginning.
fn usage(files: &Files<'_>, stem: &str) -> Result<Option<Usage>> {
    let number = |end: &str| files.number(&format!("{stem}.{end}"));
    let Some(usage) = number("usage_in_bytes")? else { return Ok(None) };
    Ok(Some(Usage {
        limit: number("limit_in_bytes")?.unwrap_or(u64::MAX),
        usage,
        max: number("max_usage_in_bytes")?,
        failcnt: number("failcnt")?.unwrap_or_default(),
    }))
}

fn memory(files: &Files<'_>) -> Result<MemoryStats> {
    let raw = files.flat("memory.stat")?;
    let control = files.flat("memory.oom_control")?;
    Ok(MemoryStats {
        cache: raw.get("cache").copied().unwrap_or_default(),
        usage: usage(files, "memory")?.unwrap_or_default(),
        swap: usage(files, "memory.memsw")?.unwrap_or_default(),
        kernel: usage(files, "memory.kmem")?,
        kernel_tcp: usage(files, "memory.kmem.tcp")?,
        raw,
        events: control.into_iter().filter(|(key, _)| key == "oom_kill").collect(),
        swap_events: BTreeMap::new(),
        psi: None,
    })
}

fn pids(files: &Files<'_>) -> Result<PidStats> {
    Ok(PidStats {
        current: files.number("pids.current")?.unwrap_or_default(),
        limit: files.number("pids.max")?.filter(|limit| *limit != u64::MAX),
        peak: files.number("pids.peak")?,
        failcnt: files.flat("pids.events")?.get("max").copied(),
    })
}

fn block_io(files: &Files<'_>) -> Result<BlockIoStats> {
    let first = |names: [&str; 2]| {
        for name in names {
            let all = entries(&files.text(name)?.unwrap_or_default());
            if !all.is_empty() {
                return Ok(all);
            }
        }
        Ok(Vec::new())
    };
    Ok(BlockIoStats {
        io_service_bytes_recursive: first([
            "blkio.throttle.io_service_bytes_recursive",
            "blkio.bfq.io_service_bytes_recursive",
        ])?,
        io_serviced_recursive: first([
            "blkio.throttle.io_serviced_recursive",
            "blkio.bfq.io_serviced_recursive",
        ])?,
        ..BlockIoStats::default()
    })
}

fn huge_pages(files: &Files<'_>) -> Result<BTreeMap<String, Usage>> {
    let mut sizes = BTreeMap::new();
    for size in page_sizes() {
        if let Some(usage) = usage(files, &format!("hugetlb.{size}"))? {
            sizes.insert(size, usage);
        }
    }
    Ok(sizes)
}

/// The sizes of huge pages, as the files of the controller spell them.
pub(super) fn page_sizes() -> Vec<String> {
    let Ok(directory) = std::fs::read_dir("/sys/kernel/mm/hugepages") else {
        return Vec::new();
    };
    let size = |name: &str| {
        let kilobytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kilobytes {
            large if large >= 1 << 20 => format!("{}GB", large >> 20),
            large if large >= 1 << 10 => format!("{}MB", large >> 10),
            small => format!("{small}KB"),
        })
    };
    let names = directory.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| size(name.to_str()?)).collect()
}
