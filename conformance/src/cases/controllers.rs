//! Huge pages, network, RDMA, tasks, and the files of `linux.resources.unified`.

use std::fs;

use serde_json::json;

use super::control_files::{cgroup_of, files, offers, only_v1};
use crate::case::{Case, Need};
use crate::failure::ensure;
use crate::value::equal;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("hugepages/limit", "config-linux.md#huge-page-limits: limit", |t| {
        let limits = json!([{ "pageSize": "2MB", "limit": 4_194_304 }]);
        let b = t.bundle().set("/linux/resources/hugepageLimits", limits);
        let file = ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max", "4194304");
        files(t, b, "hugetlb", &[file])
    })
    .rows(&["hugepageLimits"])
    .needs(&[Need::Controller("hugetlb")]),
    Case::new("hugepages/reserved", "config-linux.md#huge-page-limits: reservations", |t| {
        let limits = json!([{ "pageSize": "2MB", "limit": 4_194_304 }]);
        let b = t.bundle().set("/linux/resources/hugepageLimits", limits);
        let file = ("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max", "4194304");
        files(t, b, "hugetlb", &[file])
    })
    .rows(&["hugepageLimits"])
    .needs(&[Need::Controller("hugetlb")]),
    Case::new("hugepages/unknown-size", "config-linux.md#huge-page-limits: pageSize", |t| {
        let limits = json!([{ "pageSize": "3MB", "limit": 4_194_304 }]);
        let b = t.bundle().set("/linux/resources/hugepageLimits", limits);
        b.refused("hugepage|hugetlb|3MB").map(drop)
    })
    .rows(&["hugepageLimits"])
    .needs(&[Need::Cgroup]),
    Case::new("network/class", "config-linux.md#network: classID, or an error", |t| {
        let file = ("net_cls", "net_cls.classid", "1048577");
        only_v1(t, ("network/classID", 1_048_577), file)
    })
    .rows(&["network"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("network/priorities", "config-linux.md#network: priorities, or an error", |t| {
        let list = json!([{ "name": "lo", "priority": 500 }]);
        let b = t.bundle().set("/linux/resources/network", json!({ "priorities": list }));
        if t.host.v2 || !offers(t, "net_prio", "net_prio.ifpriomap") {
            return b.refused("priorities|net_prio").map(drop);
        }
        let c = b.ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir("net_prio", &cgroup_of(t, &c.id));
        let text = fs::read_to_string(dir.join("net_prio.ifpriomap"))?;
        ensure(text.lines().any(|line| line == "lo 500"), text)
    })
    .rows(&["network"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("rdma/limit", "config-linux.md#rdma: handles and objects", |t| {
        let mut devices = fs::read_dir("/sys/class/infiniband")?.flatten();
        let device = devices.next().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let device = device.unwrap_or_default();
        let limits = json!({ &device: { "hcaHandles": 3, "hcaObjects": 10_000 } });
        let c = t.bundle().set("/linux/resources/rdma", limits).ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir("rdma", &cgroup_of(t, &c.id));
        let text = fs::read_to_string(dir.join("rdma.max"))?;
        let wanted = format!("{device} hca_handle=3 hca_object=10000");
        ensure(text.lines().any(|line| line.trim() == wanted), format!("rdma.max: {text:?}"))
    })
    .rows(&["rdma"])
    .needs(&[Need::Root, Need::Controller("rdma"), Need::RdmaDevice]),
    Case::new("rdma/missing", "config-linux.md#rdma: a device that is not there", |t| {
        let limits = json!({ "no-device": { "hcaHandles": 3 } });
        t.bundle().set("/linux/resources/rdma", limits).refused("rdma").map(drop)
    })
    .rows(&["rdma"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("pids/zero", "config-linux.md#pids: 0 is a limit, under which nothing forks", |t| {
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": 0 }));
        b.probe(&["fork=1"])?.fails("fork=1", "EAGAIN")?;
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": 0 }));
        files(t, b, "pids", &[("pids.max", "pids.max", "0")])
    })
    .rows(&["pids.limit"])
    .needs(&[Need::Controller("pids")]),
    Case::new("pids/one", "a limit of 1 is enough for the program", |t| {
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": 1 }));
        b.probe(&["fork=1"])?.fails("fork=1", "EAGAIN")
    })
    .rows(&["pids.limit"])
    .needs(&[Need::Controller("pids")]),
    Case::new("unified/last", "config-linux.md#unified: wins over the other fields", |t| {
        let b = t
            .bundle()
            .set("/linux/resources/memory", json!({ "limit": 67_108_864 }))
            .set("/linux/resources/unified", json!({ "memory.max": "33554432" }));
        files(t, b, "memory", &[("", "memory.max", "33554432")])
    })
    .rows(&["unified"])
    .needs(&[Need::CgroupV2, Need::Controller("memory")]),
    Case::new("unified/version-1", "config-linux.md#unified: an error without version 2", |t| {
        let b = t.bundle().set("/linux/resources/unified", json!({ "memory.max": "33554432" }));
        b.refused("unified|cgroup").map(drop)
    })
    .rows(&["unified"])
    .needs(&[Need::CgroupV1]),
    Case::new("unified/others", "config-linux.md#unified: files without a field", |t| {
        let list = json!({
            "memory.high": "50003968", "memory.oom.group": "1", "cgroup.max.depth": "7",
        });
        let c = t.bundle().set("/linux/resources/unified", list).ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir("memory", &cgroup_of(t, &c.id));
        for (file, wanted) in
            [("memory.high", "50003968"), ("memory.oom.group", "1"), ("cgroup.max.depth", "7")]
        {
            equal(file, fs::read_to_string(dir.join(file))?.trim(), wanted)?;
        }
        Ok(())
    })
    .rows(&["unified: other controllers"])
    .needs(&[Need::CgroupV2, Need::Controller("memory")]),
    Case::new("unified/controller-missing", "config-linux.md#unified: no such controller", |t| {
        let b = t.bundle().set("/linux/resources/unified", json!({ "nothing.max": "1" }));
        b.refused("nothing|unified").map(drop)
    })
    .rows(&["unified: other controllers"])
    .needs(&[Need::CgroupV2, Need::Cgroup]),
    Case::new("unified/lines", "config-linux.md#unified: several lines in one value", |t| {
        let disks = fs::read_dir("/sys/block")?.flatten();
        let number = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("dev")).ok();
        let disks: Vec<String> = disks.filter_map(number).take(2).collect();
        let lines = disks.iter().map(|disk| format!("{} rbps=1048576", disk.trim()));
        let value = lines.collect::<Vec<_>>().join("\n");
        let list = json!({ "io.max": value });
        let c = t.bundle().set("/linux/resources/unified", list).ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir("io", &cgroup_of(t, &c.id));
        let text = fs::read_to_string(dir.join("io.max"))?;
        ensure(text.lines().count() == disks.len(), format!("io.max: {text:?}"))
    })
    .rows(&["unified"])
    .needs(&[Need::CgroupV2, Need::Controller("io")]),
];
