//! Cgroups: made, filled, limited, removed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::control_files::{cgroup_of, files};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::ensure;
use crate::leftovers::cgroups;
use crate::trial::Trial;
use crate::value::{contains, equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("cgroups/path", "config-linux.md#cgroups-path: an absolute path", |t| {
        let bundle = t.bundle();
        let wanted = cgroup_of(t, bundle.id());
        let c = bundle.ops(&["sleep"]).start()?;
        let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
        let name = if t.host.v2 { "0::" } else { "pids:" };
        let line = own.lines().find(|line| line.contains(name)).unwrap_or_default();
        ensure(line.ends_with(&wanted), format!("{line}, wanted {wanted}"))
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Cgroup]),
    Case::new(
        "cgroups/path-absent",
        "config-linux.md#cgroups-path: a default of the runtime",
        |t| {
            let c = t.bundle().remove("/linux/cgroupsPath").ops(&["sleep"]).start()?;
            ensure(!cgroups(&c.id).is_empty(), "no cgroup has the id in its name")
        },
    )
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Cgroup]),
    Case::new(
        "cgroups/read-only-without-namespace",
        "CVE-2023-25809: the host's cgroups, shown without a cgroup namespace, stay read-only",
        |t| {
            let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
            let bundle = t.bundle().without_namespace("cgroup");
            let bundle = if t.host.root { bundle.user_namespace() } else { bundle };
            let make = "mkdir=/sys/fs/cgroup/conf-made";
            let answers = bundle
                .mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)
                .probe(&["report", make])?;
            answers.errno(make)?;
            let report = answers.value("report")?;
            let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
            let mut seen = 0;
            for mount in mounts.iter().filter(|mount| {
                mount["point"].as_str().is_some_and(|point| point.starts_with("/sys/fs/cgroup"))
            }) {
                let options = mount["options"].as_array().cloned().unwrap_or_default();
                ensure(options.contains(&json!("ro")), format!("{mount} is writable"))?;
                seen += 1;
            }
            ensure(seen > 0, "no mount at /sys/fs/cgroup")
        },
    )
    .needs(&[Need::UserNamespace]),
    Case::new("cgroups/removed", "runtime.md#delete: the cgroup is removed", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        ensure(!cgroups(&c.id).is_empty(), "no cgroup")?;
        c.delete_force()?.ok()?;
        equal("cgroups", &cgroups(&c.id).len(), &0)
    })
    .rows(&["delete", "linux.cgroupsPath"])
    .needs(&[Need::Cgroup]),
    Case::new("cgroups/nested-removed", "cgroups made inside are removed too", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for dir in cgroups(&c.id) {
            fs::create_dir_all(dir.join("a/b/c"))?;
        }
        c.delete_force()?.ok()?;
        equal("cgroups", &cgroups(&c.id).len(), &0)
    })
    .rows(&["delete"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/all-killed", "delete --force kills every process", |t| {
        let c = t.bundle().without_namespace("pid").ops(&["fork=2", "sleep"]).start()?;
        c.answers(1)?;
        c.delete_force()?.ok().map(drop)
    })
    .rows(&["delete"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new(
        "cgroups/kill-shared-pid",
        "convention: SIGKILL without a pid namespace kills all",
        |t| {
            let c = t.bundle().without_namespace("pid").ops(&["fork=2", "sleep"]).start()?;
            let list = c.answers(1)?.value("fork=2")?;
            c.kill("KILL")?.ok()?;
            c.stopped()?;
            t.until("the children are gone", || {
                list.as_array()
                    .into_iter()
                    .flatten()
                    .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            })
        },
    )
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/process-inside", "only the container's processes are inside", |t| {
        let c = t.bundle().ops(&["fork=1", "sleep"]).start()?;
        c.answers(1)?;
        let dir = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id));
        let list = fs::read_to_string(dir.join("cgroup.procs"))?;
        equal("processes", &list.lines().count(), &2)
    })
    .needs(&[Need::Cgroup]),
    Case::new("cgroups/memory", "config-linux.md#memory: limit and reservation", |t| {
        let b = t.bundle().set(
            "/linux/resources/memory",
            json!({ "limit": 67_108_864, "reservation": 33_554_432 }),
        );
        files(
            t,
            b,
            "memory",
            &[
                ("memory.limit_in_bytes", "memory.max", "67108864"),
                ("memory.soft_limit_in_bytes", "memory.low", "33554432"),
            ],
        )
    })
    .rows(&["memory.limit", "memory.reservation"])
    .needs(&[Need::Controller("memory")]),
    Case::new("cgroups/memory-unlimited", "config-linux.md#memory: -1 is unlimited", |t| {
        t.bundle()
            .set("/linux/resources/memory", json!({ "limit": -1 }))
            .ops(&["exit=3"])
            .run()?
            .code(3)
            .map(drop)
    })
    .rows(&["memory.limit"])
    .needs(&[Need::Controller("memory")]),
    Case::new("cgroups/memory-enforced", "a container above its limit is killed", |t| {
        let output = t
            .bundle()
            .set("/linux/resources/memory", json!({ "limit": 33_554_432 }))
            .ops(&["alloc=256"])
            .run()?;
        equal("exit status", &output.code, &137)
    })
    .rows(&["memory.limit"])
    .needs(&[Need::Controller("memory")]),
    Case::new("cgroups/memory-of-init", "a limit of 8 MiB is enough to start", |t| {
        t.bundle()
            .set("/linux/resources/memory", json!({ "limit": 8_388_608 }))
            .ops(&["exit=4"])
            .run()?
            .code(4)
            .map(drop)
    })
    .needs(&[Need::Controller("memory")]),
    Case::new("cgroups/pids", "config-linux.md#pids: limit", |t| {
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": 42 }));
        files(t, b, "pids", &[("pids.max", "pids.max", "42")])
    })
    .rows(&["pids.limit"])
    .needs(&[Need::Controller("pids")]),
    Case::new("cgroups/pids-unlimited", "config-linux.md#pids: -1 is unlimited", |t| {
        let b = t.bundle().set("/linux/resources/pids", json!({ "limit": -1 }));
        files(t, b, "pids", &[("pids.max", "pids.max", "max")])
    })
    .rows(&["pids.limit"])
    .needs(&[Need::Controller("pids")]),
    Case::new("cgroups/pids-enforced", "a container cannot fork above its limit", |t| {
        let output = t
            .bundle()
            .set("/linux/resources/pids", json!({ "limit": 3 }))
            .ops(&["fork=10"])
            .run()?
            .ok()?;
        contains("answer", &output.stdout, "EAGAIN")
    })
    .rows(&["pids.limit"])
    .needs(&[Need::Controller("pids")]),
    Case::new("cgroups/cpu-quota", "config-linux.md#cpu: quota and period", |t| {
        let b =
            t.bundle().set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 200_000 }));
        files(
            t,
            b,
            "cpu",
            &[("cpu.cfs_quota_us", "cpu.max", "50000"), ("cpu.cfs_period_us", "cpu.max", "200000")],
        )
    })
    .rows(&["cpu.quota"])
    .needs(&[Need::Controller("cpu")]),
    Case::new("cgroups/cpu-shares", "config-linux.md#cpu: shares", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "shares": 512 }));
        if !t.host.v2 {
            return files(t, b, "cpu", &[("cpu.shares", "", "512")]);
        }
        // Two formulas are in use for the weight; both give less than the default of 100.
        let c = b.ops(&["sleep"]).start()?;
        let path = t.host.cgroup_dir("cpu", &cgroup_of(t, &c.id));
        let weight: u32 = fs::read_to_string(path.join("cpu.weight"))?.trim().parse()?;
        ensure((10..100).contains(&weight), format!("cpu.weight {weight}"))
    })
    .rows(&["cpu.shares"])
    .needs(&[Need::Controller("cpu")]),
    Case::new("cgroups/cpuset", "config-linux.md#cpu: cpus and mems", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "cpus": "0", "mems": "0" }));
        files(
            t,
            b,
            "cpuset",
            &[("cpuset.cpus", "cpuset.cpus", "0"), ("cpuset.mems", "cpuset.mems", "0")],
        )
    })
    .rows(&["cpu.cpus"])
    .needs(&[Need::Controller("cpuset")]),
    Case::new("cgroups/bad-limit", "a limit that the kernel refuses is an error", |t| {
        t.bundle()
            .set("/linux/resources/cpu", json!({ "quota": 1, "period": 100_000 }))
            .refused("cpu|quota")
            .map(drop)
    })
    .rows(&["cpu.quota"])
    .needs(&[Need::Controller("cpu")]),
    Case::new("cgroups/unified", "config-linux.md#unified: files of version 2", |t| {
        let b = t.bundle().set("/linux/resources/unified", json!({ "pids.max": "33" }));
        files(t, b, "pids", &[("", "pids.max", "33")])
    })
    .rows(&["unified"])
    .needs(&[Need::CgroupV2, Need::Controller("pids")]),
    Case::new(
        "cgroups/unified-unknown",
        "config-linux.md#unified: an unknown file is an error",
        |t| {
            t.bundle()
                .set("/linux/resources/unified", json!({ "no.such_file": "33" }))
                .refused("")
                .map(drop)
        },
    )
    .rows(&["unified"])
    .needs(&[Need::CgroupV2, Need::Cgroup]),
    Case::new("cgroups/unified-traversal", "a file name never leaves the cgroup", |t| {
        t.bundle()
            .set("/linux/resources/unified", json!({ "../cgroup.max.depth": "33" }))
            .refused("unified|cgroup")
            .map(drop)
    })
    .rows(&["unified"])
    .needs(&[Need::Cgroup]),
    Case::new("cgroups/path-traversal", "a path never leaves the hierarchy", |t| {
        let bundle = t.bundle();
        let id = bundle.id().to_owned();
        let path = format!("/../../../../../../tmp/{id}");
        bundle.set("/linux/cgroupsPath", path).ran_or_refused()?;
        ensure(!Path::new(&format!("/tmp/{id}")).exists(), "made on the host")
    })
    .needs(&[Need::Root]),
    Case::new("cgroups/devices-denied", "config-linux.md#allowed-device-list: deny all", |t| {
        let b =
            node(t).set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }]));
        b.probe(&["open=/dev/extra"])?.fails("open=/dev/extra", "EPERM")
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-defaults", "the default devices stay allowed", |t| {
        let b = t
            .bundle()
            .set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }]));
        let all = ["write=/dev/null", "rw=/dev/zero", "read=/dev/urandom", "rw=/dev/ptmx"];
        let answers = b.probe(&all)?;
        all.iter().try_for_each(|op| answers.value(op).map(drop))
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-allowed", "config-linux.md#allowed-device-list: an entry", |t| {
        let b = node(t).set(
            "/linux/resources/devices",
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 10, "minor": 183, "access": "r" },
            ]),
        );
        let answers = b.probe(&["open=/dev/extra", "write=/dev/extra"])?;
        // Without the hardware the driver says something else than EPERM.
        ensure(answers.errno("open=/dev/extra").map_or(true, |errno| errno != "EPERM"), "denied")?;
        answers.fails("write=/dev/extra", "EPERM")
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-mknod", "config-linux.md#allowed-device-list: access m", |t| {
        let caps = json!(["CAP_MKNOD"]);
        let b = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({ "bounding": caps, "effective": caps, "permitted": caps }),
            )
            .set(
                "/linux/resources/devices",
                json!([
                    { "allow": false, "access": "rwm" },
                    { "allow": true, "type": "c", "major": 10, "minor": 183, "access": "m" },
                ]),
            );
        b.probe(&["mknod=/a,c,10,183"])?.value("mknod=/a,c,10,183").map(drop)
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/update", "convention: update --resources - changes limits", |t| {
        let c = t
            .bundle()
            .set("/linux/resources/pids", json!({ "limit": 50 }))
            .ops(&["sleep"])
            .start()?;
        let call = t.call(&["update", "--resources", "-", &c.id]);
        call.stdin(r#"{"pids":{"limit":60}}"#)?.run()?.ok()?;
        let path = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id));
        equal("pids.max", fs::read_to_string(path.join("pids.max"))?.trim(), "60")
    })
    .needs(&[Need::Controller("pids"), Need::Command("update")]),
    Case::new("cgroups/update-option", "convention: update --pids-limit", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        t.run(&["update", "--pids-limit", "61", &c.id])?.ok()?;
        let path = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id));
        equal("pids.max", fs::read_to_string(path.join("pids.max"))?.trim(), "61")
    })
    .needs(&[Need::Controller("pids"), Need::Command("update")]),
    Case::new("cgroups/update-missing", "update of an unknown id is an error", |t| {
        t.run(&["update", "--pids-limit", "61", &t.id()])?.fails_with("does not exist").map(drop)
    })
    .needs(&[Need::Command("update")]),
    Case::new("cgroups/events-stats", "convention: events --stats prints one JSON line", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let value = c.call(&["events", "--stats"]).run()?.ok()?.json()?;
        equal("type", text(&value, "/type")?, "stats")?;
        equal("id", text(&value, "/id")?, &c.id)?;
        ensure(value.pointer("/data/pids/current") == Some(&json!(1)), format!("{value}"))?;
        let usage = value.pointer("/data/memory/usage/usage").and_then(Value::as_u64);
        ensure(usage.unwrap_or(0) > 0, "memory.usage.usage")
    })
    .needs(&[Need::Controller("pids"), Need::Controller("memory"), Need::Command("events")]),
];

fn node(t: &Trial) -> Bundle<'_> {
    t.bundle().set(
        "/linux/devices/-",
        json!({ "path": "/dev/extra", "type": "c", "major": 10, "minor": 183, "fileMode": 0o666 }),
    )
}
