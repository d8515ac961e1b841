//! The process object that `exec --process` takes: every field counts there as in config.json.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::call::Output;
use crate::case::{Case, Need};
use crate::console::Console;
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("process-file/limits", "config.md#process: rlimits and oomScoreAdj", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
        let report = report(t, &c, &json!({ "rlimits": [limit], "oomScoreAdj": 222 }))?;
        equal("NOFILE", &report["rlimits"]["RLIMIT_NOFILE"], &json!([100, 200]))?;
        equal("oom_score_adj", text(&report, "/oom_score_adj")?, "222")?;
        exec(t, &c, &json!({ "rlimits": [limit, limit] }))?
            .code(255)?
            .fails_with("RLIMIT_NOFILE")?;
        Ok(())
    })
    .rows(&["process.rlimits", "process.oomScoreAdj"]),
    Case::new("process-file/user", "config.md#user: ids, groups, umask", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let user = json!({ "uid": 12, "gid": 13, "additionalGids": [14], "umask": 0o27 });
        let report = report(t, &c, &json!({ "user": user }))?;
        equal("uid", &report["uid"], &json!([12, 12, 12, 12]))?;
        equal("gid", &report["gid"], &json!([13, 13, 13, 13]))?;
        ensure(report["groups"].to_string().contains("14"), report["groups"].to_string())?;
        equal("umask", &report["umask"], &json!("0027"))
    })
    .rows(&["process.user", "process.user.umask"])
    .needs(&[Need::Root]),
    Case::new("process-file/no-new-privileges", "config.md#process: noNewPrivileges", |t| {
        let c = t.bundle().set("/process/noNewPrivileges", false).ops(&["sleep"]).start()?;
        let report = report(t, &c, &json!({ "noNewPrivileges": true }))?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "1")
    })
    .rows(&["process.noNewPrivileges"]),
    Case::new(
        "process-file/environment",
        "config.md#process: in order, the last of equal ones",
        |t| {
            let c = t.bundle().ops(&["sleep"]).start()?;
            let env = json!(["Z=1", "A=1", "HOME=/h", "B=2", "A=3"]);
            let report = report(t, &c, &json!({ "env": env }))?;
            let found = strings(&report, "/env")?;
            let others: Vec<_> = found.iter().filter(|line| !line.starts_with("A=")).collect();
            equal("others", &others, &["Z=1", "HOME=/h", "B=2"])?;
            let equal_ones: Vec<_> = found.iter().filter(|line| line.starts_with("A=")).collect();
            equal("A", &equal_ones, &["A=3"])
        },
    )
    .rows(&["process.env"]),
    Case::new("process-file/home", "convention: HOME comes from the image's passwd", |t| {
        let bundle = t.bundle().file("etc/passwd", "root:x:0:0::/home/of/root:/bin/sh\n");
        let c = bundle.ops(&["sleep"]).start()?;
        let report = report(t, &c, &json!({}))?;
        let env = strings(&report, "/env")?.join("\n");
        contains("env", &env, "HOME=/home/of/root")
    })
    .rows(&["process.env HOME"]),
    Case::new("process-file/cwd", "config.md#process: cwd is absolute, inside, and there", |t| {
        let c = t.bundle().file("plain", "").ops(&["sleep"]).start()?;
        for (cwd, word) in [
            ("tmp", "cwd"),
            ("/no/such/place", "no such file|cwd"),
            ("/plain", "not a directory|cwd"),
        ] {
            exec(t, &c, &json!({ "cwd": cwd }))?.code(255)?.fails_with(word)?;
        }
        Ok(())
    })
    .rows(&["process.cwd"]),
    Case::new("process-file/program", "the words that engines look for", |t| {
        let c = t.bundle().file("plain", "").ops(&["sleep"]).start()?;
        for (program, word) in [
            ("no-such-program", "executable file not found in $PATH"),
            ("/no/such", "no such file or directory"),
            ("/tmp", "is a directory|permission denied"),
            ("/plain", "permission denied"),
        ] {
            exec(t, &c, &json!({ "args": [program] }))?.code(255)?.fails_with(word)?;
        }
        exec(t, &c, &json!({ "args": [] }))?.code(255)?.fails_with("args").map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process-file/unknown-capability", "config.md#process: warned about, skipped", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let list = json!(["CAP_KILL", "CAP_UNHEARD"]);
        let sets = json!({ "bounding": list, "effective": list, "permitted": list });
        let output = exec(t, &c, &json!({ "capabilities": sets }))?.ok()?;
        contains("warning", &output.stderr, "CAP_UNHEARD")?;
        let report = Answers::of(&output.stdout)?.value("report")?;
        equal("effective", text(&report, "/status/CapEff")?, "0000000000000020")
    })
    .rows(&["process.capabilities"]),
    Case::new("process-file/console-size", "config.md#process: consoleSize", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let console = Console::listen(t, "")?;
        let size = json!({ "height": 19, "width": 77 });
        let file = file(t, &json!({ "terminal": true, "consoleSize": size }))?;
        t.run(&[
            "exec",
            "--detach",
            "--console-socket",
            &console.argument(),
            "--process",
            &file,
            &c.id,
        ])?
        .ok()?;
        equal("size", &console.finish()?["size"], &json!([19, 77]))
    })
    .rows(&["process.terminal"]),
    Case::new("process-file/terminal-needs-socket", "detached, a terminal needs a socket", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let file = file(t, &json!({ "terminal": true }))?;
        let output = t.run(&["exec", "--detach", "--process", &file, &c.id])?;
        output.code(255)?.fails_with("console socket|tty|terminal").map(drop)
    })
    .rows(&["process.terminal"]),
];

fn file(t: &Trial, more: &Value) -> Check<String> {
    let mut process = json!({
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/probe", "report"],
        "env": ["PATH=/usr/bin:/bin"],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        process[key] = value.clone();
    }
    let path = t.new_path("process");
    fs::write(&path, process.to_string())?;
    Ok(path.display().to_string())
}

fn exec(t: &Trial, c: &Container<'_>, more: &Value) -> Check<Output> {
    t.run(&["exec", "--process", &file(t, more)?, &c.id])
}

fn report(t: &Trial, c: &Container<'_>, more: &Value) -> Check<Value> {
    Answers::of(&exec(t, c, more)?.ok()?.stdout)?.value("report")
}
