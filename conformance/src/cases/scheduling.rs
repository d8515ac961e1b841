//! Scheduling policy, I/O priority, processors, memory policy, execution domain.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::Check;
use crate::host::CGROUP_ROOT;
use crate::trial::Trial;
use crate::value::{equal, number, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("scheduler/fair", "config.md#process: policy, nice and flags", |t| {
        for (asked, wanted) in [
            (json!({ "policy": "SCHED_OTHER", "nice": 5 }), [0, 0, 5]),
            (json!({ "policy": "SCHED_BATCH", "nice": 7 }), [3, 0, 7]),
            (json!({ "policy": "SCHED_IDLE" }), [5, 0, 0]),
            (json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"] }), [0, 1, 0]),
        ] {
            let found = policy(t.bundle().set("/process/scheduler", asked))?;
            let found = ["policy", "flags", "nice"].map(|key| found[key].as_i64().unwrap_or(-1));
            equal("policy, flags, nice", &found, &wanted)?;
        }
        Ok(())
    })
    .rows(&["process.scheduler"]),
    Case::new("scheduler/real-time", "config.md#process: SCHED_FIFO and SCHED_RR", |t| {
        for (name, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
            let asked = json!({ "policy": name, "priority": 3 });
            let found = policy(real_time(t).set("/process/scheduler", asked))?;
            equal("policy", &found["policy"], &json!(number))?;
            equal("priority", &found["priority"], &json!(3))?;
        }
        Ok(())
    })
    .rows(&["process.scheduler"])
    .needs(&[Need::Root, Need::RealTime]),
    Case::new(
        "scheduler/user-namespace",
        "the runtime's privilege counts, not the payload's",
        |t| {
            let asked = json!({ "policy": "SCHED_RR", "priority": 2 });
            let bundle = real_time(t).user_namespace().set("/process/scheduler", asked);
            let user = json!({ "uid": 1000, "gid": 1000 });
            let found = policy(bundle.mode("", 0o755).set("/process/user", user))?;
            equal("policy", &found["policy"], &json!(2))
        },
    )
    .rows(&["process.scheduler"])
    .needs(&[Need::Root, Need::RealTime, Need::UserNamespace]),
    Case::new("scheduler/deadline", "config.md#process: runtime, deadline and period", |t| {
        let found = policy(t.bundle().set("/process/scheduler", deadline()))?;
        for (key, value) in
            [("policy", 6), ("runtime", 2_000_000), ("deadline", 9_000_000), ("period", 10_000_000)]
        {
            equal(key, &found[key], &json!(value))?;
        }
        Ok(())
    })
    .rows(&["process.scheduler"])
    .needs(&[Need::Root, Need::Deadline]),
    Case::new("scheduler/deadline-hooks", "hooks run although SCHED_DEADLINE forbids forks", |t| {
        let log = t.new_path("hooks");
        let outside = json!({
            "path": t.probe(), "args": ["probe", format!("record={},out", log.display())],
        });
        let inside = json!({ "path": "/probe", "args": ["probe", "record=/inside,in"] });
        let bundle = t
            .bundle()
            .set("/process/scheduler", deadline())
            .hook("createRuntime", outside.clone())
            .hook("startContainer", inside)
            .hook("poststart", outside);
        let ran = bundle.rootfs("inside");
        let found = policy(bundle)?;
        equal("policy", &found["policy"], &json!(6))?;
        equal("hooks outside", &fs::read_to_string(log)?.lines().count(), &2)?;
        equal("hooks inside", &fs::read_to_string(ran)?.lines().count(), &1)
    })
    .rows(&["process.scheduler"])
    .needs(&[Need::Root, Need::Deadline]),
    Case::new("scheduler/deadline-exec", "exec keeps the deadline, or takes another policy", |t| {
        let bundle = t.bundle().set("/process/scheduler", deadline()).ops(&["sleep"]);
        let c = bundle.start()?;
        let kept = c.exec_probe(&[], &["policy"])?.value("policy")?;
        equal("kept", &kept["policy"], &json!(6))?;
        let other = json!({ "policy": "SCHED_BATCH", "nice": 4 });
        let found = exec_file(t, &c, &json!({ "scheduler": other }))?.value("policy")?;
        equal("policy of the process file", &found["policy"], &json!(3))?;
        equal("nice of the process file", &found["nice"], &json!(4))
    })
    .rows(&["process.scheduler"])
    .needs(&[Need::Root, Need::Deadline]),
    Case::new("scheduler/misfits", "config.md#process: each policy has fields of its own", |t| {
        for (asked, word) in [
            (json!({ "policy": "SCHED_WRONG" }), "SCHED_WRONG"),
            (json!({ "policy": "SCHED_ISO" }), "scheduler"),
            (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "nice"),
            (json!({ "policy": "SCHED_OTHER", "nice": -21 }), "nice"),
            (json!({ "policy": "SCHED_BATCH", "priority": 1 }), "priority"),
            (json!({ "policy": "SCHED_FIFO" }), "priority|scheduler"),
            (json!({ "policy": "SCHED_FIFO", "priority": 100 }), "priority|scheduler"),
            (json!({ "policy": "SCHED_OTHER", "runtime": 5000 }), "runtime|deadline"),
            (json!({ "policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 5 }), "runtime"),
            (
                json!({ "policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000 }),
                "deadline|scheduler",
            ),
            (json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"] }), "SCHED_FLAG_X"),
        ] {
            t.bundle().set("/process/scheduler", asked).refused(word)?;
        }
        Ok(())
    })
    .rows(&["process.scheduler"]),
    Case::new("io-priority/classes", "config.md#process: each class", |t| {
        for (class, level, wanted) in
            [("IOPRIO_CLASS_BE", 0, 2 << 13), ("IOPRIO_CLASS_IDLE", 0, 3 << 13)]
        {
            let asked = json!({ "class": class, "priority": level });
            let report = t.bundle().set("/process/ioPriority", asked).report()?;
            equal(class, &number(&report, "/ioprio")?, &wanted)?;
        }
        Ok(())
    })
    .rows(&["process.ioPriority"]),
    Case::new("io-priority/real-time", "the runtime's privilege counts, not the payload's", |t| {
        let asked = json!({ "class": "IOPRIO_CLASS_RT", "priority": 4 });
        for bundle in [t.bundle(), t.bundle().user_namespace()] {
            let c = bundle.set("/process/ioPriority", asked.clone()).ops(&["report", "sleep"]);
            let c = c.start()?;
            let report = c.answers(1)?.value("report")?;
            equal("of the container", &number(&report, "/ioprio")?, &(1 << 13 | 4))?;
            let report = c.exec_probe(&[], &["report"])?.value("report")?;
            equal("of exec", &number(&report, "/ioprio")?, &(1 << 13 | 4))?;
        }
        Ok(())
    })
    .rows(&["process.ioPriority"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("io-priority/limits", "config.md#process: levels 0 to 7, known classes", |t| {
        for (class, level, word) in [
            ("IOPRIO_CLASS_BE", 8, "ioPriority"),
            ("IOPRIO_CLASS_BE", -1, "ioPriority"),
            ("IOPRIO_CLASS_X", 0, "IOPRIO_CLASS_X"),
        ] {
            let asked = json!({ "class": class, "priority": level });
            t.bundle().set("/process/ioPriority", asked).refused(word)?;
        }
        Ok(())
    })
    .rows(&["process.ioPriority"]),
    Case::new("affinity/lists", "config.md#process: execCPUAffinity is checked at create", |t| {
        for (key, list) in
            [("initial", "0-"), ("final", "2-1"), ("final", "all"), ("initial", "1,,2")]
        {
            t.bundle()
                .set("/process/execCPUAffinity", json!({ key: list }))
                .refused("execCPUAffinity|affinity|cpu")?;
        }
        Ok(())
    })
    .rows(&["process.execCPUAffinity"]),
    Case::new(
        "affinity/process-file",
        "config.md#process: final counts, the container's stays",
        |t| {
            let c = t.bundle().ops(&["report", "sleep"]).start()?;
            let own = c.answers(1)?.value("report")?;
            let all = text(&own, "/status/Cpus_allowed_list")?;
            for affinity in [json!({ "final": "0" }), json!({ "initial": "0", "final": "0" })] {
                let answers = exec_file(t, &c, &json!({ "execCPUAffinity": affinity }))?;
                let report = answers.value("report")?;
                equal("final", text(&report, "/status/Cpus_allowed_list")?, "0")?;
            }
            let answers = exec_file(t, &c, &json!({ "execCPUAffinity": { "initial": "0" } }))?;
            let report = answers.value("report")?;
            equal("only initial", text(&report, "/status/Cpus_allowed_list")?, all)
        },
    )
    .rows(&["process.execCPUAffinity"]),
    Case::new("affinity/no-such-processor", "config.md#process: execCPUAffinity, an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let asked = json!({ "execCPUAffinity": { "final": "4000" } });
        exec_call(t, &c, &asked)?.fails_with("execCPUAffinity|affinity|invalid argument").map(drop)
    })
    .rows(&["process.execCPUAffinity"]),
    Case::new("memory-policy/modes", "config-linux.md#memory-policy: modes, nodes, flags", |t| {
        for (asked, mode, nodes) in [
            (json!({ "mode": "MPOL_DEFAULT" }), 0, 0),
            (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), 1, 1),
            (json!({ "mode": "MPOL_BIND", "nodes": "0" }), 2, 1),
            (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0-0" }), 3, 1),
            (json!({ "mode": "MPOL_LOCAL" }), 4, 0),
            (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), 5, 1),
            (
                json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }),
                2 | 1 << 15,
                1,
            ),
            (
                json!({
                    "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"],
                }),
                3 | 1 << 14,
                1,
            ),
        ] {
            let found = memory_policy(t, asked.clone())?;
            equal(&asked.to_string(), &found, &json!({ "mode": mode, "nodes": nodes }))?;
        }
        Ok(())
    })
    .rows(&["linux.memoryPolicy"])
    .needs(&[Need::MemoryPolicy, Need::Kernel(5, 15)]),
    Case::new("memory-policy/newer-modes", "config-linux.md#memory-policy: by weight", |t| {
        let asked = json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" });
        equal("policy", &memory_policy(t, asked)?, &json!({ "mode": 6, "nodes": 1 }))
    })
    .rows(&["linux.memoryPolicy"])
    .needs(&[Need::MemoryPolicy, Need::Kernel(6, 9)]),
    Case::new("memory-policy/exec", "config-linux.md#memory-policy: of all processes", |t| {
        let asked = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" });
        let c = t.bundle().set("/linux/memoryPolicy", asked).ops(&["sleep"]).start()?;
        let found = c.exec_probe(&[], &["mempolicy"])?.value("mempolicy")?;
        equal("mode", &found["mode"], &json!(3))
    })
    .rows(&["linux.memoryPolicy"])
    .needs(&[Need::MemoryPolicy]),
    Case::new("memory-policy/misfits", "set_mempolicy(2): what excludes each other", |t| {
        for asked in [
            json!({ "mode": "MPOL_WRONG" }),
            json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }),
            json!({ "mode": "MPOL_LOCAL", "nodes": "0" }),
            json!({ "mode": "MPOL_BIND" }),
            json!({ "mode": "MPOL_BIND", "nodes": "x" }),
            json!({ "mode": "MPOL_BIND", "nodes": "1023" }),
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_X"] }),
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }),
            json!({
                "mode": "MPOL_BIND", "nodes": "0",
                "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            }),
        ] {
            t.bundle()
                .set("/linux/memoryPolicy", asked)
                .refused("memoryPolicy|mempolicy|MPOL_|memory policy")?;
        }
        Ok(())
    })
    .rows(&["linux.memoryPolicy"]),
    Case::new("personality/linux", "config-linux.md#personality: LINUX", |t| {
        let asked = json!({ "domain": "LINUX", "flags": [] });
        let report = t.bundle().set("/linux/personality", asked).report()?;
        equal("personality", text(&report, "/personality")?, "00000000")
    })
    .rows(&["linux.personality"]),
    Case::new("personality/refused", "config-linux.md#personality: no flag is known", |t| {
        let asked = json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] });
        t.bundle().set("/linux/personality", asked).refused("personality|ADDR_NO_RANDOMIZE")?;
        t.bundle().set("/linux/personality", json!({ "domain": "BSD" })).refused("BSD").map(drop)
    })
    .rows(&["linux.personality"]),
];

/// A bundle whose cgroup has real-time run time, where the kernel wants that.
fn real_time(t: &Trial) -> Bundle<'_> {
    let bundle = t.bundle();
    if !std::path::Path::new(CGROUP_ROOT).join("cpu/cpu.rt_runtime_us").exists() {
        return bundle;
    }
    bundle.set(
        "/linux/resources/cpu",
        json!({ "realtimePeriod": 1_000_000, "realtimeRuntime": 10_000 }),
    )
}

fn deadline() -> Value {
    json!({
        "policy": "SCHED_DEADLINE",
        "runtime": 2_000_000, "deadline": 9_000_000, "period": 10_000_000,
    })
}

fn policy(bundle: Bundle<'_>) -> Check<Value> {
    bundle.probe(&["policy"])?.value("policy")
}

fn memory_policy(t: &Trial, asked: Value) -> Check<Value> {
    t.bundle().set("/linux/memoryPolicy", asked).probe(&["mempolicy"])?.value("mempolicy")
}

/// `exec --process` of the probe with further members of the process object.
fn exec_call(t: &Trial, c: &Container<'_>, more: &Value) -> Check<crate::call::Output> {
    let mut process = json!({
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/probe", "report", "policy"],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        process[key] = value.clone();
    }
    let file = t.new_path("process");
    fs::write(&file, process.to_string())?;
    t.run(&["exec", "--process", &file.to_string_lossy(), &c.id])
}

fn exec_file(t: &Trial, c: &Container<'_>, more: &Value) -> Check<Answers> {
    Answers::of(&exec_call(t, c, more)?.ok()?.stdout)
}
