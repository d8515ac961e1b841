//! The message of cgroup v1, also for hybrid hosts.

use std::collections::BTreeMap;

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl,
    MemoryStat, Metrics, PidsStat, RdmaEntry, RdmaStat, Throttle,
};
use coracle::stats::{BlockIoEntry, CpuStats, MemoryStats, Stats, Usage};

/// All of it.
pub(super) fn metrics(stats: &Stats) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.hugetlb = stats.hugetlb.iter().map(|(size, usage)| huge_pages(size, usage)).collect();
    metrics.pids = Some(PidsStat {
        current: stats.pids.current,
        limit: stats.pids.limit.unwrap_or_default(),
        ..PidsStat::default()
    })
    .into();
    metrics.cpu = Some(processor(&stats.cpu)).into();
    metrics.memory = Some(memory(&stats.memory)).into();
    metrics.blkio = Some(BlkIOStat {
        io_service_bytes_recursive: entries(&stats.blkio.io_service_bytes_recursive),
        io_serviced_recursive: entries(&stats.blkio.io_serviced_recursive),
        ..BlkIOStat::default()
    })
    .into();
    if !stats.rdma.is_empty() {
        let current = stats.rdma.iter().map(|(device, counts)| rdma(device, counts)).collect();
        metrics.rdma = Some(RdmaStat { current, ..RdmaStat::default() }).into();
    }
    if let Some(kills) = stats.memory.events.get("oom_kill") {
        let told = MemoryOomControl { oom_kill: *kills, ..MemoryOomControl::default() };
        metrics.memory_oom_control = Some(told).into();
    }
    metrics
}

fn processor(stats: &CpuStats) -> CPUStat {
    let usage = CPUUsage {
        total: stats.usage.total,
        kernel: stats.usage.kernel,
        user: stats.usage.user,
        per_cpu: stats.usage.percpu.clone(),
        ..CPUUsage::default()
    };
    let throttling = Throttle {
        periods: stats.throttling.periods,
        throttled_periods: stats.throttling.throttled_periods,
        throttled_time: stats.throttling.throttled_time,
        ..Throttle::default()
    };
    CPUStat { usage: Some(usage).into(), throttling: Some(throttling).into(), ..CPUStat::default() }
}

fn memory(stats: &MemoryStats) -> MemoryStat {
    let raw = |key: &str| stats.raw.get(key).copied().unwrap_or_default();
    MemoryStat {
        cache: raw("cache"),
        rss: raw("rss"),
        rss_huge: raw("rss_huge"),
        mapped_file: raw("mapped_file"),
        dirty: raw("dirty"),
        writeback: raw("writeback"),
        pg_pg_in: raw("pgpgin"),
        pg_pg_out: raw("pgpgout"),
        pg_fault: raw("pgfault"),
        pg_maj_fault: raw("pgmajfault"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        hierarchical_memory_limit: raw("hierarchical_memory_limit"),
        hierarchical_swap_limit: raw("hierarchical_memsw_limit"),
        total_cache: raw("total_cache"),
        total_rss: raw("total_rss"),
        total_rss_huge: raw("total_rss_huge"),
        total_mapped_file: raw("total_mapped_file"),
        total_dirty: raw("total_dirty"),
        total_writeback: raw("total_writeback"),
        total_pg_pg_in: raw("total_pgpgin"),
        total_pg_pg_out: raw("total_pgpgout"),
        total_pg_fault: raw("total_pgfault"),
        total_pg_maj_fault: raw("total_pgmajfault"),
        total_inactive_anon: raw("total_inactive_anon"),
        total_active_anon: raw("total_active_anon"),
        total_inactive_file: raw("total_inactive_file"),
        total_active_file: raw("total_active_file"),
        total_unevictable: raw("total_unevictable"),
        usage: Some(entry(&stats.usage)).into(),
        swap: Some(entry(&stats.swap)).into(),
        kernel: stats.kernel.as_ref().map(entry).into(),
        kernel_tcp: stats.kernel_tcp.as_ref().map(entry).into(),
        ..MemoryStat::default()
    }
}

fn entry(usage: &Usage) -> MemoryEntry {
    MemoryEntry {
        limit: usage.limit,
        usage: usage.usage,
        max: usage.max.unwrap_or_default(),
        failcnt: usage.failcnt,
        ..MemoryEntry::default()
    }
}

fn huge_pages(size: &str, usage: &Usage) -> HugetlbStat {
    HugetlbStat {
        usage: usage.usage,
        max: usage.max.unwrap_or_default(),
        failcnt: usage.failcnt,
        pagesize: size.to_owned(),
        ..HugetlbStat::default()
    }
}

fn entries(counts: &[BlockIoEntry]) -> Vec<BlkIOEntry> {
    let entry = |count: &BlockIoEntry| BlkIOEntry {
        op: count.op.clone(),
        device: device(count.major, count.minor),
        major: count.major,
        minor: count.minor,
        value: count.value,
        ..BlkIOEntry::default()
    };
    counts.iter().map(entry).collect()
}

/// The path of a block device's node; empty if the kernel does not tell its name.
fn device(major: u64, minor: u64) -> String {
    let path = format!("/sys/dev/block/{major}:{minor}/uevent");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map(|name| format!("/dev/{name}")).unwrap_or_default()
}

fn rdma(device: &str, counts: &BTreeMap<String, u64>) -> RdmaEntry {
    let count = |key: &str| {
        let count = counts.get(key).copied().unwrap_or_default();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    RdmaEntry {
        device: device.to_owned(),
        hca_handles: count("hca_handle"),
        hca_objects: count("hca_object"),
        ..RdmaEntry::default()
    }
}
