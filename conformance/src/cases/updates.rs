//! `update` and `events`: limits of a container that runs, and what it uses.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::control_files::cgroup_of;
use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::{Check, ensure, skip};
use crate::trial::Trial;
use crate::value::{equal, text};

/// One option of `update`: controller, file in version 1, file in version 2, and what it says then in each.
type Effect<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

const MEMORY: Effect<'_> =
    ("memory", "memory.limit_in_bytes", "memory.max", "67108864", "67108864");

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("update/memory", "convention: update --memory, with a unit", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        update(&c, &["--memory", "64m"])?;
        holds(t, &c, MEMORY)?;
        update(&c, &["--memory", "-1"])?;
        holds(
            t,
            &c,
            ("memory", "memory.limit_in_bytes", "memory.max", "9223372036854771712", "max"),
        )
    })
    .needs(&[Need::Controller("memory"), Need::Command("update")]),
    Case::new("update/memory-reservation", "convention: update --memory-reservation", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        update(&c, &["--memory-reservation", "32M"])?;
        let files = ("memory.soft_limit_in_bytes", "memory.low");
        holds(t, &c, ("memory", files.0, files.1, "33554432", "33554432"))
    })
    .needs(&[Need::Controller("memory"), Need::Command("update")]),
    Case::new("update/cpu", "convention: update --cpu-share, --cpu-quota, --cpu-period", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        update(&c, &["--cpu-share", "512", "--cpu-quota", "50000", "--cpu-period", "200000"])?;
        holds(t, &c, ("cpu", "cpu.cfs_quota_us", "cpu.max", "50000", "50000 200000"))?;
        if !t.host.v2 {
            holds(t, &c, ("cpu", "cpu.shares", "", "512", ""))?;
        }
        // The period stays when the quota changes.
        update(&c, &["--cpu-quota", "40000"])?;
        holds(t, &c, ("cpu", "cpu.cfs_quota_us", "cpu.max", "40000", "40000 200000"))
    })
    .needs(&[Need::Controller("cpu"), Need::Command("update")]),
    Case::new("update/pids-unlimited", "convention: update --pids-limit -1", |t| {
        let limit = json!({ "limit": 50 });
        let c = t.bundle().set("/linux/resources/pids", limit).ops(&["sleep"]).start()?;
        update(&c, &["--pids-limit", "-1"])?;
        holds(t, &c, ("pids", "pids.max", "pids.max", "max", "max"))
    })
    .needs(&[Need::Controller("pids"), Need::Command("update")]),
    Case::new("update/others-stay", "convention: what is not given stays as it is", |t| {
        let resources = json!({ "pids": { "limit": 50 }, "memory": { "limit": 67_108_864 } });
        let c = t.bundle().set("/linux/resources", resources).ops(&["sleep"]).start()?;
        update(&c, &["--pids-limit", "51"])?;
        holds(t, &c, MEMORY)
    })
    .needs(&[Need::Controller("pids"), Need::Controller("memory"), Need::Command("update")]),
    Case::new(
        "update/all-or-nothing",
        "a limit that is refused leaves the others as they were",
        |t| {
            let resources = json!({ "pids": { "limit": 50 }, "memory": { "limit": 67_108_864 } });
            let c = t.bundle().set("/linux/resources", resources).ops(&["sleep"]).start()?;
            let asked = json!({
                "memory": { "limit": 134_217_728 },
                "pids": { "limit": 60 },
                "hugepageLimits": [{ "pageSize": "3KB", "limit": 4096 }],
            });
            let call = t.call(&["update", "--resources", "-", &c.id]);
            call.stdin(&asked.to_string())?.run()?.fails()?;
            holds(t, &c, MEMORY)?;
            holds(t, &c, ("pids", "pids.max", "pids.max", "50", "50"))
        },
    )
    .needs(&[Need::Controller("pids"), Need::Controller("memory"), Need::Command("update")]),
    Case::new(
        "update/refused-by-systemd",
        "what systemd refuses leaves limits, devices and the unit as they were",
        |t| {
            if t.host.systemd.is_none() {
                return skip("needs the systemd driver");
            }
            let node = json!({ "path": "/dev/extra", "type": "c", "major": 10, "minor": 183 });
            let rule = json!({ "allow": true, "type": "c", "major": 10, "access": "rwm" });
            let limits = json!({ "pids": { "limit": 50 }, "devices": [rule] });
            let b = t.bundle().set("/linux/devices", json!([node]));
            let c = b.set("/linux/resources", limits).ops(&["sleep"]).start()?;
            // The kernel takes it, systemd does not.
            let asked = json!({
                "pids": { "limit": 60 },
                "unified": { "memory.high": "0" },
                "devices": [{ "allow": false, "access": "rwm" }],
            });
            let call = t.call(&["update", "--resources", "-", &c.id]);
            call.stdin(&asked.to_string())?.run()?.fails_with("MemoryHigh")?;
            holds(t, &c, ("pids", "pids.max", "pids.max", "50", "50"))?;
            holds(t, &c, ("memory", "", "memory.high", "", "max"))?;
            let answers = c.exec_probe(&[], &["open=/dev/extra"])?;
            let denied = answers.errno("open=/dev/extra").is_ok_and(|errno| errno == "EPERM");
            ensure(!denied, "the old device rules are gone")?;
            // It would write what it was told last.
            let unit = format!("conformance-{}.scope", c.id);
            let set = Command::new("systemctl")
                .args(["set-property", "--runtime", &unit, "CPUWeight=50"])
                .status()?;
            ensure(set.success(), "systemctl set-property")?;
            holds(t, &c, ("pids", "pids.max", "pids.max", "50", "50"))
        },
    )
    .needs(&[Need::Root, Need::CgroupV2, Need::Controller("memory"), Need::Command("update")]),
    Case::new("update/paused", "convention: a paused container can be updated", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        let done = update(&c, &["--pids-limit", "52"]);
        c.call(&["resume"]).run()?.ok()?;
        done?;
        holds(t, &c, ("pids", "pids.max", "pids.max", "52", "52"))
    })
    .needs(&[Need::Root, Need::Controller("pids"), Need::Command("update")]),
    Case::new("update/stopped", "convention: a stopped container has no limits", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        c.call(&["update", "--pids-limit", "53"]).run()?.fails().map(drop)
    })
    .needs(&[Need::Command("update")]),
    Case::new("update/size-malformed", "convention: a size that is none is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["update", "--memory", "64x"]).run()?.fails().map(drop)
    })
    .needs(&[Need::Command("update")]),
    Case::new("events/processor-time", "convention: events --stats counts processor time", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let before = time(&c)?;
        c.exec(&[], &["/probe", "alloc=8"])?.ok()?;
        let after = time(&c)?;
        ensure(after > before, format!("{before} ns, then {after} ns"))
    })
    .needs(&[Need::Root, Need::Controller("cpu"), Need::Command("events")]),
    Case::new("events/limit", "convention: events --stats names the limits", |t| {
        let resources = json!({ "pids": { "limit": 50 }, "memory": { "limit": 67_108_864 } });
        let c = t.bundle().set("/linux/resources", resources).ops(&["sleep"]).start()?;
        let stats = c.call(&["events", "--stats"]).run()?.ok()?.json()?;
        let at = |pointer| stats.pointer(pointer).and_then(Value::as_u64);
        equal("pids", &at("/data/pids/limit"), &Some(50))?;
        equal("memory", &at("/data/memory/usage/limit"), &Some(67_108_864))
    })
    .needs(&[Need::Controller("pids"), Need::Controller("memory"), Need::Command("events")]),
    Case::new("events/out-of-memory", "convention: events tells that memory ran out", |t| {
        let c = t
            .bundle()
            .set("/linux/resources/memory", json!({ "limit": 33_554_432, "swap": 33_554_432 }))
            .ops(&["sleep"])
            .start()?;
        let watch = c.call(&["events", "--interval", "200ms"]).spawn()?;
        t.until("statistics", || watch.stdout().contains("\"stats\""))?;
        let eater = c.exec(&[], &["/probe", "alloc=256"])?;
        ensure(eater.code != 0, "256 MiB fit into 32")?;
        t.until("the event", || watch.stdout().contains("\"oom\""))?;
        c.kill("KILL")?.ok()?;
        // It ends with the container.
        let output = watch.wait()?.ok()?;
        let line = output.stdout.lines().find(|line| line.contains("\"oom\"")).unwrap_or_default();
        let event: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        equal("id", text(&event, "/id")?, &c.id)
    })
    .needs(&[Need::Root, Need::Controller("memory"), Need::Command("events")]),
    Case::new("events/stopped", "convention: a stopped container uses nothing", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        c.call(&["events", "--stats"]).limit(Duration::from_secs(10)).run()?.fails().map(drop)
    })
    .needs(&[Need::Command("events")]),
];

fn update(c: &Container<'_>, options: &[&str]) -> Check {
    c.call(&[&["update"], options].concat()).run()?.ok().map(drop)
}

/// Compares a control file of a container.
fn holds(t: &Trial, c: &Container<'_>, (controller, v1, v2, old, new): Effect<'_>) -> Check {
    let (file, wanted) = if t.host.v2 { (v2, new) } else { (v1, old) };
    let path = t.host.cgroup_dir(controller, &cgroup_of(t, &c.id)).join(file);
    let content =
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    equal(file, content.trim(), wanted)
}

fn time(c: &Container<'_>) -> Check<u64> {
    let stats = c.call(&["events", "--stats"]).run()?.ok()?.json()?;
    let total = stats.pointer("/data/cpu/usage/total").and_then(Value::as_u64);
    total.ok_or_else(|| format!("no processor time in {stats}").into())
}
