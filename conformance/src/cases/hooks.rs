//! Hooks: when, where, with what on standard input, and what a failure does.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{equal, strings, text};

/// Hooks that run in the runtime's namespaces, in order of their time.
const HOST: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("hooks/order", "config.md#posix-platform-hooks: all kinds, in order", |t| {
        let found = labels(&life(t)?);
        let wanted = [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ];
        equal("hooks", &found, &wanted)
    })
    .rows(&[
        "hooks.prestart",
        "hooks.createRuntime",
        "hooks.createContainer",
        "hooks.startContainer",
        "hooks.poststart",
        "hooks.poststop",
    ]),
    Case::new("hooks/at-create", "config.md#posix-platform-hooks: create and start halves", |t| {
        let c = with_all(t).create()?;
        let found = labels(&records(t, &c.bundle)?);
        equal("after create", &found, &["prestart", "createRuntime", "createContainer"])
    })
    .rows(&["hooks.createRuntime", "hooks.startContainer", "hooks.poststart"]),
    Case::new("hooks/status", "runtime.md#lifecycle: the status that each kind sees", |t| {
        for record in life(t)? {
            let status = text(&record, "/state/status")?;
            let allowed: &[&str] = match text(&record, "/label")? {
                "prestart" | "createRuntime" | "createContainer" => &["creating"],
                "startContainer" => &["created"],
                "poststart" => &["running", "stopped"],
                _ => &["stopped"],
            };
            ensure(allowed.contains(&status), format!("{status} in {}", record["label"]))?;
        }
        Ok(())
    })
    .rows(&["hooks: state"]),
    Case::new("hooks/state", "config.md#posix-platform-hooks: the state on standard input", |t| {
        for record in life(t)? {
            ensure(
                text(&record, "/state/id")?.starts_with(&t.id()),
                format!("id in {}", record["state"]),
            )?;
            ensure(text(&record, "/state/ociVersion")?.starts_with("1."), "ociVersion")?;
            ensure(
                text(&record, "/state/bundle")?.starts_with(&*t.dir().to_string_lossy()),
                format!("bundle in {}", record["state"]),
            )?;
            equal("annotations", &record["state"]["annotations"], &json!({ "key": "value" }))?;
        }
        Ok(())
    })
    .rows(&["hooks: state"]),
    Case::new("hooks/pid", "runtime.md#state: the pid in the runtime's own namespace", |t| {
        let c = with_all(t).create()?;
        let pid = c.pid()?;
        for record in records(t, &c.bundle)? {
            if HOST.contains(&text(&record, "/label")?) {
                equal("pid", &record["state"]["pid"], &json!(pid))?;
            }
        }
        Ok(())
    }),
    Case::new(
        "hooks/namespaces-host",
        "config.md: four kinds run in the runtime's namespaces",
        |t| {
            for record in life(t)? {
                if HOST.contains(&text(&record, "/label")?) {
                    for kind in ["pid", "net", "uts", "ipc", "mnt"] {
                        let own =
                            fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string();
                        equal(kind, &record["at"]["namespaces"][kind], &json!(own))?;
                    }
                }
            }
            Ok(())
        },
    )
    .rows(&["hooks.prestart", "hooks.createRuntime", "hooks.poststart", "hooks.poststop"]),
    Case::new("hooks/namespaces-container", "config.md: two kinds run in the container's", |t| {
        let c = with_all(t).start()?;
        let pid = c.pid()?;
        let own = fs::read_link(format!("/proc/{pid}/ns/net"))?.display().to_string();
        for record in records(t, &c.bundle)? {
            if !HOST.contains(&text(&record, "/label")?) {
                equal("net", &record["at"]["namespaces"]["net"], &json!(own))?;
                ensure(record["at"]["pid"].as_i64() != Some(pid), "no pid namespace")?;
            }
        }
        Ok(())
    })
    .rows(&["hooks.createContainer", "hooks.startContainer"]),
    Case::new(
        "hooks/create-container-root",
        "config.md: createContainer runs before the pivot",
        |t| {
            let list = life(t)?;
            let root = find(&list, "createContainer")?["at"]["root"].to_string();
            ensure(!root.contains("\"probe\""), format!("the root is the container's: {root}"))
        },
    )
    .rows(&["hooks.createContainer"]),
    Case::new("hooks/start-container-root", "config.md: startContainer runs in the rootfs", |t| {
        let list = life(t)?;
        let root = find(&list, "startContainer")?["at"]["root"].to_string();
        ensure(root.contains("\"probe\""), format!("the root is not the container's: {root}"))
    })
    .rows(&["hooks.startContainer"]),
    Case::new("hooks/list-order", "config.md: hooks of a kind run in the listed order", |t| {
        let mut bundle = t.bundle().ops(&["exit=0"]);
        for label in ["one", "two", "three"] {
            bundle = bundle.hook("createRuntime", host_hook(t, label, &[]));
        }
        let dir = bundle.dir.clone();
        bundle.run()?.ok()?;
        equal("hooks", &labels(&records(t, &dir)?), &["one", "two", "three"])
    })
    .rows(&["hooks: list order"]),
    Case::new("hooks/args", "config.md: args as in execv", |t| {
        let mut hook = host_hook(t, "x", &[]);
        hook["args"][0] = json!("some name");
        let record = one(t, hook)?;
        equal("args", &strings(&record, "/at/args")?[0].as_str(), &"some name")
    })
    .rows(&["hooks.args"]),
    Case::new("hooks/env", "config.md: exactly the given environment", |t| {
        let mut hook = host_hook(t, "x", &[]);
        hook["env"] = json!(["A=1", "B=two"]);
        equal("env", &strings(&one(t, hook)?, "/at/env")?, &["A=1", "B=two"])
    })
    .rows(&["hooks.env"]),
    Case::new("hooks/env-not-of-container", "CVE-2025-23266: not the container's", |t| {
        let bundle = t
            .bundle()
            .set("/process/env", json!(["LD_PRELOAD=/evil.so"]))
            .ops(&["exit=0"])
            .hook("createRuntime", host_hook(t, "x", &[]));
        let dir = bundle.dir.clone();
        bundle.run()?.ok()?;
        let env = strings(&records(t, &dir)?[0], "/at/env")?.join("\n");
        ensure(!env.contains("evil"), env)
    })
    .rows(&["hooks.env"]),
    Case::new("hooks/descriptors-of-caller", "no file of the caller leaks into a hook", |t| {
        let mut bundle = with_all(t).ops(&["exit=0"]);
        let dir = bundle.dir.clone();
        bundle.call("run", &[])?.shell("exec 7</dev/zero").run()?.ok()?;
        let list = records(t, &dir)?;
        equal("hooks", &list.len(), &6)?;
        list.iter().try_for_each(|record| {
            let fds = record["at"]["fds"].to_string();
            ensure(!fds.contains("/dev/zero"), format!("descriptors {fds} in {}", record["label"]))
        })
    }),
    Case::new("hooks/descriptors-of-runtime", "no file of the runtime leaks into a hook", |t| {
        life(t)?.iter().try_for_each(|record| {
            let mut fds = record["at"]["fds"].as_object().cloned().unwrap_or_default();
            // What this process itself inherited may pass through the runtime.
            fds.retain(|number, target| {
                let own = fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
                target.as_str() != own.to_str()
            });
            ensure(fds.len() <= 3, format!("descriptors {fds:?} in {}", record["label"]))
        })
    }),
    Case::new("hooks/poststop-on-force", "poststop runs on delete --force", |t| {
        let c = t.bundle().ops(&["sleep"]).hook("poststop", host_hook(t, "x", &[])).start()?;
        c.delete_force()?.ok()?;
        equal("hooks", &labels(&records(t, &c.bundle)?), &["x"])
    })
    .rows(&["hooks.poststop"]),
    Case::new("hooks/cgroup-exists", "config.md: createRuntime sees the container's cgroup", |t| {
        let bundle =
            t.bundle().ops(&["exit=0"]).hook("createRuntime", host_hook(t, "x", &["sleep=1"]));
        let mut bundle = bundle;
        let id = bundle.id().to_owned();
        let running = bundle.call("run", &[])?.spawn()?;
        let seen = t.until("the cgroup", || !crate::leftovers::cgroups(&id).is_empty());
        running.wait()?.ok()?;
        seen
    })
    .rows(&["hooks.createRuntime", "order of set-up"])
    .needs(&[Need::Cgroup]),
    Case::new("hooks/big-state", "a hook that reads nothing does not block", |t| {
        let annotation = "x".repeat(200_000);
        t.bundle()
            .set("/annotations", json!({ "big": annotation }))
            .ops(&["exit=0"])
            .hook("createRuntime", json!({ "path": t.probe(), "args": ["probe", "exit=0"] }))
            .run()?
            .ok()
            .map(drop)
    })
    .rows(&["hooks: state"]),
];

pub(super) fn host_hook(t: &Trial, label: &str, more: &[&str]) -> Value {
    let mut args = vec!["probe".to_owned(), format!("record={},{label}", log(t).display())];
    args.extend(more.iter().map(|word| (*word).to_owned()));
    json!({ "path": t.probe(), "args": args })
}

pub(super) fn log(t: &Trial) -> std::path::PathBuf {
    t.path("hooks.log")
}

/// A bundle with one recording hook of every kind.
fn with_all(t: &Trial) -> Bundle<'_> {
    let mut bundle = t.bundle().ops(&["sleep"]).set("/annotations", json!({ "key": "value" }));
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bundle = bundle.hook(kind, host_hook(t, kind, &[]));
    }
    let inside = json!({ "path": "/probe", "args": ["probe", "record=/hooks.log,startContainer"] });
    bundle.hook("startContainer", inside)
}

/// The records of a whole life.
fn life(t: &Trial) -> Check<Vec<Value>> {
    let c = with_all(t).start()?;
    c.kill("KILL")?.ok()?;
    c.stopped()?;
    c.delete()?.ok()?;
    records(t, &c.bundle)
}

/// What the hooks wrote; the one inside the container writes into the rootfs.
pub(super) fn records(t: &Trial, bundle: &std::path::Path) -> Check<Vec<Value>> {
    let mut list = Vec::new();
    for line in fs::read_to_string(log(t)).unwrap_or_default().lines() {
        list.push(serde_json::from_str::<Value>(line)?);
    }
    let inside = fs::read_to_string(bundle.join("rootfs/hooks.log")).unwrap_or_default();
    let place = list.iter().position(|record| record["label"] == json!("poststart"));
    for line in inside.lines() {
        list.insert(place.unwrap_or(list.len()), serde_json::from_str(line)?);
    }
    Ok(list)
}

pub(super) fn labels(records: &[Value]) -> Vec<String> {
    records.iter().map(|record| record["label"].as_str().unwrap_or_default().to_owned()).collect()
}

fn find<'v>(records: &'v [Value], label: &str) -> Check<&'v Value> {
    match records.iter().find(|record| record["label"] == json!(label)) {
        Some(record) => Ok(record),
        None => broken(format!("{label} did not run")),
    }
}

/// The record of one createRuntime hook.
pub(super) fn one(t: &Trial, hook: Value) -> Check<Value> {
    let bundle = t.bundle().ops(&["exit=0"]).hook("createRuntime", hook);
    let dir = bundle.dir.clone();
    bundle.run()?.ok()?;
    records(t, &dir)?.into_iter().next().ok_or_else(|| "the hook did not run".into())
}
