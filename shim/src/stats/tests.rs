//! Figures of a running container and of made-up ones, read back from the messages.

use containerd_shim_protos::cgroups::metrics::Metrics as MetricsV1;
use containerd_shim_protos::cgroups_v2::metrics::Metrics as MetricsV2;
use coracle::stats::{BlockIoEntry, Pressure, Usage};

use super::*;

fn read<M: Message>(name: &str, message: &impl Message) -> M {
    let any = any(name, message).expect("encoded");
    assert_eq!(any.type_url, name);
    M::parse_from_bytes(&any.value).expect("decoded")
}

/// Statistics in which every figure is another one.
fn figures() -> Stats {
    let mut stats = Stats::default();
    stats.cpu.usage.total = 9_000;
    stats.cpu.usage.user = 5_000;
    stats.cpu.usage.kernel = 4_000;
    stats.cpu.usage.percpu = vec![6_000, 3_000];
    stats.cpu.throttling.periods = 11;
    stats.cpu.throttling.throttled_periods = 12;
    stats.cpu.throttling.throttled_time = 13_000;
    let mut psi = Pressure::default();
    psi.full.avg60 = 1.5;
    psi.some.total = 77;
    stats.memory.psi = Some(psi);
    stats.memory.usage = usage(1000, 100, Some(200), 3);
    stats.memory.swap = usage(1500, 140, None, 0);
    stats.memory.raw.insert("pgpgin".to_owned(), 21);
    stats.memory.raw.insert("anon".to_owned(), 22);
    stats.memory.raw.insert("hierarchical_memsw_limit".to_owned(), 23);
    stats.memory.raw.insert("workingset_refault_file".to_owned(), 24);
    stats.memory.events.insert("oom_kill".to_owned(), 2);
    stats.pids.current = 5;
    stats.hugetlb.insert("2MB".to_owned(), usage(31, 32, Some(33), 34));
    let counts = [("hca_handle", 41), ("hca_object", u64::MAX)];
    let counts = counts.into_iter().map(|(key, count)| (key.to_owned(), count)).collect();
    stats.rdma.insert("mlx".to_owned(), counts);
    let counts = [("rbytes", 51), ("wios", 52)];
    let counts = counts.into_iter().map(|(key, count)| (key.to_owned(), count)).collect();
    stats.blkio.raw.insert("8:16".to_owned(), counts);
    let mut entry = BlockIoEntry::default();
    (entry.major, entry.minor, entry.value) = (8, 16, 51);
    entry.op = "Read".to_owned();
    stats.blkio.io_service_bytes_recursive.push(entry);
    stats
}

fn usage(limit: u64, usage: u64, max: Option<u64>, failcnt: u64) -> Usage {
    let mut all = Usage::default();
    (all.limit, all.usage, all.max, all.failcnt) = (limit, usage, max, failcnt);
    all
}

#[test]
fn the_message_of_cgroup_v1() {
    let stats = figures();
    let message: MetricsV1 = read("io.containerd.cgroups.v1.Metrics", &v1::metrics(&stats));
    assert_eq!((message.cpu.usage.total, message.cpu.usage.per_cpu.len()), (9_000, 2));
    assert_eq!(message.cpu.throttling.throttled_time, 13_000);
    let memory = &message.memory;
    assert_eq!((memory.usage.limit, memory.usage.max, memory.swap.usage), (1000, 200, 140));
    assert_eq!((memory.pg_pg_in, memory.hierarchical_swap_limit), (21, 23));
    assert!(memory.kernel.is_none());
    assert_eq!(message.memory_oom_control.oom_kill, 2);
    assert_eq!((message.pids.current, message.pids.limit), (5, 0));
    assert_eq!((message.hugetlb[0].max, &*message.hugetlb[0].pagesize), (33, "2MB"));
    let rdma = &message.rdma.current[0];
    assert_eq!((rdma.hca_handles, rdma.hca_objects), (41, u32::MAX));
    let bytes = &message.blkio.io_service_bytes_recursive[0];
    assert_eq!((bytes.major, bytes.minor, &*bytes.op, bytes.value), (8, 16, "Read", 51));
}

#[test]
fn the_message_of_cgroup_v2() {
    let stats = figures();
    let message: MetricsV2 = read("io.containerd.cgroups.v2.Metrics", &v2::metrics(&stats));
    assert_eq!((message.cpu.usage_usec, message.cpu.throttled_usec), (9, 13));
    let memory = &message.memory;
    assert_eq!((memory.usage, memory.usage_limit, memory.max_usage), (100, 1000, 200));
    assert_eq!((memory.swap_usage, memory.swap_limit), (40, 500));
    assert_eq!((memory.anon, memory.workingset_refault), (22, 24));
    assert_eq!((memory.psi.full.avg60, memory.psi.some.total), (1.5, 77));
    assert!(message.cpu.psi.is_none());
    assert_eq!(message.memory_events.oom_kill, 2);
    assert_eq!((message.pids.current, message.pids.limit), (5, u64::MAX));
    assert_eq!((message.hugetlb[0].max, message.hugetlb[0].failcnt), (31, 34));
    let io = &message.io.usage[0];
    assert_eq!((io.major, io.minor, io.rbytes, io.wios, io.wbytes), (8, 16, 51, 52, 0));
}

#[test]
fn the_message_follows_the_host() {
    let any = metrics(&figures()).expect("encoded");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let version = if unified { "v2" } else { "v1" };
    assert_eq!(any.type_url, format!("io.containerd.cgroups.{version}.Metrics"));
    assert!(!is_unified(Path::new("/proc")));
}
