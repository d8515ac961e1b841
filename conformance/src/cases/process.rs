//! The process object: cwd, env, args, user, umask, privileges.

use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::call::Call;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::value::{equal, number, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("process/args", "config.md#process: args as in execvp", |t| {
        let report = t.bundle().args(&["/probe", "report", "echo=a b", "echo="]).run()?.ok()?;
        let report = Answers::of(&report.stdout)?.value("report")?;
        equal("args", &strings(&report, "/args")?, &["/probe", "report", "echo=a b", "echo="])
    })
    .rows(&["process.args"]),
    Case::new("process/args-path", "config.md#process: args[0] is searched in the PATH", |t| {
        let bundle = t.bundle();
        std::fs::copy(t.probe(), bundle.rootfs("usr/bin/tool"))?;
        bundle.args(&["tool", "exit=4"]).run()?.code(4).map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process/args-env-path", "config.md#process: the PATH of process.env counts", |t| {
        let bundle = t.bundle().directory("opt/x");
        std::fs::copy(t.probe(), bundle.rootfs("opt/x/tool"))?;
        bundle
            .set("/process/env", json!(["PATH=/opt/x"]))
            .args(&["tool", "exit=4"])
            .run()?
            .code(4)
            .map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process/args-empty", "config.md#process: args has at least one entry", |t| {
        t.bundle().set("/process/args", json!([])).refused("args").map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process/args-relative", "execvp: a name with a slash is relative to cwd", |t| {
        let bundle = t.bundle().directory("opt/x");
        std::fs::copy(t.probe(), bundle.rootfs("opt/x/tool"))?;
        bundle.set("/process/cwd", "/opt").args(&["./x/tool", "exit=4"]).run()?.code(4).map(drop)
    })
    .rows(&["process.args"]),
    Case::new("process/cwd", "config.md#process: cwd", |t| {
        let report = t.bundle().directory("srv/a").set("/process/cwd", "/srv/a").report()?;
        equal("cwd", text(&report, "/cwd")?, "/srv/a")
    })
    .rows(&["process.cwd"]),
    Case::new("process/cwd-missing", "convention: a missing cwd is made", |t| {
        let report = t.bundle().set("/process/cwd", "/srv/new/deep").report()?;
        equal("cwd", text(&report, "/cwd")?, "/srv/new/deep")
    })
    .rows(&["process.cwd"]),
    Case::new("process/cwd-relative", "config.md#process: cwd must be absolute", |t| {
        t.bundle().set("/process/cwd", "tmp").refused("cwd").map(drop)
    })
    .rows(&["process.cwd"]),
    Case::new("process/cwd-file", "config.md#process: cwd is a directory", |t| {
        t.bundle()
            .file("etc/file", "")
            .set("/process/cwd", "/etc/file")
            .refused("cwd|not a directory")
            .map(drop)
    })
    .rows(&["process.cwd"]),
    Case::new("process/cwd-symlink", "a link is resolved inside the rootfs", |t| {
        let report = t
            .bundle()
            .directory("srv/real")
            .link("srv/link", "/srv/real")
            .set("/process/cwd", "/srv/link")
            .report()?;
        equal("cwd", text(&report, "/cwd")?, "/srv/real")
    })
    .rows(&["process.cwd inside"]),
    Case::new("process/cwd-without-permission", "a user may have to be able to enter cwd", |t| {
        let bundle = t
            .bundle()
            .directory("closed")
            .mode("closed", 0o700)
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .set("/process/cwd", "/closed");
        // Root made the directory, the user cannot enter it: started in it or refused, no crash.
        bundle.ran_or_refused()
    })
    .needs(&[Need::Root]),
    Case::new("process/env", "config.md#process: exactly these variables, in order", |t| {
        let env = ["Z=1", "A=2", "EMPTY=", "M=a=b", "PATH=/bin", "HOME=/root"];
        let report = t.bundle().set("/process/env", json!(env)).report()?;
        equal("env", &strings(&report, "/env")?, &env)
    })
    .rows(&["process.env"]),
    Case::new("process/env-duplicates", "convention: the last of equal names wins", |t| {
        let env = json!(["A=1", "HOME=/", "A=2"]);
        let report = t.bundle().set("/process/env", env).report()?;
        let found = strings(&report, "/env")?;
        let values: Vec<_> = found.iter().filter(|line| line.starts_with("A=")).collect();
        equal("A", &values, &["A=2"])
    })
    .rows(&["process.env"]),
    Case::new("process/env-home", "convention: HOME comes from the image's passwd", |t| {
        let report =
            t.bundle().file("etc/passwd", "root:x:0:0::/home/of/root:/bin/sh\n").report()?;
        has_env(&report, "HOME=/home/of/root")
    })
    .rows(&["process.env HOME"]),
    Case::new("process/env-home-default", "convention: HOME is / for an unknown user", |t| {
        let report = t.bundle().report()?;
        has_env(&report, "HOME=/")
    })
    .rows(&["process.env HOME"]),
    Case::new("process/env-home-kept", "convention: HOME of the configuration is kept", |t| {
        let report = t
            .bundle()
            .file("etc/passwd", "root:x:0:0::/other:/bin/sh\n")
            .set("/process/env", json!(["HOME=/mine"]))
            .report()?;
        equal("env", &strings(&report, "/env")?, &["HOME=/mine"])
    })
    .rows(&["process.env HOME"]),
    Case::new("process/env-not-inherited", "nothing of the caller's environment", |t| {
        let mut bundle = t.bundle();
        let call = bundle.call("run", &[])?.env(&[("LEAK", "1"), ("PATH", "/usr/bin:/bin")]);
        let report = Answers::of(&call.run()?.ok()?.stdout)?.value("report")?;
        ensure(!strings(&report, "/env")?.iter().any(|line| line.starts_with("LEAK")), "LEAK")
    })
    .rows(&["process.env"]),
    Case::new("process/user", "config.md#user: uid and gid", |t| {
        let report =
            t.bundle().set("/process/user", json!({ "uid": 1234, "gid": 567 })).report()?;
        equal("uid", &report["uid"], &json!([1234, 1234, 1234, 1234]))?;
        equal("gid", &report["gid"], &json!([567, 567, 567, 567]))
    })
    .rows(&["process.user"])
    .needs(&[Need::Root]),
    Case::new("process/user-loses-capabilities", "credentials(7): not for an ordinary user", |t| {
        let report =
            t.bundle().set("/process/user", json!({ "uid": 1234, "gid": 567 })).report()?;
        equal("effective", text(&report, "/status/CapEff")?, "0000000000000000")?;
        equal("permitted", text(&report, "/status/CapPrm")?, "0000000000000000")
    })
    .needs(&[Need::Root]),
    Case::new("process/groups", "config.md#user: additionalGids", |t| {
        let user = json!({ "uid": 1234, "gid": 567, "additionalGids": [5, 10, 4_000_000_000_u32] });
        let report = t.bundle().set("/process/user", user).report()?;
        let mut groups: Vec<u64> = report["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .filter(|gid| *gid != 567)
            .collect();
        groups.sort_unstable();
        equal("groups", &groups, &[5, 10, 4_000_000_000])
    })
    .rows(&["process.user"])
    .needs(&[Need::Root]),
    Case::new("process/groups-none", "config.md#user: no group of the caller stays", |t| {
        nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(4242)])?;
        for user in [json!({ "uid": 0, "gid": 0 }), json!({ "uid": 1000, "gid": 1000 })] {
            let report = t.bundle().set("/process/user", user).report()?;
            let groups = report["groups"].to_string();
            ensure(!groups.contains("4242"), format!("groups {groups}"))?;
        }
        Ok(())
    })
    .rows(&["process.user"])
    .needs(&[Need::Root]),
    Case::new("process/groups-kept", "convention: run.oci.keep_original_groups", |t| {
        let kept = json!({ "run.oci.keep_original_groups": "1" });
        let mut bundle = t.bundle().set("/annotations", kept.clone()).ops(&["report"]);
        has_callers_groups(bundle.call("run", &[])?)?;
        let c = t.bundle().set("/annotations", kept).ops(&["sleep"]).start()?;
        has_callers_groups(t.call(&["exec", &c.id, "/probe", "report"]))
    })
    .needs(&[Need::Root]),
    Case::new("process/umask", "config.md#user: umask", |t| {
        let report = t.bundle().set("/process/user/umask", 0o027).report()?;
        equal("umask", text(&report, "/umask")?, "0027")
    })
    .rows(&["process.user.umask"]),
    Case::new("process/umask-zero", "config.md#user: umask 0 is not the same as none", |t| {
        let report = t.bundle().set("/process/user/umask", 0).report()?;
        equal("umask", text(&report, "/umask")?, "0000")
    })
    .rows(&["process.user.umask"]),
    Case::new("process/umask-default", "convention: 022, whatever the caller's is", |t| {
        let mut bundle = t.bundle();
        let output = bundle.call("run", &[])?.shell("umask 077").run()?.ok()?;
        let report = Answers::of(&output.stdout)?.value("report")?;
        equal("umask", text(&report, "/umask")?, "0022")
    })
    .rows(&["process.user.umask"]),
    Case::new("process/no-new-privileges", "config.md#process: noNewPrivileges", |t| {
        let on = t.bundle().set("/process/noNewPrivileges", true).report()?;
        equal("NoNewPrivs", text(&on, "/status/NoNewPrivs")?, "1")?;
        let off = t.bundle().set("/process/noNewPrivileges", false).report()?;
        equal("NoNewPrivs", text(&off, "/status/NoNewPrivs")?, "0")
    })
    .rows(&["process.noNewPrivileges"]),
    Case::new("process/session", "the container's process leads its own session", |t| {
        let report = t.bundle().report()?;
        equal("sid", &number(&report, "/sid")?, &1)?;
        equal("pgid", &number(&report, "/pgid")?, &1)?;
        let stat = text(&report, "/stat")?;
        let tty = stat.rsplit(')').next().unwrap_or("").split_whitespace().nth(4).unwrap_or("");
        equal("controlling terminal", tty, "0")
    }),
    Case::new("process/signals-reset", "no signal of the caller stays ignored or blocked", |t| {
        let mut bundle = t.bundle();
        let call = bundle.call("run", &[])?.shell("trap '' INT QUIT USR1 USR2 HUP ALRM WINCH");
        let report = Answers::of(&call.run()?.ok()?.stdout)?.value("report")?;
        // The probe's own language run time ignores SIGPIPE.
        let ignored = u64::from_str_radix(text(&report, "/status/SigIgn")?, 16)? & !(1 << 12);
        equal("ignored signals", &format!("{ignored:#x}"), "0x0")?;
        equal("blocked signals", text(&report, "/status/SigBlk")?, "0000000000000000")
    }),
    Case::new("process/stdin", "standard input is the caller's", |t| {
        let mut bundle = t.bundle().ops(&["stdin"]);
        let output = bundle.call("run", &[])?.stdin("some text")?.run()?.ok()?;
        let answers = Answers::of(&output.stdout)?;
        equal("input", &answers.value("stdin")?, &json!("some text"))
    }),
    Case::new("process/stderr", "standard error is the caller's", |t| {
        let output = t.bundle().ops(&["stderr=words"]).run()?.ok()?;
        equal("standard error", output.stderr.trim(), "words")
    }),
    Case::new("process/dev-stdout", "/dev/stdout and /dev/stderr can be opened", |t| {
        let bundle = t.bundle().ops(&["write=/dev/stdout", "write=/dev/stderr"]);
        let answers = Answers::of(&bundle.run()?.ok()?.stdout)?;
        answers.value("write=/dev/stdout")?;
        answers.value("write=/dev/stderr").map(drop)
    }),
];

fn has_env(report: &Value, line: &str) -> Check {
    let env = strings(report, "/env")?;
    ensure(env.iter().any(|found| found == line), format!("{line} is missing in {env:?}"))
}

/// Calls it with two groups, which the program must have.
fn has_callers_groups(call: Call<'_>) -> Check {
    let output = call.shell("exec setpriv --groups=4242,4243 \"$@\"").run()?.ok()?;
    let report = Answers::of(&output.stdout)?.value("report")?;
    equal("groups", &report["groups"], &json!([4242, 4243]))
}
