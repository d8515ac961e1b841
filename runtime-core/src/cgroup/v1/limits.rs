//! `linux.resources` as values for the control files of cgroup v1 (kernel documentation,
//! admin-guide/cgroup-v1).
//!
//! As in runc, a zero means "not set", except in `pids.limit` and `cpu.idle`.

use crate::cgroup::limits::{huge_pages, processor_set, rdma, task_limit};
use crate::cgroup::setting::{Absent, Setting};
use crate::spec::resources::{BlockIo, Cpu, Memory, Network, Pids, Resources};

/// Everything but the device rules, in the order of writing.
pub(in crate::cgroup) fn settings(resources: &Resources) -> Vec<Setting> {
    let mut list = Vec::new();
    if let Some(cpu) = &resources.cpu {
        processor(cpu, &mut list);
    }
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut list);
    }
    if let Some(Pids { limit: Some(limit) }) = resources.pids {
        list.push(Setting::new(
            "pids",
            "pids.max",
            task_limit(limit),
            "linux.resources.pids.limit",
        ));
    }
    if let Some(io) = &resources.block_io {
        block_io(io, &mut list);
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        huge_pages(index, limit, ["limit_in_bytes", "rsvd.limit_in_bytes"], &mut list);
    }
    if let Some(network) = &resources.network {
        self::network(network, &mut list);
    }
    rdma(resources, &mut list);
    list
}

fn memory(memory: &Memory, list: &mut Vec<Setting>) {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let mut push = |file: &'static str, value: Option<i64>, field: &'static str, absent| {
        list.extend(value.map(|value| Setting::new("memory", file, value, field).or(absent)));
    };
    let limit = set(memory.limit);
    // Memory and swap together cannot stay limited when memory is not.
    let swap = set(memory.swap).or(limit.filter(|limit| *limit == -1));
    let no_swap = if swap == Some(-1) { Absent::Skip } else { Absent::Fail };
    let hierarchy = memory.use_hierarchy.map(i64::from);
    // A kernel without the file does what 1 asks for.
    let always = if hierarchy == Some(1) { Absent::Skip } else { Absent::Fail };
    let field = "linux.resources.memory.useHierarchy";
    push("memory.use_hierarchy", hierarchy, field, always);
    push("memory.limit_in_bytes", limit, "linux.resources.memory.limit", Absent::Fail);
    push("memory.memsw.limit_in_bytes", swap, "linux.resources.memory.swap", no_swap);
    let reservation = set(memory.reservation);
    push(
        "memory.soft_limit_in_bytes",
        reservation,
        "linux.resources.memory.reservation",
        Absent::Fail,
    );
    // Kernels since 5.16 refuse every limit on kernel memory, so "none" holds there.
    let kernel = set(memory.kernel).filter(|limit| *limit > 0);
    push("memory.kmem.limit_in_bytes", kernel, "linux.resources.memory.kernel", Absent::Fail);
    let tcp = set(memory.kernel_tcp);
    let no_tcp = if tcp == Some(-1) { Absent::Skip } else { Absent::Fail };
    push("memory.kmem.tcp.limit_in_bytes", tcp, "linux.resources.memory.kernelTCP", no_tcp);
    if let Some(swappiness) = memory.swappiness {
        let field = "linux.resources.memory.swappiness";
        list.push(Setting::new("memory", "memory.swappiness", swappiness, field));
    }
    if memory.disable_oom_killer == Some(true) {
        let field = "linux.resources.memory.disableOOMKiller";
        list.push(Setting::new("memory", "memory.oom_control", 1, field));
    }
}

fn processor(cpu: &Cpu, list: &mut Vec<Setting>) {
    let mut push = |file: &'static str, value: Option<i128>, field: &'static str| {
        list.extend(value.map(|value| Setting::new("cpu", file, value, field)));
    };
    let unsigned = |value: Option<u64>| value.filter(|value| *value != 0).map(i128::from);
    let signed = |value: Option<i64>| value.filter(|value| *value != 0).map(i128::from);
    push("cpu.shares", unsigned(cpu.shares), "linux.resources.cpu.shares");
    push("cpu.idle", cpu.idle.map(i128::from), "linux.resources.cpu.idle");
    push("cpu.cfs_period_us", unsigned(cpu.period), "linux.resources.cpu.period");
    push("cpu.cfs_quota_us", signed(cpu.quota), "linux.resources.cpu.quota");
    push("cpu.cfs_burst_us", cpu.burst.map(i128::from), "linux.resources.cpu.burst");
    let period = unsigned(cpu.realtime_period);
    push("cpu.rt_period_us", period, "linux.resources.cpu.realtimePeriod");
    let runtime = signed(cpu.realtime_runtime);
    push("cpu.rt_runtime_us", runtime, "linux.resources.cpu.realtimeRuntime");
    processor_set(cpu, list);
}

fn block_io(io: &BlockIo, list: &mut Vec<Setting>) {
    weights(io, list);
    for (file, devices, name) in [
        ("blkio.throttle.read_bps_device", &io.throttle_read_bps, "throttleReadBpsDevice"),
        ("blkio.throttle.write_bps_device", &io.throttle_write_bps, "throttleWriteBpsDevice"),
        ("blkio.throttle.read_iops_device", &io.throttle_read_iops, "throttleReadIOPSDevice"),
        ("blkio.throttle.write_iops_device", &io.throttle_write_iops, "throttleWriteIOPSDevice"),
    ] {
        for (index, device) in devices.iter().enumerate() {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            list.push(Setting::new("blkio", file, value, field));
        }
    }
}

/// Kernels since 5.0 have weights only with the BFQ scheduler, under other names.
fn weights(io: &BlockIo, list: &mut Vec<Setting>) {
    let path = "linux.resources.blockIO";
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        let field = format!("{path}.weight");
        let bfq = Absent::Instead("blkio.bfq.weight", weight.to_string());
        list.push(Setting::new("blkio", "blkio.weight", weight, field).or(bfq));
    }
    if let Some(weight) = io.leaf_weight.filter(|weight| *weight != 0) {
        let field = format!("{path}.leafWeight");
        list.push(Setting::new("blkio", "blkio.leaf_weight", weight, field));
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let field = format!("{path}.weightDevice[{index}]");
        let value = |weight: u16| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = device.weight {
            let bfq = Absent::Instead("blkio.bfq.weight_device", value(weight));
            let file = "blkio.weight_device";
            list.push(Setting::new("blkio", file, value(weight), field.clone()).or(bfq));
        }
        if let Some(weight) = device.leaf_weight {
            list.push(Setting::new("blkio", "blkio.leaf_weight_device", value(weight), field));
        }
    }
}

fn network(network: &Network, list: &mut Vec<Setting>) {
    if let Some(class) = network.class_id.filter(|class| *class != 0) {
        let field = "linux.resources.network.classID";
        list.push(Setting::new("net_cls", "net_cls.classid", class, field));
    }
    for (index, interface) in network.priorities.iter().enumerate() {
        let value = format!("{} {}", interface.name, interface.priority);
        let field = format!("linux.resources.network.priorities[{index}]");
        list.push(Setting::new("net_prio", "net_prio.ifpriomap", value, field));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        let resources = serde_json::from_str(text).expect("valid resources");
        let one = |setting: &Setting| format!("{}={}", setting.file, setting.value);
        settings(&resources).iter().map(one).collect()
    }

    #[test]
    fn nothing_asked_nothing_written() {
        assert_eq!(written("{}"), [""; 0]);
        let zeros = r#"{"memory":{"limit":0,"swap":0,"disableOOMKiller":false},
            "cpu":{"shares":0,"quota":0,"period":0,"cpus":""},"blockIO":{"weight":0}}"#;
        assert_eq!(written(zeros), [""; 0]);
    }

    #[test]
    fn memory_and_swap() {
        assert_eq!(
            written(r#"{"memory":{"limit":10,"swap":20,"reservation":5,"swappiness":0}}"#),
            [
                "memory.limit_in_bytes=10",
                "memory.memsw.limit_in_bytes=20",
                "memory.soft_limit_in_bytes=5",
                "memory.swappiness=0"
            ]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":-1}}"#),
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":10,"kernel":8,"kernelTCP":4,"useHierarchy":true}}"#),
            [
                "memory.use_hierarchy=1",
                "memory.limit_in_bytes=10",
                "memory.kmem.limit_in_bytes=8",
                "memory.kmem.tcp.limit_in_bytes=4"
            ]
        );
        assert_eq!(
            written(r#"{"memory":{"kernel":-1,"useHierarchy":false}}"#),
            ["memory.use_hierarchy=0"]
        );
    }

    #[test]
    fn tasks() {
        assert_eq!(written(r#"{"pids":{"limit":0}}"#), ["pids.max=1"]);
        assert_eq!(written(r#"{"pids":{"limit":-1}}"#), ["pids.max=max"]);
        assert_eq!(written(r#"{"pids":{"limit":7}}"#), ["pids.max=7"]);
        assert_eq!(written(r#"{"pids":{}}"#), [""; 0]);
    }

    #[test]
    fn processors_and_devices() {
        assert_eq!(
            written(r#"{"cpu":{"shares":512,"quota":-1,"period":100000,"idle":0,"mems":"0"}}"#),
            [
                "cpu.shares=512",
                "cpu.idle=0",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=-1",
                "cpuset.mems=0"
            ]
        );
        assert_eq!(
            written(
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":1,"rate":9}]},
                    "rdma":{"m0":{"hcaHandles":3,"hcaObjects":4}}}"#
            ),
            ["blkio.throttle.read_bps_device=8:1 9", "rdma.max=m0 hca_handle=3 hca_object=4"]
        );
    }
}
