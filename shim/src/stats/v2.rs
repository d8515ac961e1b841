//! The message of cgroup v2.

use std::collections::BTreeMap;

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats,
    PidsStat, RdmaEntry, RdmaStat,
};
use coracle::stats::{
    BlockIoStats, CpuStats, MemoryStats, PidStats, Pressure, PressureShare, Stats, Usage,
};

const NANOSECONDS: u64 = 1000;

/// All of it.
pub(super) fn metrics(stats: &Stats) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.pids = Some(tasks(&stats.pids)).into();
    metrics.cpu = Some(processor(&stats.cpu)).into();
    metrics.memory = Some(memory(&stats.memory)).into();
    metrics.memory_events = Some(events(&stats.memory.events)).into();
    metrics.io = Some(block_io(&stats.blkio)).into();
    metrics.hugetlb = stats.hugetlb.iter().map(|(size, usage)| huge_pages(size, usage)).collect();
    if !stats.rdma.is_empty() {
        let current = stats.rdma.iter().map(|(device, counts)| rdma(device, counts)).collect();
        metrics.rdma = Some(RdmaStat { current, ..RdmaStat::default() }).into();
    }
    metrics
}

fn tasks(stats: &PidStats) -> PidsStat {
    PidsStat {
        current: stats.current,
        limit: stats.limit.unwrap_or(u64::MAX),
        ..PidsStat::default()
    }
}

fn processor(stats: &CpuStats) -> CPUStat {
    CPUStat {
        usage_usec: stats.usage.total / NANOSECONDS,
        user_usec: stats.usage.user / NANOSECONDS,
        system_usec: stats.usage.kernel / NANOSECONDS,
        nr_periods: stats.throttling.periods,
        nr_throttled: stats.throttling.throttled_periods,
        throttled_usec: stats.throttling.throttled_time / NANOSECONDS,
        nr_bursts: stats.throttling.bursts,
        burst_usec: stats.throttling.burst_time / NANOSECONDS,
        psi: stats.psi.as_ref().map(pressure).into(),
        ..CPUStat::default()
    }
}

fn memory(stats: &MemoryStats) -> MemoryStat {
    let raw = |key: &str| stats.raw.get(key).copied().unwrap_or_default();
    // The library counts as cgroup v1 does: memory and swap together.
    let swap_limit = match stats.swap.limit {
        u64::MAX => u64::MAX,
        both => both.saturating_sub(stats.usage.limit),
    };
    MemoryStat {
        anon: raw("anon"),
        file: raw("file"),
        kernel_stack: raw("kernel_stack"),
        slab: raw("slab"),
        sock: raw("sock"),
        shmem: raw("shmem"),
        file_mapped: raw("file_mapped"),
        file_dirty: raw("file_dirty"),
        file_writeback: raw("file_writeback"),
        anon_thp: raw("anon_thp"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        slab_reclaimable: raw("slab_reclaimable"),
        slab_unreclaimable: raw("slab_unreclaimable"),
        pgfault: raw("pgfault"),
        pgmajfault: raw("pgmajfault"),
        // Since Linux 5.9 the kernel counts these by kind of page.
        workingset_refault: raw("workingset_refault_anon") + raw("workingset_refault_file"),
        workingset_activate: raw("workingset_activate_anon") + raw("workingset_activate_file"),
        workingset_nodereclaim: raw("workingset_nodereclaim"),
        pgrefill: raw("pgrefill"),
        pgscan: raw("pgscan"),
        pgsteal: raw("pgsteal"),
        pgactivate: raw("pgactivate"),
        pgdeactivate: raw("pgdeactivate"),
        pglazyfree: raw("pglazyfree"),
        pglazyfreed: raw("pglazyfreed"),
        thp_fault_alloc: raw("thp_fault_alloc"),
        thp_collapse_alloc: raw("thp_collapse_alloc"),
        usage: stats.usage.usage,
        usage_limit: stats.usage.limit,
        max_usage: stats.usage.max.unwrap_or_default(),
        swap_usage: stats.swap.usage.saturating_sub(stats.usage.usage),
        swap_limit,
        psi: stats.psi.as_ref().map(pressure).into(),
        ..MemoryStat::default()
    }
}

fn events(counts: &BTreeMap<String, u64>) -> MemoryEvents {
    let count = |key: &str| counts.get(key).copied().unwrap_or_default();
    MemoryEvents {
        low: count("low"),
        high: count("high"),
        max: count("max"),
        oom: count("oom"),
        oom_kill: count("oom_kill"),
        oom_group_kill: count("oom_group_kill"),
        ..MemoryEvents::default()
    }
}

fn block_io(stats: &BlockIoStats) -> IOStat {
    let entry = |(device, counts): (&String, &BTreeMap<String, u64>)| {
        let (major, minor) = device.split_once(':')?;
        let count = |key: &str| counts.get(key).copied().unwrap_or_default();
        Some(IOEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            rbytes: count("rbytes"),
            wbytes: count("wbytes"),
            rios: count("rios"),
            wios: count("wios"),
            ..IOEntry::default()
        })
    };
    IOStat {
        usage: stats.raw.iter().filter_map(entry).collect(),
        psi: stats.psi.as_ref().map(pressure).into(),
        ..IOStat::default()
    }
}

fn huge_pages(size: &str, usage: &Usage) -> HugeTlbStat {
    HugeTlbStat {
        current: usage.usage,
        max: usage.limit,
        pagesize: size.to_owned(),
        failcnt: usage.failcnt,
        ..HugeTlbStat::default()
    }
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

fn pressure(pressure: &Pressure) -> PSIStats {
    PSIStats {
        some: Some(share(&pressure.some)).into(),
        full: Some(share(&pressure.full)).into(),
        ..PSIStats::default()
    }
}

fn share(share: &PressureShare) -> PSIData {
    PSIData {
        avg10: share.avg10,
        avg60: share.avg60,
        avg300: share.avg300,
        total: share.total,
        ..PSIData::default()
    }
}
