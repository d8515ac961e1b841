//! What systemd is told of a container's limits, so that it keeps them.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::control_files::{cgroup_of, offers};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::{Check, ensure, skip};
use crate::trial::Trial;
use crate::unit::{Unit, systemctl};
use crate::value::{contains, equal};

/// A property on cgroup v1 and on v2, by name, with what systemctl says of it.
type Shown<'a> = [(&'a str, &'a str, &'a str)];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("systemd/scope", "systemd.scope(5): delegated, ended with the container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let unit = Unit::of(t, &c.id);
        unit.shows(&[
            ("ActiveState", "active"),
            ("Delegate", "yes"),
            ("DefaultDependencies", "no"),
            ("CPUAccounting", "yes"),
            ("MemoryAccounting", "yes"),
            ("TasksAccounting", "yes"),
        ])?;
        contains("Description", &unit.property("Description")?, &c.id)
    })
    .needs(&[Need::Systemd]),
    Case::new("systemd/memory", "config-linux.md#memory: MemoryMax and MemoryLow", |t| {
        let limits = json!({ "limit": 67_108_864, "reservation": 33_554_432 });
        let b = t.bundle().set("/linux/resources/memory", limits);
        shown(
            t,
            b,
            &[("MemoryLimit", "MemoryMax", "67108864"), ("", "MemoryLow", "33554432")],
        )
    })
    .rows(&["memory.limit", "memory.reservation"])
    .needs(&[Need::Systemd, Need::Controller("memory")]),
    Case::new("systemd/swap", "config-linux.md#memory: MemorySwapMax is without memory", |t| {
        let limits = json!({ "limit": 67_108_864, "swap": 100_663_296 });
        let b = t.bundle().set("/linux/resources/memory", limits);
        if !offers(t, "memory", "memory.swap.max") {
            return skip("this kernel does not account swap");
        }
        shown(t, b, &[("", "MemorySwapMax", "33554432")])
    })
    .rows(&["memory.swap"])
    .needs(&[Need::Systemd, Need::CgroupV2, Need::Controller("memory")]),
    Case::new("systemd/quota", "config-linux.md#cpu: the quota of a second, and its period", |t| {
        let b =
            t.bundle().set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 200_000 }));
        let name = "CPUQuotaPerSecUSec";
        let period = "CPUQuotaPeriodUSec";
        shown(t, b, &[(name, name, "250ms"), (period, period, "200ms")])
    })
    .rows(&["cpu.quota"])
    .needs(&[Need::Systemd, Need::Controller("cpu")]),
    Case::new("systemd/quota-exact", "what systemd rounds is exact in the control file", |t| {
        // systemd knows steps of ten milliseconds a second, and never less than what is asked.
        let b =
            t.bundle().set("/linux/resources/cpu", json!({ "quota": 12_345, "period": 100_000 }));
        let c = b.ops(&["sleep"]).start()?;
        let name = "CPUQuotaPerSecUSec";
        Unit::of(t, &c.id).shows(&[(name, "130ms")])?;
        let (file, wanted) = match t.host.v2 {
            true => ("cpu.max", "12345 100000"),
            false => ("cpu.cfs_quota_us", "12345"),
        };
        let dir = t.host.cgroup_dir("cpu", &cgroup_of(t, &c.id));
        equal(file, fs::read_to_string(dir.join(file))?.trim(), wanted)
    })
    .rows(&["cpu.quota"])
    .needs(&[Need::Systemd, Need::Controller("cpu")]),
    Case::new("systemd/shares", "config-linux.md#cpu: shares as the weight in force", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "shares": 512 }));
        let c = b.ops(&["sleep"]).start()?;
        let (file, name) = if t.host.v2 { ("cpu.weight", "CPUWeight") } else { ("cpu.shares", "CPUShares") };
        let dir = t.host.cgroup_dir("cpu", &cgroup_of(t, &c.id));
        let weight = fs::read_to_string(dir.join(file))?;
        ensure(!matches!(weight.trim(), "100" | "1024"), format!("{file} is the default"))?;
        Unit::of(t, &c.id).shows(&[(name, weight.trim())])
    })
    .rows(&["cpu.shares"])
    .needs(&[Need::Systemd, Need::Controller("cpu")]),
    Case::new("systemd/tasks", "config-linux.md#pids: TasksMax", |t| {
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": 42 }));
        shown(t, b, &[("TasksMax", "TasksMax", "42")])?;
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": -1 }));
        shown(t, b, &[("TasksMax", "TasksMax", "infinity")])
    })
    .rows(&["pids.limit"])
    .needs(&[Need::Systemd, Need::Controller("pids")]),
    Case::new("systemd/cpuset", "config-linux.md#cpu: AllowedCPUs and AllowedMemoryNodes", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "cpus": "0", "mems": "0" }));
        shown(t, b, &[("", "AllowedCPUs", "0"), ("", "AllowedMemoryNodes", "0")])
    })
    .rows(&["cpu.cpus"])
    .needs(&[Need::Systemd, Need::CgroupV2, Need::Controller("cpuset")]),
    Case::new("systemd/io-weight", "config-linux.md#block-io: IOWeight or BlockIOWeight", |t| {
        let b = t.bundle().set("/linux/resources/blockIO", json!({ "weight": 10 }));
        if t.host.v2 {
            if !offers(t, "io", "io.bfq.weight") && !offers(t, "io", "io.weight") {
                return skip("nothing weighs input and output here");
            }
            return shown(t, b, &[("", "IOWeight", "1")]);
        }
        if !offers(t, "blkio", "blkio.weight") && !offers(t, "blkio", "blkio.bfq.weight") {
            return skip("nothing weighs input and output here");
        }
        shown(t, b, &[("BlockIOWeight", "", "10")])
    })
    .rows(&["blockIO.weight"])
    .needs(&[Need::Systemd, Need::Root]),
    Case::new("systemd/unified", "config-linux.md#unified: files that systemd writes too", |t| {
        let list = json!({
            "memory.high": "50003968", "memory.max": "67108864", "memory.min": "4096",
            "pids.max": "43", "cpu.weight": "77", "cpu.max": "30000 150000",
        });
        let b = t.bundle().set("/linux/resources/unified", list);
        shown(
            t,
            b,
            &[
                ("", "MemoryHigh", "50003968"),
                ("", "MemoryMax", "67108864"),
                ("", "MemoryMin", "4096"),
                ("", "TasksMax", "43"),
                ("", "CPUWeight", "77"),
                ("", "CPUQuotaPerSecUSec", "200ms"),
                ("", "CPUQuotaPeriodUSec", "150ms"),
            ],
        )
    })
    .rows(&["unified"])
    .needs(&[
        Need::Systemd,
        Need::CgroupV2,
        Need::Controller("memory"),
        Need::Controller("pids"),
        Need::Controller("cpu"),
    ]),
    Case::new("systemd/idle", "config-linux.md#cpu: idle is a weight of its own", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "idle": 1 }));
        let c = b.ops(&["sleep"]).start()?;
        Unit::of(t, &c.id).shows(&[("CPUWeight", "idle")])?;
        systemctl(t, &["daemon-reload"])?;
        let dir = t.host.cgroup_dir("cpu", &cgroup_of(t, &c.id));
        equal("cpu.idle", fs::read_to_string(dir.join("cpu.idle"))?.trim(), "1")
    })
    .rows(&["cpu.idle"])
    .needs(&[Need::Systemd, Need::CgroupV2, Need::Controller("cpu"), Need::Kernel(5, 15)]),
    Case::new("systemd/oom-group", "memory.oom.group is OOMPolicy", |t| {
        let b = t.bundle().set("/linux/resources/unified", json!({ "memory.oom.group": "1" }));
        let c = b.ops(&["sleep"]).start()?;
        Unit::of(t, &c.id).shows(&[("OOMPolicy", "kill")])?;
        systemctl(t, &["daemon-reload"])?;
        let dir = t.host.cgroup_dir("memory", &cgroup_of(t, &c.id));
        equal("memory.oom.group", fs::read_to_string(dir.join("memory.oom.group"))?.trim(), "1")
    })
    .rows(&["unified: other controllers"])
    .needs(&[Need::Systemd, Need::CgroupV2, Need::Controller("memory")]),
    Case::new("systemd/device-policy", "systemd writes the list of devices on cgroup v1", |t| {
        let rules = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 183, "access": "r" },
        ]);
        let b = t.bundle().set("/linux/resources/devices", rules);
        let c = b.ops(&["sleep"]).start()?;
        let unit = Unit::of(t, &c.id);
        unit.shows(&[("DevicePolicy", "strict")])?;
        let list = systemctl(t, &["show", "--property=DeviceAllow", &format!("conformance-{}.scope", c.id)])?;
        for wanted in ["/dev/char/10:183 r", "/dev/char/1:3 rw", "char-pts rw"] {
            contains("DeviceAllow", &list, wanted)?;
        }
        Ok(())
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Systemd, Need::Root, Need::CgroupV1]),
    Case::new("systemd/reload", "limits outlive systemctl daemon-reload", |t| {
        let c = limited(t).ops(&["sleep"]).start()?;
        stays(t, &c)
    })
    .rows(&["memory.limit", "cpu.quota", "cpu.shares", "pids.limit"])
    .needs(&[
        Need::Systemd,
        Need::Controller("memory"),
        Need::Controller("cpu"),
        Need::Controller("pids"),
    ]),
    Case::new("systemd/reload-devices", "device rules outlive systemctl daemon-reload", |t| {
        let rules = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" },
        ]);
        let node = json!({ "path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
        let mem = json!({ "path": "/dev/mem2", "type": "c", "major": 1, "minor": 1, "fileMode": 0o666 });
        let b = t.bundle().set("/linux/devices", json!([node, mem]));
        let c = b.set("/linux/resources/devices", rules).ops(&["sleep"]).start()?;
        let look = || -> Check {
            let answers = c.exec_probe(
                &[],
                &["open=/dev/mem2", "open=/dev/kmsg2", "write=/dev/kmsg2", "write=/dev/null"],
            )?;
            answers.fails("open=/dev/mem2", "EPERM")?;
            answers.fails("write=/dev/kmsg2", "EPERM")?;
            answers.value("write=/dev/null")?;
            // CAP_SYSLOG may be asked for, which says EPERM as well: only the list tells on v1.
            Ok(())
        };
        look()?;
        systemctl(t, &["daemon-reload"])?;
        poke(t, &c)?;
        look()
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Systemd, Need::Root]),
    Case::new("systemd/annotation", "convention: org.systemd.property.NAME", |t| {
        let b = t
            .bundle()
            .set("/annotations/org.systemd.property.TimeoutStopUSec", "uint64 7000000")
            .set("/annotations/org.systemd.property.CollectMode", "'inactive-or-failed'");
        shown(
            t,
            b,
            &[
                ("TimeoutStopUSec", "TimeoutStopUSec", "7s"),
                ("CollectMode", "CollectMode", "inactive-or-failed"),
            ],
        )
    })
    .rows(&["annotations"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/annotation-seconds", "convention: …Sec is …USec in seconds", |t| {
        let key = "/annotations/org.systemd.property.TimeoutStopSec";
        let name = "TimeoutStopUSec";
        shown(t, t.bundle().set(key, "uint64 9"), &[(name, name, "9s")])
    })
    .rows(&["annotations"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/annotation-list", "convention: lists of units", |t| {
        let b = t.bundle().set("/annotations/org.systemd.property.After", "['basic.target']");
        let c = b.ops(&["sleep"]).start()?;
        contains("After", &Unit::of(t, &c.id).property("After")?, "basic.target")
    })
    .rows(&["annotations"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/annotation-malformed", "a value that cannot be read is an error", |t| {
        let key = "/annotations/org.systemd.property.TimeoutStopUSec";
        for text in ["", "uint64", "uint64 x", "'seven"] {
            t.bundle().set(key, text).refused("TimeoutStopUSec|org.systemd")?;
        }
        Ok(())
    })
    .rows(&["annotations"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/annotation-limit", "an annotation lifts no limit", |t| {
        let b = t
            .bundle()
            .set("/linux/resources/memory", json!({ "limit": 67_108_864 }))
            .set("/annotations/org.systemd.property.MemoryMax", "uint64 18446744073709551615")
            .set("/annotations/org.systemd.property.MemoryLimit", "uint64 18446744073709551615");
        let c = match b.ops(&["sleep"]).start() {
            Ok(container) => container,
            // Refused is as well.
            Err(crate::failure::Failure::Broken(text)) if text.contains("Memory") => return Ok(()),
            Err(other) => return Err(other),
        };
        systemctl(t, &["daemon-reload"])?;
        let (file, wanted) = match t.host.v2 {
            true => ("memory.max", "67108864"),
            false => ("memory.limit_in_bytes", "67108864"),
        };
        let dir = t.host.cgroup_dir("memory", &cgroup_of(t, &c.id));
        equal(file, fs::read_to_string(dir.join(file))?.trim(), wanted)
    })
    .rows(&["annotations"])
    .needs(&[Need::Systemd, Need::Controller("memory")]),
    Case::new("systemd/update", "convention: update tells systemd", |t| {
        let c = limited(t).ops(&["sleep"]).start()?;
        let words = ["update", "--memory", "50331648", "--pids-limit", "61", "--cpu-quota", "40000"];
        c.call(&words).run()?.ok()?;
        let memory = if t.host.v2 { "MemoryMax" } else { "MemoryLimit" };
        let unit = Unit::of(t, &c.id);
        unit.shows(&[(memory, "50331648"), ("TasksMax", "61"), ("CPUQuotaPerSecUSec", "200ms")])?;
        stays(t, &c)?;
        let dir = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id));
        equal("pids.max", fs::read_to_string(dir.join("pids.max"))?.trim(), "61")
    })
    .needs(UPDATABLE),
    Case::new("systemd/update-unlimited", "convention: update to no limit tells systemd", |t| {
        let c = limited(t).ops(&["sleep"]).start()?;
        let words = ["update", "--memory", "-1", "--memory-swap", "-1", "--pids-limit", "-1"];
        c.call(&words).run()?.ok()?;
        let memory = if t.host.v2 { "MemoryMax" } else { "MemoryLimit" };
        Unit::of(t, &c.id).shows(&[(memory, "infinity"), ("TasksMax", "infinity")])?;
        stays(t, &c)?;
        let dir = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id));
        equal("pids.max", fs::read_to_string(dir.join("pids.max"))?.trim(), "max")
    })
    .needs(UPDATABLE),
    Case::new("systemd/update-refused", "a refused update leaves what systemd was told", |t| {
        let c = limited(t).ops(&["sleep"]).start()?;
        let before = in_force(t, &c);
        // The first is no file of the kernel's; the second the kernel takes, and systemd does not.
        let by_kernel = ("hugepageLimits", json!([{ "pageSize": "3KB", "limit": 4096 }]));
        let by_systemd = match t.host.v2 {
            true => ("unified", json!({ "memory.high": "0" })),
            false => ("cpu", json!({ "shares": 1 })),
        };
        for (field, value) in [by_kernel, by_systemd] {
            let mut asked = json!({ "memory": { "limit": 134_217_728 }, "pids": { "limit": 60 } });
            asked[field] = value;
            let call = t.call(&["update", "--resources", "-", &c.id]);
            call.stdin(&asked.to_string())?.run()?.fails()?;
            equal("after a refusal", &in_force(t, &c), &before)?;
            let memory = if t.host.v2 { "MemoryMax" } else { "MemoryLimit" };
            Unit::of(t, &c.id).shows(&[(memory, "67108864"), ("TasksMax", "42")])?;
            stays(t, &c)?;
        }
        Ok(())
    })
    .needs(UPDATABLE),
];

const UPDATABLE: &[Need] = &[
    Need::Systemd,
    Need::Controller("memory"),
    Need::Controller("cpu"),
    Need::Controller("pids"),
    Need::Command("update"),
];

/// A container with limits that systemd knows, none of them a default.
fn limited(t: &Trial) -> Bundle<'_> {
    let all = json!({
        "memory": { "limit": 67_108_864 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 200_000 },
        "pids": { "limit": 42 },
    });
    t.bundle().set("/linux/resources", all)
}

/// Starts the bundle and compares properties; an empty name has none.
fn shown(t: &Trial, bundle: Bundle<'_>, list: &Shown<'_>) -> Check {
    let c = bundle.ops(&["sleep"]).start()?;
    let wanted: Vec<(&str, &str)> = list
        .iter()
        .map(|(v1, v2, value)| (if t.host.v2 { *v2 } else { *v1 }, *value))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    Unit::of(t, &c.id).shows(&wanted)
}

/// The control files are the same after systemd has looked at the unit again.
fn stays(t: &Trial, c: &Container<'_>) -> Check {
    let before = in_force(t, c);
    ensure(before.len() > 3, format!("{before:?}"))?;
    systemctl(t, &["daemon-reload"])?;
    equal("after daemon-reload", &in_force(t, c), &before)?;
    poke(t, c)?;
    equal("after set-property", &in_force(t, c), &before)
}

/// Makes systemd apply the unit's properties once more.
fn poke(t: &Trial, c: &Container<'_>) -> Check {
    let unit = format!("conformance-{}.scope", c.id);
    systemctl(t, &["set-property", "--runtime", &unit, "CPUAccounting=yes"]).map(drop)
}

/// Every control file of a limit, as it is now.
fn in_force(t: &Trial, c: &Container<'_>) -> Vec<(PathBuf, String)> {
    let path = cgroup_of(t, &c.id);
    let files = [
        ("memory", "memory.max"),
        ("memory", "memory.high"),
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.swap.max"),
        ("cpu", "cpu.max"),
        ("cpu", "cpu.weight"),
        ("cpu", "cpu.shares"),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpu", "cpu.cfs_period_us"),
        ("pids", "pids.max"),
    ];
    let read = |(controller, file): (&str, &str)| {
        let path = t.host.cgroup_dir(controller, &path).join(file);
        let text = fs::read_to_string(&path).ok()?;
        Some((path, text))
    };
    files.into_iter().filter_map(read).collect()
}
