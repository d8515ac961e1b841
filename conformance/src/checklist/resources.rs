//! `linux.resources`, `linux.cgroupsPath`, `linux.intelRdt`.

use super::{Row, row};

pub(super) const ROWS: &[Row] = &[
    row('F', "linux.cgroupsPath", "absolute or relative; one path, one place; made and removed"),
    row('F', "cgroup ownership", "a delegated cgroup belongs to the container's root (v2)"),
    row('F', "linux.resources.devices", "rules in order, the default devices on top"),
    row('F', "memory.limit", "a hard limit; -1 is none"),
    row('F', "memory.reservation", "a soft limit"),
    row('F', "memory.swap", "memory and swap together"),
    row('F', "memory.kernel", "kernel and kernelTCP: v1 only, deprecated"),
    row('F', "memory.swappiness", "v1 only"),
    row('F', "memory.disableOOMKiller", "v1 only"),
    row('F', "memory.useHierarchy", "v1 only"),
    row('F', "memory.checkBeforeUpdate", "a limit below the usage is refused"),
    row('F', "cpu.shares", "shares or weight"),
    row('F', "cpu.quota", "quota and period"),
    row('F', "cpu.burst", "time that may be saved up"),
    row('F', "cpu.idle", "the idle class of the scheduler"),
    row('F', "cpu.realtimeRuntime", "realtimeRuntime and realtimePeriod: v1 only"),
    row('F', "cpu.cpus", "cpus and mems"),
    row('F', "blockIO.weight", "weight and leafWeight"),
    row('F', "blockIO.weightDevice", "weights of single devices"),
    row('F', "blockIO.throttle", "bytes and operations per second of single devices"),
    row('F', "hugepageLimits", "limit and reserved limit of a page size"),
    row('F', "network", "classID and priorities: v1 only"),
    row('F', "pids.limit", "a number of tasks; 0 is a limit, -1 is none"),
    row('F', "rdma", "handles and objects of a device"),
    row('F', "unified", "files of version 2, after the rest; an error on version 1"),
    row('F', "unified: other controllers", "misc, memory.high … through unified"),
    row('F', "linux.intelRdt", "closID, schemata, monitoring; rules for making and removing"),
];
