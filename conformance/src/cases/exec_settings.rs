//! exec: the settings that a further process keeps from the container, and those that are changed.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::case::{Case, Need};
use crate::console::Console;
use crate::container::Container;
use crate::failure::{Check, ensure, skip};
use crate::leftovers;
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("exec/keeps-scheduling", "exec is scheduled as the container's process", |t| {
        let c = t
            .bundle()
            .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }))
            .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))
            .ops(&["report", "sleep"])
            .start()?;
        let init = c.answers(1)?.value("report")?;
        let added = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("policy and nice value", &added["scheduler"], &json!([3, 5]))?;
        equal("ioprio", &added["ioprio"], &json!((2 << 13) + 6))?;
        equal("as the first process", &added["scheduler"], &init["scheduler"])
    })
    .rows(&["process.scheduler", "process.ioPriority"]),
    Case::new("exec/keeps-memory-policy", "config-linux.md#memory-policy: of all processes", |t| {
        if !std::path::Path::new("/proc/self/numa_maps").exists() {
            return skip("the kernel has no NUMA");
        }
        let policy = json!({ "mode": "MPOL_BIND", "nodes": "0" });
        let c = t.bundle().set("/linux/memoryPolicy", policy).ops(&["sleep"]).start()?;
        let maps = c.exec_probe(&[], &["read=/proc/self/numa_maps"])?;
        contains("numa_maps", &maps.value("read=/proc/self/numa_maps")?.to_string(), "bind:0")
    })
    .rows(&["linux.memoryPolicy"]),
    Case::new("exec/keeps-capabilities", "every set is that of the container's process", |t| {
        let list = json!(["CAP_KILL", "CAP_CHOWN"]);
        let one = json!(["CAP_KILL"]);
        let sets = json!({
            "bounding": list, "effective": one, "permitted": list, "inheritable": one, "ambient": one,
        });
        let c = t.bundle().set("/process/capabilities", sets).ops(&["report", "sleep"]).start()?;
        let init = c.answers(1)?.value("report")?;
        let added = c.exec_probe(&[], &["report"])?.value("report")?;
        for set in ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"] {
            let pointer = format!("/status/{set}");
            equal(set, text(&added, &pointer)?, text(&init, &pointer)?)?;
        }
        Ok(())
    }),
    Case::new("exec/process-file-keeps", "what the process file is silent about stays", |t| {
        let list = json!(["CAP_KILL"]);
        let c = t
            .bundle()
            .set("/process/noNewPrivileges", true)
            .set("/process/user/umask", 0o027)
            .set("/process/oomScoreAdj", 321)
            .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }]))
            .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 3 }))
            .set("/process/capabilities", json!({ "bounding": list, "permitted": list }))
            .ops(&["sleep"])
            .start()?;
        let report = with_file(
            t,
            &c,
            &json!({ "user": { "uid": 0, "gid": 0 }, "args": ["/probe", "report"], "cwd": "/" }),
        )?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")?;
        equal("umask", text(&report, "/umask")?, "0027")?;
        equal("oom_score_adj", text(&report, "/oom_score_adj")?, "321")?;
        equal("CORE", &report["rlimits"]["RLIMIT_CORE"], &json!([1, 2]))?;
        equal("scheduler", &report["scheduler"], &json!([3, 3]))?;
        equal("bounding", text(&report, "/status/CapBnd")?, "0000000000000020")
    }),
    Case::new(
        "exec/process-file-changes",
        "what the process file names is taken from there",
        |t| {
            let c = t
                .bundle()
                .set("/process/user/umask", 0o027)
                .set("/process/oomScoreAdj", 321)
                .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }]))
                .ops(&["sleep"])
                .start()?;
            let report = with_file(
                t,
                &c,
                &json!({
                    "user": { "uid": 0, "gid": 0, "umask": 0o077 }, "cwd": "/",
                    "args": ["/probe", "report"], "oomScoreAdj": 322, "noNewPrivileges": true,
                    "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 1 }],
                    "scheduler": { "policy": "SCHED_BATCH", "nice": 4 },
                }),
            )?;
            equal("umask", text(&report, "/umask")?, "0077")?;
            equal("oom_score_adj", text(&report, "/oom_score_adj")?, "322")?;
            equal("CORE", &report["rlimits"]["RLIMIT_CORE"], &json!([0, 1]))?;
            equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")?;
            equal("scheduler", &report["scheduler"], &json!([3, 4]))
        },
    ),
    Case::new(
        "exec/bundle-removed",
        "runtime.md#create: nothing of the bundle's file is needed",
        |t| {
            let c = t
                .bundle()
                .set("/process/noNewPrivileges", true)
                .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }]))
                .set("/linux/personality", json!({ "domain": "LINUX32" }))
                .set("/process/env", json!(["KEPT=1", "HOME=/"]))
                .ops(&["sleep"])
                .create()?;
            fs::remove_file(c.bundle.join("config.json"))?;
            c.start()?.ok()?;
            let report = c.exec_probe(&[], &["report"])?.value("report")?;
            equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")?;
            equal("CORE", &report["rlimits"]["RLIMIT_CORE"], &json!([1, 2]))?;
            equal("personality", text(&report, "/personality")?, "00000008")?;
            equal("env", &strings(&report, "/env")?, &["KEPT=1", "HOME=/"])
        },
    )
    .rows(&["config edited"]),
    Case::new("exec/no-new-privs", "convention: --no-new-privs", |t| {
        let c = t.bundle().set("/process/noNewPrivileges", false).ops(&["sleep"]).start()?;
        let report = c.exec_probe(&["--no-new-privs"], &["report"])?.value("report")?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")
    }),
    Case::new("exec/additional-gids", "convention: --additional-gids", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let options = ["--additional-gids", "71", "--additional-gids", "72"];
        let report = c.exec_probe(&options, &["report"])?.value("report")?;
        let groups = report["groups"].as_array().cloned().unwrap_or_default();
        ensure([71, 72].iter().all(|gid| groups.contains(&json!(gid))), format!("{groups:?}"))
    })
    .needs(&[Need::Root]),
    Case::new("exec/env-malformed", "--env without a name or a value is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for variable in ["NAME", "=value", ""] {
            let output = c.exec(&["--env", variable], &["/probe", "report"])?;
            ensure(output.code != 0, format!("--env {variable:?} is accepted"))?;
        }
        Ok(())
    })
    .rows(&["process.env"]),
    Case::new("exec/real-time-signal", "every signal is passed on, real-time ones too", |t| {
        let bundle = t.bundle();
        fs::copy("/bin/busybox", bundle.rootfs("bin/busybox"))?;
        let c = bundle.ops(&["sleep"]).start()?;
        let script = "trap 'exit 5' 40; echo up; while :; do /bin/busybox sleep 0.1; done";
        let running = t.call(&["exec", &c.id, "/bin/busybox", "sh", "-c", script]).spawn()?;
        t.until("the process runs", || running.stdout().contains("up"))?;
        let pid = running.pid().to_string();
        let sent = Command::new("kill").args(["-40", &pid]).status()?;
        ensure(sent.success(), "kill")?;
        running.wait()?.code(5).map(drop)
    })
    .needs(&[Need::Busybox]),
    Case::new(
        "exec/sub-cgroup",
        "convention: --cgroup joins a cgroup below the container's",
        |t| {
            let c = t.bundle().without_namespace("cgroup").ops(&["sleep"]).start()?;
            for dir in leftovers::cgroups(&c.id) {
                make_below(&dir)?;
            }
            let report = c.exec_probe(&["--cgroup", "below"], &["report"])?.value("report")?;
            for line in text(&report, "/cgroup")?.lines().filter(|line| line.contains(&c.id)) {
                ensure(line.ends_with("/below"), line)?;
            }
            contains("cgroup", text(&report, "/cgroup")?, "/below")?;
            let report = c.exec_probe(&["--cgroup", "/"], &["report"])?.value("report")?;
            ensure(!text(&report, "/cgroup")?.contains("/below"), "the container's own cgroup")
        },
    )
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new(
        "exec/sub-cgroup-of-controllers",
        "convention: --cgroup CONTROLLER[,CONTROLLER]:PATH joins there in these hierarchies alone",
        |t| {
            let c = t.bundle().without_namespace("cgroup").ops(&["sleep"]).start()?;
            for dir in leftovers::cgroups(&c.id) {
                make_below(&dir)?;
            }
            let options = ["--cgroup", "pids,memory:below", "--cgroup", "freezer:/"];
            let report = c.exec_probe(&options, &["report"])?.value("report")?;
            let mut below = 0;
            for line in text(&report, "/cgroup")?.lines().filter(|line| line.contains(&c.id)) {
                let asked = line.split(':').nth(1).is_some_and(|name| {
                    name.split(',').any(|name| matches!(name, "pids" | "memory"))
                });
                ensure(line.ends_with("/below") == asked, line)?;
                below += usize::from(asked);
            }
            ensure(below > 0, text(&report, "/cgroup")?)
        },
    )
    .needs(&[
        Need::Root,
        Need::CgroupV1,
        Need::Controller("pids"),
        Need::Controller("memory"),
        Need::Controller("freezer"),
    ]),
    Case::new(
        "exec/sub-cgroup-of-no-controller",
        "convention: --cgroup of a controller without a hierarchy is an error",
        |t| {
            let c = t.bundle().ops(&["sleep"]).start()?;
            for dir in leftovers::cgroups(&c.id) {
                make_below(&dir)?;
            }
            // Version 2 has one hierarchy for all controllers.
            let one = if t.host.v2 { "pids:below" } else { "nonsense:below" };
            c.exec(&["--cgroup", one], &["/probe", "exit=0"])?.fails_with("unknown controller")?;
            for bad in [&["--cgroup", "pids:a:b"][..], &["--cgroup", "below", "--cgroup", "below"]]
            {
                let output = c.exec(bad, &["/probe", "exit=0"])?;
                output.fails_with("invalid --cgroup argument")?;
            }
            Ok(())
        },
    )
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("exec/sub-cgroup-missing", "--cgroup of one that does not exist is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for path in ["missing", "../other", "/.."] {
            let output = c.exec(&["--cgroup", path], &["/probe", "exit=0"])?;
            ensure(output.code != 0, format!("--cgroup {path} is accepted"))?;
        }
        Ok(())
    })
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("exec/pidfd-socket", "convention: --pidfd-socket gets one pidfd", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let socket = Console::listen(t, "")?;
        let file = t.new_path("pid");
        let options = [
            "--detach",
            "--pid-file",
            &file.to_string_lossy(),
            "--pidfd-socket",
            &socket.argument(),
        ];
        c.exec(&options, &["/probe", "sleep"])?.ok()?;
        is_pidfd(&socket.finish()?, &fs::read_to_string(&file)?)
    }),
    Case::new("pid-file/pidfd-socket", "convention: create --pidfd-socket gets one pidfd", |t| {
        let socket = Console::listen(t, "")?;
        let bundle = t.bundle().ops(&["sleep"]).option(&["--pidfd-socket", &socket.argument()]);
        let pid = bundle.create()?.pid()?;
        is_pidfd(&socket.finish()?, &pid.to_string())
    }),
    Case::new(
        "pid-file/pidfd-socket-missing",
        "a pidfd socket that nobody serves is an error",
        |t| {
            let bundle = t.bundle().option(&["--pidfd-socket", "/no/such/socket"]);
            bundle.refused("/no/such/socket|pidfd").map(drop)
        },
    ),
];

/// What came over the socket is the pidfd of this process.
fn is_pidfd(got: &Value, pid: &str) -> Check {
    equal("descriptors", &got["descriptors"], &json!(1))?;
    equal("pid", &got["pid"], &json!(pid))
}

/// A cgroup below this one, in which a process can be.
fn make_below(dir: &std::path::Path) -> Check {
    let below = dir.join("below");
    fs::create_dir(&below)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        // A new one of version 1 has neither, and takes no process then.
        if below.join(file).exists() && dir.join("cpuset.cpu_exclusive").exists() {
            fs::write(below.join(file), fs::read_to_string(dir.join(file))?.trim())?;
        }
    }
    Ok(())
}

fn with_file(t: &Trial, c: &Container<'_>, process: &Value) -> Check<Value> {
    let file = t.new_path("process");
    fs::write(&file, process.to_string())?;
    let output = t.run(&["exec", "--process", &file.to_string_lossy(), &c.id])?.ok()?;
    crate::bundle::Answers::of(&output.stdout)?.value("report")
}
