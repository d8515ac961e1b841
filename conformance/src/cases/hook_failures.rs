//! Hooks that fail or take too long, and what is left then.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::hooks::{host_hook, labels, records};
use crate::bundle::Bundle;
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("hooks/timeout", "config.md: a hook that takes too long is killed", |t| {
        let mut hook = host_hook(t, "x", &["sleep=30000"]);
        hook["timeout"] = json!(1);
        let start = Instant::now();
        t.bundle().hook("createRuntime", hook).refused("hook")?;
        ensure(start.elapsed() < Duration::from_secs(6), "the timeout is not kept")
    })
    .rows(&["hooks.timeout"]),
    Case::new("hooks/timeout-bad", "config.md: timeout must be greater than zero", |t| {
        let mut hook = host_hook(t, "x", &[]);
        hook["timeout"] = json!(-1);
        t.bundle().hook("createRuntime", hook).refused("timeout|hook").map(drop)
    })
    .rows(&["hooks.timeout"]),
    Case::new("hooks/path-relative", "config.md: path must be absolute", |t| {
        t.bundle().hook("createRuntime", json!({ "path": "true" })).refused("hook").map(drop)
    })
    .rows(&["hooks.path"]),
    Case::new("hooks/path-missing", "a missing hook is an error that names it", |t| {
        t.bundle()
            .hook("createRuntime", json!({ "path": "/no/such/hook" }))
            .refused("/no/such/hook")
            .map(drop)
    })
    .rows(&["hooks.path"]),
    Case::new("hooks/fails-prestart", "runtime.md#lifecycle: create fails, nothing is left", |t| {
        fails_create(t, "prestart")
    })
    .rows(&["failed operation", "hooks.prestart"]),
    Case::new("hooks/fails-create-runtime", "runtime.md#lifecycle: create fails", |t| {
        fails_create(t, "createRuntime")
    })
    .rows(&["failed operation", "hooks.createRuntime"]),
    Case::new("hooks/fails-create-container", "runtime.md#lifecycle: create fails", |t| {
        fails_create(t, "createContainer")
    })
    .rows(&["failed operation", "hooks.createContainer"]),
    Case::new("hooks/fails-start-container", "runtime.md#lifecycle: start fails", |t| {
        let hook = json!({ "path": "/probe", "args": ["probe", "exit=3"] });
        let c = t.bundle().ops(&["create=/ran"]).hook("startContainer", hook).create()?;
        c.start()?.code(1)?;
        ensure(!c.bundle.join("rootfs/ran").exists(), "the program ran")
    })
    .rows(&["hooks.startContainer"]),
    Case::new(
        "hooks/fails-poststart",
        "runtime.md#lifecycle: start fails, the container stops",
        |t| {
            let c = t
                .bundle()
                .ops(&["sleep"])
                .hook("poststart", host_hook(t, "x", &["exit=3"]))
                .create()?;
            c.start()?.fails()?;
            t.until("the container is stopped or gone", || {
                c.status().map_or(true, |status| status == "stopped")
            })
        },
    )
    .rows(&["hooks.poststart"]),
    Case::new(
        "hooks/fails-poststop",
        "runtime.md#lifecycle: a poststop failure is a warning",
        |t| {
            let c = t
                .bundle()
                .ops(&["exit=0"])
                .hook("poststop", host_hook(t, "one", &["exit=3"]))
                .hook("poststop", host_hook(t, "two", &[]))
                .start()?;
            c.stopped()?;
            c.delete()?.ok()?;
            equal("hooks", &labels(&records(t, &c.bundle)?), &["one", "two"])
        },
    )
    .rows(&["hooks.poststop"]),
    Case::new(
        "hooks/failure-ends-create",
        "runtime.md#lifecycle: steps 3 to 5 lead to 12, 13",
        |t| {
            for kind in ["prestart", "createRuntime", "createContainer"] {
                let bundle = t.bundle().hook(kind, host_hook(t, kind, &["exit=3"]));
                let (bundle, id, dir) = with_poststop(t, bundle);
                bundle.refused("hook")?;
                ended(t, &id, &dir, kind)?;
            }
            Ok(())
        },
    )
    .rows(&["hooks.poststop", "failed operation"]),
    Case::new(
        "hooks/failure-ends-start",
        "runtime.md#lifecycle: steps 7 and 9 lead to 12, 13",
        |t| {
            for kind in ["startContainer", "poststart"] {
                let hook = if kind == "poststart" {
                    host_hook(t, kind, &["exit=3"])
                } else {
                    json!({ "path": "/probe", "args": ["probe", "exit=3"] })
                };
                let (bundle, id, dir) =
                    with_poststop(t, t.bundle().ops(&["sleep"]).hook(kind, hook));
                bundle.create()?.start()?.fails_with("hook")?;
                t.gone(&id);
                ended(t, &id, &dir, kind)?;
            }
            Ok(())
        },
    )
    .rows(&["hooks.poststop", "hooks.startContainer", "hooks.poststart", "failed operation"]),
    Case::new(
        "hooks/failure-after-hooks",
        "what hooks have set up is cleaned up by poststop",
        |t| {
            let bundle = t.bundle().args(&["/no/such"]);
            let (bundle, id, dir) =
                with_poststop(t, bundle.hook("createRuntime", host_hook(t, "createRuntime", &[])));
            bundle.refused("no such file")?;
            ended(t, &id, &dir, "createRuntime")
        },
    )
    .rows(&["hooks.poststop"]),
    Case::new("hooks/failure-tells-of-poststop", "a poststop failure is told as a warning", |t| {
        let hook = host_hook(t, "x", &["stderr=the-reason", "exit=3"]);
        let c = t.bundle().ops(&["exit=0"]).hook("poststop", hook).start()?;
        c.stopped()?;
        let output = c.delete()?.ok()?;
        contains("standard error", &output.stderr, "the-reason")?;
        contains("level", &output.stderr, "warn")
    })
    .rows(&["hooks.poststop", "hooks: output"]),
    Case::new("hooks/first-failure-stops", "config.md: later hooks do not run", |t| {
        let bundle = t
            .bundle()
            .hook("createRuntime", host_hook(t, "one", &["exit=1"]))
            .hook("createRuntime", host_hook(t, "two", &[]));
        let dir = bundle.dir.clone();
        bundle.refused("hook")?;
        equal("hooks", &labels(&records(t, &dir)?), &["one"])
    })
    .rows(&["hooks: list order"]),
    Case::new("hooks/failure-shows-stderr", "the words of a failing hook are in the error", |t| {
        t.bundle()
            .hook("createRuntime", host_hook(t, "x", &["stderr=the-reason", "exit=3"]))
            .refused("the-reason")
            .map(drop)
    })
    .rows(&["hooks: output"]),
];

/// The same bundle with a hook that records the end.
fn with_poststop<'t>(t: &'t Trial, bundle: Bundle<'t>) -> (Bundle<'t>, String, PathBuf) {
    let bundle = bundle.hook("poststop", host_hook(t, "poststop", &[]));
    let (id, dir) = (bundle.id().to_owned(), bundle.dir.clone());
    (bundle, id, dir)
}

/// The container is gone, and its poststop hook was called, last.
fn ended(t: &Trial, id: &str, dir: &Path, kind: &str) -> Check {
    t.run(&["state", id])?.fails_with("does not exist")?;
    let list = records(t, dir)?;
    let last = list.last().ok_or_else(|| format!("no hook was called after {kind} had failed"))?;
    equal(&format!("last hook after {kind}"), text(last, "/label")?, "poststop")?;
    equal("its status", text(last, "/state/status")?, "stopped")?;
    equal("its container", text(last, "/state/id")?, id)
}

fn fails_create(t: &Trial, kind: &str) -> Check {
    let bundle = t.bundle().ops(&["create=/ran"]).hook(kind, host_hook(t, "x", &["exit=3"]));
    let ran = bundle.rootfs("ran");
    let id = bundle.id().to_owned();
    bundle.refused("hook")?;
    ensure(!ran.exists(), "the program ran")?;
    t.run(&["state", &id])?.fails_with("does not exist").map(drop)
}
