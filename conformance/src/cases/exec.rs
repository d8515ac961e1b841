//! exec: processes added to a container.

use std::fs;

use serde_json::{Value, json};

use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("exec/namespaces", "convention: exec runs in the container's namespaces", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        for kind in ["pid", "net", "mnt", "ipc", "uts", "cgroup", "user"] {
            let own = fs::read_link(format!("/proc/{}/ns/{kind}", c.pid()?))?.display().to_string();
            equal(kind, text(&report, &format!("/namespaces/{kind}"))?, &own)?;
        }
        Ok(())
    }),
    Case::new("exec/time-namespace", "convention: exec sees the container's clocks", |t| {
        let offsets = json!({ "boottime": { "secs": 86_400, "nanosecs": 5 } });
        let c = t
            .bundle()
            .namespace("time")
            .set("/linux/timeOffsets", offsets)
            .ops(&["sleep"])
            .start()?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        let words = text(&report, "/timens_offsets")?.split_whitespace();
        equal("offsets", &words.collect::<Vec<_>>()[3..], &["boottime", "86400", "5"])
    })
    .needs(&[Need::TimeNamespace]),
    Case::new("exec/personality", "config-linux.md#personality: of all processes", |t| {
        let bundle = t.bundle().set("/linux/personality", json!({ "domain": "LINUX32" }));
        let c = bundle.ops(&["sleep"]).start()?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("personality", text(&report, "/personality")?, "00000008")
    })
    .rows(&["linux.personality"]),
    Case::new("exec/cpu-affinity", "config.md#linux-process: execCPUAffinity", |t| {
        let affinity = json!({ "initial": "0", "final": "0" });
        let bundle = t.bundle().set("/process/execCPUAffinity", affinity);
        let c = bundle.ops(&["sleep"]).start()?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("processors", text(&report, "/status/Cpus_allowed_list")?, "0")
    })
    .rows(&["process.execCPUAffinity"]),
    Case::new("exec/process-file", "convention: --process FILE is a process object", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let report = process_file(
            t,
            &c,
            &json!({
                "user": { "uid": 0, "gid": 0 }, "args": ["/probe", "report"], "cwd": "/tmp",
                "env": ["ONLY=this", "HOME=/"],
            }),
        )?;
        equal("cwd", text(&report, "/cwd")?, "/tmp")?;
        equal("env", &strings(&report, "/env")?, &["ONLY=this", "HOME=/"])
    }),
    Case::new("exec/process-file-capabilities", "--process replaces the capabilities", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let list = json!(["CAP_KILL"]);
        let report = process_file(
            t,
            &c,
            &json!({
                "user": { "uid": 0, "gid": 0 }, "args": ["/probe", "report"], "cwd": "/",
                "capabilities": { "bounding": list, "effective": list, "permitted": list },
                "noNewPrivileges": true,
            }),
        )?;
        equal("effective", text(&report, "/status/CapEff")?, "0000000000000020")?;
        equal("bounding", text(&report, "/status/CapBnd")?, "0000000000000020")
    }),
    Case::new("exec/process-file-bad", "--process with wrong JSON is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let file = t.new_path("process");
        fs::write(&file, "{")?;
        t.run(&["exec", "--process", &file.to_string_lossy(), &c.id])?.code(255)?.fails().map(drop)
    }),
    Case::new("exec/user", "convention: --user UID:GID", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let report = c.exec_probe(&["--user", "1000:2000"], &["report"])?.value("report")?;
        equal("uid", &report["uid"], &json!([1000, 1000, 1000, 1000]))?;
        equal("gid", &report["gid"], &json!([2000, 2000, 2000, 2000]))?;
        equal("effective", text(&report, "/status/CapEff")?, "0000000000000000")
    })
    .needs(&[Need::Root]),
    Case::new("exec/user-only", "CVE-2026-30892: --user 1 is user 1", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let report = c.exec_probe(&["--user", "1"], &["report"])?.value("report")?;
        equal("uid", &report["uid"], &json!([1, 1, 1, 1]))
    })
    .needs(&[Need::Root]),
    Case::new("exec/user-bad", "--user with a wrong number is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for user in
            ["-1", "4294967295", "4294967296", "1x", "0x10", "1:", "1:-1", "99999999999999999999"]
        {
            let output = c.exec(&[&format!("--user={user}")], &["/probe", "report"])?;
            ensure(output.code != 0, format!("--user={user} is accepted: {}", output.stdout))?;
        }
        Ok(())
    })
    .needs(&[Need::Root]),
    Case::new("exec/cwd", "convention: --cwd", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let report = c.exec_probe(&["--cwd", "/etc"], &["report"])?.value("report")?;
        equal("cwd", text(&report, "/cwd")?, "/etc")
    }),
    Case::new("exec/env", "convention: --env adds in order; the last of equal names wins", |t| {
        let c = t.bundle().set("/process/env", json!(["A=1", "HOME=/"])).ops(&["sleep"]).start()?;
        let report =
            c.exec_probe(&["--env", "B=2", "--env", "A=3"], &["report"])?.value("report")?;
        let env = strings(&report, "/env")?;
        let has = |line: &str| env.iter().any(|found| found == line);
        ensure(has("A=3") && has("B=2") && !has("A=1"), format!("{env:?}"))
    })
    .rows(&["process.env"]),
    Case::new("exec/cap", "convention: --cap adds a capability", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let report = c.exec_probe(&["--cap", "CAP_SYS_ADMIN"], &["report"])?.value("report")?;
        let effective = u64::from_str_radix(text(&report, "/status/CapEff")?, 16)?;
        ensure(effective & (1 << 21) != 0, format!("effective {effective:#x}"))?;
        equal("inheritable", text(&report, "/status/CapInh")?, "0000000000000000")
    }),
    Case::new("exec/detach", "convention: --detach returns while the process runs", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.exec(&["--detach"], &["/probe", "create=/up", "sleep"])?.ok()?;
        t.until("the process runs", || c.bundle.join("rootfs/up").exists())
    }),
    Case::new("exec/stdin", "standard input of exec is the caller's", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = t.call(&["exec", &c.id, "/probe", "stdin"]).stdin("words")?;
        contains("output", &call.run()?.ok()?.stdout, r#""ok":"words""#)
    }),
    Case::new("exec/created", "convention: exec in a created container", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        c.exec(&[], &["/probe", "exit=3"])?.code(3)?;
        c.is("created")
    }),
    Case::new("exec/stopped", "exec in a stopped container is an error", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        c.exec(&[], &["/probe", "exit=0"])?.code(255)?.fails_with("stopped").map(drop)
    })
    .rows(&["wrong state"]),
    Case::new("exec/paused", "exec in a paused container is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        c.exec(&[], &["/probe", "exit=0"])?.code(255)?.fails_with("paused").map(drop)
    })
    .rows(&["wrong state"])
    .needs(&[Need::Cgroup]),
    Case::new("exec/keeps-security", "exec has the settings of the container's process", |t| {
        let report = secured(t)?.exec_probe(&[], &["report"])?.value("report")?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")?;
        equal("umask", text(&report, "/umask")?, "0027")?;
        equal("NOFILE", &report["rlimits"]["RLIMIT_NOFILE"], &json!([300, 400]))?;
        equal("oom_score_adj", text(&report, "/oom_score_adj")?, "444")?;
        equal("bounding", text(&report, "/status/CapBnd")?, "0000000000000020")
    }),
    Case::new("exec/keeps-groups", "exec has the groups of the container's process", |t| {
        let c = t
            .bundle()
            .set("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [77] }))
            .ops(&["sleep"])
            .start()?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        ensure(report["groups"].to_string().contains("77"), report["groups"].to_string())
    })
    .needs(&[Need::Root]),
    Case::new("exec/config-edited", "runtime.md#create: later edits have no effect", |t| {
        let c = secured(t)?;
        let path = c.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
        crate::value::set(&mut config, "/process/noNewPrivileges", json!(false));
        crate::value::set(&mut config, "/process/env/-", json!("EDITED=1"));
        fs::write(&path, config.to_string())?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")?;
        ensure(!strings(&report, "/env")?.contains(&"EDITED=1".to_owned()), "the edit took effect")
    })
    .rows(&["config edited"]),
    Case::new("exec/config-removed", "runtime.md#create: the bundle's file is not needed", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        fs::remove_file(c.bundle.join("config.json"))?;
        c.exec(&[], &["/probe", "exit=4"])?.code(4)?;
        c.is("running")
    })
    .rows(&["config edited"]),
    Case::new(
        "exec/session",
        "CVE-2017-5226: no controlling terminal, a session of its own",
        |t| {
            let c = t.bundle().ops(&["sleep"]).start()?;
            let report = c.exec_probe(&[], &["report"])?.value("report")?;
            equal("session leader", &report["sid"], &report["pid"])?;
            let stat = text(&report, "/stat")?;
            let tty = stat.rsplit(')').next().unwrap_or("").split_whitespace().nth(4).unwrap_or("");
            equal("controlling terminal", tty, "0")
        },
    ),
    Case::new("exec/signals-reset", "no signal of the caller stays ignored", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = t.call(&["exec", &c.id, "/probe", "report"]).shell("trap '' INT USR1 HUP");
        let report = crate::bundle::Answers::of(&call.run()?.ok()?.stdout)?.value("report")?;
        let ignored = u64::from_str_radix(text(&report, "/status/SigIgn")?, 16)? & !(1 << 12);
        equal("ignored signals", &(ignored & 0x7fff_ffff), &0)
    }),
    Case::new("exec/cgroup", "exec runs in the container's cgroup", |t| {
        let c = t.bundle().without_namespace("cgroup").ops(&["report", "sleep"]).start()?;
        let init = c.answers(1)?.value("report")?;
        let added = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("cgroup", &added["cgroup"], &init["cgroup"])
    })
    .needs(&[Need::Cgroup]),
    Case::new("exec/args-path", "exec searches the PATH of the container", |t| {
        let bundle = t.bundle().ops(&["sleep"]);
        fs::copy(t.probe(), bundle.rootfs("usr/bin/tool"))?;
        bundle.start()?.exec(&[], &["tool", "exit=6"])?.code(6).map(drop)
    }),
    Case::new("exec/options-end", "options after the id belong to the program", |t| {
        let bundle = t.bundle();
        fs::copy("/bin/busybox", bundle.rootfs("bin/busybox"))?;
        let c = bundle.ops(&["sleep"]).start()?;
        let output = c.exec(&[], &["/bin/busybox", "echo", "--cwd", "x"])?.ok()?;
        equal("output", output.stdout.trim(), "--cwd x")
    })
    .needs(&[Need::Busybox]),
    Case::new("exec/init-gone-kills", "when the init ends, exec'd processes end", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let running = t.call(&["exec", &c.id, "/probe", "echo=up", "sleep"]).spawn()?;
        t.until("the process runs", || running.stdout().contains("up"))?;
        c.kill("KILL")?.ok()?;
        running.wait()?.code(137).map(drop)
    }),
    Case::new("exec/no-args", "exec without a program is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        t.run(&["exec", &c.id])?.fails().map(drop)
    }),
    Case::new("exec/many", "exec 20 times in a row", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for _ in 0..20 {
            c.exec(&[], &["/probe", "exit=2"])?.code(2)?;
        }
        Ok(())
    }),
];

fn process_file(t: &Trial, c: &Container<'_>, process: &Value) -> Check<Value> {
    let file = t.new_path("process");
    fs::write(&file, process.to_string())?;
    let output = t.run(&["exec", "--process", &file.to_string_lossy(), &c.id])?.ok()?;
    crate::bundle::Answers::of(&output.stdout)?.value("report")
}

/// A container with settings that exec must keep.
fn secured(t: &Trial) -> Check<Container<'_>> {
    let list = json!(["CAP_KILL"]);
    t.bundle()
        .set("/process/noNewPrivileges", true)
        .set("/process/user/umask", 0o027)
        .set("/process/oomScoreAdj", 444)
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 300, "hard": 400 }]))
        .set(
            "/process/capabilities",
            json!({ "bounding": list, "effective": list, "permitted": list }),
        )
        .ops(&["sleep"])
        .start()
}
