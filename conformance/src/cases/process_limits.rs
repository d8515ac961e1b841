//! What is at the edge of the process object: values out of range, ids that are not mapped, limits
//! above those of the runtime, descriptors of service managers.

use std::fs;

use nix::sys::resource::{Resource, setrlimit};
use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// Bit of linux/capability.h.
const SYS_RESOURCE: u64 = 1 << 24;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "process/rlimits-raised",
        "setrlimit(2): above the runtime's own, or an error",
        |t| {
            let privileged = effective()? & SYS_RESOURCE != 0;
            setrlimit(Resource::RLIMIT_CORE, 500, 1000)?;
            let limit = json!({ "type": "RLIMIT_CORE", "soft": 600, "hard": 2000 });
            let bundle = t.bundle().set("/process/rlimits", json!([limit]));
            if !privileged {
                return bundle.refused("rlimit").map(drop);
            }
            equal("CORE", &bundle.report()?["rlimits"]["RLIMIT_CORE"], &json!([600, 2000]))
        },
    )
    .rows(&["process.rlimits"]),
    Case::new("process/rlimits-unlimited", "config.md#process: the largest number is none", |t| {
        let limit = json!({ "type": "RLIMIT_CPU", "soft": u64::MAX, "hard": u64::MAX });
        let report = t.bundle().set("/process/rlimits", json!([limit])).report()?;
        equal("CPU", &report["rlimits"]["RLIMIT_CPU"], &json!([u64::MAX, u64::MAX]))
    })
    .rows(&["process.rlimits"]),
    Case::new("process/rlimits-incomplete", "config.md#process: soft and hard are required", |t| {
        for limit in [
            json!({ "type": "RLIMIT_CORE", "soft": -1, "hard": 1 }),
            json!({ "type": "RLIMIT_CORE", "soft": "1", "hard": 1 }),
            json!({ "type": "rlimit_core", "soft": 0, "hard": 0 }),
        ] {
            t.bundle().set("/process/rlimits", json!([limit])).refused("rlimit|number|uint64")?;
        }
        Ok(())
    })
    .rows(&["process.rlimits"]),
    Case::new("process/oom-score-adj-range", "proc(5): -1000 to 1000", |t| {
        for score in [1001, -1001] {
            t.bundle().set("/process/oomScoreAdj", score).refused("oom|invalid argument")?;
        }
        Ok(())
    })
    .rows(&["process.oomScoreAdj"]),
    Case::new("process/user-no-id", "config.md#user: 4294967295 is nobody's id", |t| {
        for field in ["uid", "gid"] {
            t.bundle()
                .set(&format!("/process/user/{field}"), u32::MAX)
                .refused("uid|gid|user|invalid argument|invalid")?;
        }
        Ok(())
    })
    .rows(&["process.user"]),
    Case::new(
        "process/user-not-mapped",
        "user_namespaces(7): an id without a map is an error",
        |t| {
            for user in [
                json!({ "uid": 100_000, "gid": 0 }),
                json!({ "uid": 0, "gid": 100_000 }),
                json!({ "uid": 0, "gid": 0, "additionalGids": [100_000] }),
            ] {
                let bundle = t.bundle().user_namespace().set("/process/user", user);
                bundle.refused("user|uid|gid|group|invalid argument")?;
            }
            Ok(())
        },
    )
    .rows(&["process.user"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new(
        "process/groups-denied",
        "user_namespaces(7): setgroups denied, skipped or refused",
        |t| {
            let user = json!({ "uid": 0, "gid": 0, "additionalGids": [5] });
            t.bundle().set("/process/user", user).ran_or_refused()
        },
    )
    .rows(&["process.user"]),
    Case::new("process/umask-range", "config.md#user: a mask of nine bits", |t| {
        t.bundle().set("/process/user/umask", 0o1000).refused("umask").map(drop)
    })
    .rows(&["process.user.umask"]),
    Case::new("process/nul", "execve(2): no string can hold a NUL", |t| {
        for pointer in ["/process/args/1", "/process/env/0", "/process/cwd"] {
            t.bundle().set(pointer, "/a\0b=").refused("nul|null|invalid")?;
        }
        Ok(())
    })
    .rows(&["process.args", "process.env"]),
    Case::new("process/args-empty-name", "execvp: an empty name is no program", |t| {
        t.bundle().set("/process/args", json!([""])).refused("args|exec").map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process/path-empty", "execvp: without a PATH only names with a slash", |t| {
        let bundle = t.bundle().set("/process/env", json!(["HOME=/"]));
        fs::copy(t.probe(), bundle.rootfs("usr/bin/tool"))?;
        bundle.args(&["tool"]).refused("executable file not found in $PATH").map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process/cwd-parents", "config.md#process: cwd stays inside the container", |t| {
        let bundle = t.bundle().directory("srv").set("/process/cwd", "/srv/../../../..");
        let report = bundle.report()?;
        equal("cwd", text(&report, "/cwd")?, "/")?;
        ensure(report["fds"].is_object(), "no report")
    })
    .rows(&["process.cwd inside"]),
    Case::new("process/no-new-privileges-off", "config.md#process: false is not set", |t| {
        let report = t.bundle().set("/process/noNewPrivileges", false).report()?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "0")
    })
    .rows(&["process.noNewPrivileges"]),
    Case::new("console/size-alone", "config.md#process: without a terminal it is ignored", |t| {
        let size = json!({ "height": 10, "width": 20 });
        let report = t.bundle().set("/process/consoleSize", size).report()?;
        equal("sizes", &report["tty"]["sizes"], &json!([null, null, null]))
    })
    .rows(&["process.terminal"]),
    Case::new("fds/listen-and-preserve", "sockets come first, then the preserved ones", |t| {
        let report = listening(t, "$$", &["--preserve-fds", "1"], "1")?;
        equal("descriptors", &numbers(&report), &["0", "1", "2", "3", "4"])?;
        contains("env", &strings(&report, "/env")?.join("\n"), "LISTEN_FDS=1")
    })
    .rows(&["file descriptors", "LISTEN_FDS"]),
    Case::new("fds/listen-others", "sd_listen_fds(3): those of another process stay out", |t| {
        let report = listening(t, "1", &[], "2")?;
        equal("descriptors", &numbers(&report), &["0", "1", "2"])?;
        ensure(!strings(&report, "/env")?.join("\n").contains("LISTEN_"), "LISTEN_* is set")
    })
    .rows(&["file descriptors", "LISTEN_FDS"]),
    Case::new("fds/listen-exec", "sd_listen_fds(3): of exec as well", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let file = t.new_path("marked");
        fs::write(&file, "mark")?;
        let call = t.call(&["exec", &c.id, "/probe", "report", "readfd=3"]);
        let script = format!("export LISTEN_FDS=1 LISTEN_PID=$$; exec 3<{0} 4<{0}", file.display());
        let answers = Answers::of(&call.shell(script).run()?.ok()?.stdout)?;
        equal("content", &answers.value("readfd=3")?, &json!("mark"))?;
        let report = answers.value("report")?;
        equal("descriptors", &numbers(&report), &["0", "1", "2", "3"])?;
        contains("env", &strings(&report, "/env")?.join("\n"), "LISTEN_FDS=1")
    })
    .rows(&["file descriptors", "LISTEN_FDS"]),
];

/// The effective capabilities of this process.
fn effective() -> Check<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(u64::from_str_radix(line.unwrap_or_default().trim(), 16)?)
}

/// `run` with descriptors 3 and 4 open in the caller, and the variables of a service manager.
fn listening(t: &Trial, pid: &str, options: &[&str], count: &str) -> Check<Value> {
    let file = t.new_path("marked");
    fs::write(&file, "mark")?;
    let mut bundle = t.bundle().ops(&["report"]);
    let script =
        format!("export LISTEN_FDS={count} LISTEN_PID={pid}; exec 3<{0} 4<{0}", file.display());
    let call = bundle.call("run", options)?.shell(script);
    Answers::of(&call.run()?.ok()?.stdout)?.value("report")
}

fn numbers(report: &Value) -> Vec<String> {
    let open = report["fds"].as_object().into_iter().flatten();
    let mut list: Vec<String> = open.map(|(number, _)| number.clone()).collect();
    list.sort();
    list
}
