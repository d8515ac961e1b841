//! Odd hook programs: how they are called, how they end, what they leave running.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::hooks::{host_hook, labels, one, records};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, strings};

/// Above what the machine needs for a hook, below what the hooks here would take if waited for.
const SOON: Duration = Duration::from_secs(6);

/// The kinds whose failure is one of `create` or `start`.
const FATAL: [&str; 5] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("hooks/arg-zero", "config.md: without args, argv[0] is the path", |t| {
        // Which applet busybox is depends on argv[0].
        for (applet, well) in [("true", true), ("false", false)] {
            let path = t.path(applet);
            fs::copy("/bin/busybox", &path)?;
            let bundle = t.bundle().ops(&["exit=0"]).hook("createRuntime", json!({ "path": path }));
            if well {
                bundle.run()?.ok()?;
            } else {
                bundle.refused("hook")?;
            }
        }
        Ok(())
    })
    .rows(&["hooks.args"])
    .needs(&[Need::Busybox]),
    Case::new("hooks/env-exact", "config.md: env in its order, doubles and oddities too", |t| {
        let script = "cat /proc/self/environ > \"$0\"";
        let file = t.path("environ");
        let hook = json!({
            "path": "/bin/sh", "args": ["sh", "-c", script, file],
            "env": ["PATH=/usr/bin:/bin", "Z=1", "A=2", "A=3"],
        });
        t.bundle().ops(&["exit=0"]).hook("createRuntime", hook).run()?.ok()?;
        // The shell sets PWD and keeps one of two equal names for its children.
        let env = fs::read_to_string(&file)?;
        let found: Vec<_> = env.split_terminator('\0').filter(|one| !one.starts_with("PWD=")).collect();
        ensure(found.contains(&"Z=1"), format!("{found:?}"))?;
        let mut hook = host_hook(t, "x", &[]);
        hook["env"] = json!(["Z=1", "A=2", "A=3"]);
        equal("env", &strings(&one(t, hook)?, "/at/env")?, &["Z=1", "A=2", "A=3"])
    })
    .rows(&["hooks.env"]),
    Case::new("hooks/env-of-caller", "config.md: no variable of the runtime's caller", |t| {
        let mut bundle = t.bundle().ops(&["exit=0"]);
        for kind in ["createRuntime", "poststop"] {
            bundle = bundle.hook(kind, host_hook(t, kind, &[]));
        }
        let dir = bundle.dir.clone();
        bundle.call("run", &[])?.env(&[("SECRET", "value")]).run()?.ok()?;
        let list = records(t, &dir)?;
        equal("hooks", &list.len(), &2)?;
        list.iter().try_for_each(|record| {
            let env = record["at"]["env"].to_string();
            ensure(!env.contains("SECRET"), format!("{env} in {}", record["label"]))
        })
    })
    .rows(&["hooks.env"]),
    Case::new("hooks/output-of-each-kind", "what a hook prints is in the error of its kind", |t| {
        for kind in FATAL {
            let words = ["echo=to-stdout", "stderr=to-stderr", "exit=3"];
            let output = failing(t, kind, &words)?;
            for part in ["to-stdout", "to-stderr"] {
                ensure(output.contains(part), format!("{kind}: no {part} in {output:?}"))?;
            }
        }
        Ok(())
    })
    .rows(&["hooks: output"]),
    Case::new("hooks/output-of-the-failed-one", "not what an earlier hook has printed", |t| {
        for kind in ["createRuntime", "createContainer", "startContainer"] {
            let hook = |words: &[&str]| probing(t, kind, words);
            let bundle = t
                .bundle()
                .hook(kind, hook(&["echo=of-the-first"]))
                .hook(kind, hook(&["echo=of-the-second", "exit=3"]));
            let output = refused_somewhere(t, bundle)?;
            ensure(output.contains("of-the-second"), format!("{kind}: {output:?}"))?;
            ensure(!output.contains("of-the-first"), format!("{kind}: {output:?}"))?;
        }
        Ok(())
    })
    .rows(&["hooks: output"]),
    Case::new("hooks/output-large", "a hook that prints much does not block", |t| {
        let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done";
        t.bundle().ops(&["exit=0"]).hook("createRuntime", shell(script)).run()?.ok().map(drop)
    })
    .rows(&["hooks: output"]),
    Case::new("hooks/output-closed", "a hook may close its standard streams", |t| {
        let bundle = t.bundle().ops(&["exit=0"]).hook("createRuntime", shell("exec <&- >&- 2>&-"));
        bundle.run()?.ok().map(drop)
    })
    .rows(&["hooks: output"]),
    Case::new("hooks/daemon", "what a hook leaves running is not waited for", |t| {
        let file = t.path("daemon");
        let script = format!("sleep 30 & echo $! > {}", file.display());
        let start = Instant::now();
        let ran = t.bundle().ops(&["exit=0"]).hook("createRuntime", shell(&script)).run();
        let took = start.elapsed();
        end(t, &file)?;
        ran?.ok()?;
        ensure(took < SOON, format!("{took:?}"))
    })
    .rows(&["hooks.createRuntime"]),
    Case::new("hooks/signalled", "a hook that a signal kills has failed", |t| {
        t.bundle().hook("createRuntime", shell("kill -9 $$")).refused("signal|killed").map(drop)
    })
    .rows(&["failed operation"]),
    Case::new("hooks/not-executable", "a hook that cannot be executed is an error", |t| {
        let path = t.path("plain");
        fs::write(&path, "no program")?;
        for mode in [0o644, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            t.bundle().hook("createRuntime", json!({ "path": path })).refused("plain")?;
        }
        Ok(())
    })
    .rows(&["hooks.path"]),
    Case::new("hooks/path-relative-of-each-kind", "config.md: path must be absolute", |t| {
        for kind in FATAL.into_iter().chain(["poststop"]) {
            let bundle = t.bundle().hook(kind, json!({ "path": "./hook" }));
            bundle.refused("absolute|path|hook")?;
        }
        Ok(())
    })
    .rows(&["hooks.path"]),
    Case::new("hooks/timeout-zero", "config.md: timeout must be greater than zero", |t| {
        for kind in FATAL {
            let mut hook = host_hook(t, "x", &[]);
            hook["timeout"] = json!(0);
            t.bundle().hook(kind, hook).refused("timeout")?;
        }
        Ok(())
    })
    .rows(&["hooks.timeout"]),
    Case::new("hooks/timeout-of-each-kind", "config.md: then the hook is killed, which fails", |t| {
        for kind in FATAL {
            let mut hook = probing(t, kind, &["sleep=30000"]);
            hook["timeout"] = json!(1);
            let start = Instant::now();
            refused_somewhere(t, t.bundle().ops(&["sleep"]).hook(kind, hook))?;
            ensure(start.elapsed() < SOON, format!("{kind}: the timeout is not kept"))?;
        }
        Ok(())
    })
    .rows(&["hooks.timeout"]),
    Case::new("hooks/timeout-children", "the children of a hook are killed with it", |t| {
        for kind in ["createRuntime", "createContainer", "poststart"] {
            let file = t.new_path("child");
            let mut hook = shell(&format!("sleep 30 & echo $! > {}; wait", file.display()));
            hook["timeout"] = json!(1);
            refused_somewhere(t, t.bundle().ops(&["sleep"]).hook(kind, hook))?;
            let pid = fs::read_to_string(&file)?.trim().to_owned();
            let gone = || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z") || !stat.contains("(sleep)")
            };
            let ended = t.until("the child's end", gone);
            end(t, &file)?;
            ended.map_err(|_| format!("{kind}: the child of the hook lives on"))?;
        }
        Ok(())
    })
    .rows(&["hooks.timeout"])
    // In a pid namespace the shell would tell another number.
    .needs(&[Need::Root]),
    Case::new("hooks/timeout-kept", "a hook that is done in time is not disturbed", |t| {
        let mut hook = host_hook(t, "x", &["sleep=50"]);
        hook["timeout"] = json!(30);
        let bundle = t.bundle().ops(&["exit=0"]).hook("createRuntime", hook);
        let dir = bundle.dir.clone();
        bundle.run()?.ok()?;
        equal("hooks", &labels(&records(t, &dir)?), &["x"])
    })
    .rows(&["hooks.timeout"]),
    Case::new("hooks/poststart-before-return", "config.md#poststart: before start returns", |t| {
        let hook = json!({
            "path": t.probe(),
            "args": ["probe", "sleep=400", format!("record={},late", super::hooks::log(t).display())],
        });
        let c = t.bundle().ops(&["sleep"]).hook("poststart", hook).start()?;
        equal("hooks", &labels(&records(t, &c.bundle)?), &["late"])
    })
    .rows(&["hooks.poststart"]),
];

/// A shell script as a hook.
pub(super) fn shell(script: &str) -> Value {
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": [path] })
}

/// The probe as a hook of this kind.
fn probing(t: &Trial, kind: &str, words: &[&str]) -> Value {
    let path = if kind == "startContainer" { json!("/probe") } else { json!(t.probe()) };
    let mut args = vec!["probe"];
    args.extend(words);
    json!({ "path": path, "args": args })
}

/// The error of `create` or `start` for a hook of this kind that does this.
fn failing(t: &Trial, kind: &str, words: &[&str]) -> Check<String> {
    refused_somewhere(t, t.bundle().ops(&["sleep"]).hook(kind, probing(t, kind, words)))
}

/// What `create` or, where that succeeds, `start` says when it fails.
pub(super) fn refused_somewhere(t: &Trial, mut bundle: crate::bundle::Bundle<'_>) -> Check<String> {
    let id = bundle.id().to_owned();
    let created = bundle.call("create", &[])?.run()?;
    let failed = if created.code == 0 {
        t.live(&id);
        t.run(&["start", &id])?
    } else {
        created
    };
    let failed = failed.fails()?;
    if t.run(&["state", &id])?.code == 0 {
        t.run(&["delete", "--force", &id])?.ok()?;
    }
    t.gone(&id);
    Ok(failed.stderr)
}

/// Kills the process whose number is in a file.
fn end(t: &Trial, file: &std::path::Path) -> Check {
    if let Ok(pid) = fs::read_to_string(file)?.trim().parse() {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
    t.reap();
    Ok(())
}
