//! Statistics of a cgroup v2 directory (kernel documentation, admin-guide/cgroup-v2).

use std::collections::BTreeMap;

use super::figures::Files;
use super::pressure;
use super::{
    BlockIoEntry, BlockIoStats, CpuStats, CpuUsage, CpusetStats, MemoryStats, PidStats, Stats,
    Throttling, Usage,
};
use crate::cgroup::tree::Tree;
use crate::error::Result;

const NANOSECONDS: u64 = 1000;

/// Reads everything.
pub(in crate::cgroup) fn read(tree: &Tree, directory: &str) -> Result<Stats> {
    let files = Files { tree, directory: directory.to_owned() };
    let rdma = files.nested("rdma.current")?;
    Ok(Stats {
        cpu: processor(&files)?,
        cpuset: CpusetStats {
            cpus: files.list("cpuset.cpus.effective")?,
            mems: files.list("cpuset.mems.effective")?,
        },
        memory: memory(&files)?,
        pids: pids(&files)?,
        blkio: block_io(&files)?,
        hugetlb: huge_pages(&files)?,
        rdma,
        misc: scalar_resources(&files)?,
    })
}

fn processor(files: &Files<'_>) -> Result<CpuStats> {
    let stat = files.flat("cpu.stat")?;
    let count = |key: &str| stat.get(key).copied().unwrap_or_default();
    let time = |key: &str| count(key).saturating_mul(NANOSECONDS);
    Ok(CpuStats {
        usage: CpuUsage {
            total: time("usage_usec"),
            kernel: time("system_usec"),
            user: time("user_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: time("throttled_usec"),
            bursts: count("nr_bursts"),
            burst_time: time("burst_usec"),
        },
        psi: pressure::read(files, "cpu.pressure")?,
    })
}

fn memory(files: &Files<'_>) -> Result<MemoryStats> {
    let raw = files.flat("memory.stat")?;
    let events = files.flat("memory.events")?;
    let swap_events = files.flat("memory.swap.events")?;
    let usage = Usage {
        limit: files.number("memory.max")?.unwrap_or(u64::MAX),
        usage: files.number("memory.current")?.unwrap_or_default(),
        max: files.number("memory.peak")?,
        failcnt: events.get("max").copied().unwrap_or_default(),
    };
    let swap = files.number("memory.swap.current")?.unwrap_or_default();
    let swap_limit = files.number("memory.swap.max")?.unwrap_or_default();
    let swap = Usage {
        // As in cgroup v1, and in runc: both together.
        limit: usage.limit.saturating_add(swap_limit),
        usage: usage.usage.saturating_add(swap),
        max: None,
        failcnt: swap_events.get("max").copied().unwrap_or_default(),
    };
    Ok(MemoryStats {
        cache: raw.get("file").copied().unwrap_or_default(),
        usage,
        swap,
        kernel: None,
        kernel_tcp: None,
        raw,
        events,
        swap_events,
        psi: pressure::read(files, "memory.pressure")?,
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
    let raw = files.nested("io.stat")?;
    let mut stats =
        BlockIoStats { psi: pressure::read(files, "io.pressure")?, ..Default::default() };
    for (device, counts) in &raw {
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        let entry = |op: &str, key: &str| {
            let value = *counts.get(key)?;
            Some(BlockIoEntry { major, minor, op: op.to_owned(), value })
        };
        let bytes = [("Read", "rbytes"), ("Write", "wbytes"), ("Discard", "dbytes")];
        let counts = [("Read", "rios"), ("Write", "wios"), ("Discard", "dios")];
        let all = |pairs: [(&str, &str); 3]| {
            pairs.into_iter().filter_map(|(op, key)| entry(op, key)).collect::<Vec<_>>()
        };
        stats.io_service_bytes_recursive.extend(all(bytes));
        stats.io_serviced_recursive.extend(all(counts));
    }
    stats.raw = raw;
    Ok(stats)
}

fn huge_pages(files: &Files<'_>) -> Result<BTreeMap<String, Usage>> {
    let mut sizes = BTreeMap::new();
    for size in super::v1::page_sizes() {
        let Some(usage) = files.number(&format!("hugetlb.{size}.current"))? else { continue };
        let limit = files.number(&format!("hugetlb.{size}.max"))?.unwrap_or(u64::MAX);
        let events = files.flat(&format!("hugetlb.{size}.events"))?;
        let failcnt = events.get("max").copied().unwrap_or_default();
        sizes.insert(size, Usage { limit, usage, max: None, failcnt });
    }
    Ok(sizes)
}

fn scalar_resources(files: &Files<'_>) -> Result<BTreeMap<String, Usage>> {
    let limits = files.flat("misc.max")?;
    let peaks = files.flat("misc.peak")?;
    let events = files.flat("misc.events")?;
    let usage = |(name, usage): (String, u64)| {
        let usage = Usage {
            limit: limits.get(&name).copied().unwrap_or(u64::MAX),
            usage,
            max: peaks.get(&name).copied(),
            failcnt: events.get(&format!("{name}.max")).copied().unwrap_or_default(),
        };
        (name, usage)
    };
    Ok(files.flat("misc.current")?.into_iter().map(usage).collect())
}
