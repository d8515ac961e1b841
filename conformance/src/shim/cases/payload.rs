//! What the programs of containers get from the shim, and hooks.

use serde_json::{Value, json};

use super::life::ROOT;
use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::shim::daemon::{Daemon, with};
use crate::shim::messages::{probe, process};
use crate::shim::stdio::{Stdio, outlet};
use crate::shim::task::Creation;
use crate::value::{contains, equal};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "shim-payload/descriptors",
        "a program has its streams and nothing of the shim",
        |t| {
            with(t, |d| {
                let text = output(d, t.bundle().ops(&["list=/proc/self/fd"]))?;
                equal("descriptors", &descriptors(&text)?, &OWN)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-payload/descriptors-exec", "the same for an exec", |t| {
        with(t, |d| {
            let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
            // Others that are open at the same time do not come along either.
            let (stdout, _other) = outlet(t, "other")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            task.exec("other", &probe(&["sleep"]), stdio).ok()?;
            task.start("other").ok()?;
            let (stdout, mut out) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            task.exec("e", &probe(&["list=/proc/self/fd"]), stdio).ok()?;
            task.start("e").ok()?;
            task.ends("e", 0)?;
            equal("descriptors", &descriptors(&out.rest()?)?, &OWN)
        })
    })
    .needs(ROOT),
    Case::new("shim-payload/signals", "no signal is blocked or ignored in a program", |t| {
        with(t, |d| {
            // The shell would ignore signals of its own accord.
            let b = t.bundle().shell("").args(&["/bin/busybox", "cat", "/proc/self/status"]);
            let text = output(d, b)?;
            plain_signals(&text)
        })
    })
    .needs(&[Need::Root, Need::Busybox]),
    Case::new("shim-payload/signals-exec", "the same for an exec", |t| {
        with(t, |d| {
            let task = d.start(t.bundle().shell("exec sleep 600"), Stdio::default())?;
            let (stdout, mut out) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let spec = process(&["/bin/busybox", "cat", "/proc/self/status"]);
            task.exec("e", &spec, stdio).ok()?;
            task.start("e").ok()?;
            task.ends("e", 0)?;
            plain_signals(&out.rest()?)
        })
    })
    .needs(&[Need::Root, Need::Busybox]),
    Case::new(
        "shim-payload/stream-owner",
        "the user of the process can open its streams again",
        |t| {
            with(t, |d| {
                let b = t.bundle().set("/process/user/uid", 1234).set("/process/user/gid", 1234);
                let text = output(d, b.ops(&["write=/proc/self/fd/1"]))?;
                contains("the write", &text, "\"ok\":true")
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-payload/user-namespace",
        "a container with a user namespace, and its exec",
        |t| {
            with(t, |d| {
                let (stdout, mut out) = outlet(t, "out")?;
                let task =
                    d.start(t.bundle().user_namespace().ops(&["sleep"]), Stdio::default())?;
                let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
                task.exec("e", &probe(&["read=/proc/self/uid_map"]), stdio).ok()?;
                task.start("e").ok()?;
                task.ends("e", 0)?;
                contains("the map", &out.rest()?, "200000")
            })
        },
    )
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new(
        "shim-hooks/failure",
        "a hook that fails ends the create, which leaves nothing",
        |t| {
            with(t, |d| {
                let hook = json!({ "path": t.probe(), "args": ["probe", "exit=1"] });
                let task = d.launch(t.bundle().ops(&["sleep"]).hook("createRuntime", hook))?;
                let words = task.create(Creation::default()).fails()?.message;
                contains("the refusal", &words, "hook")?;
                ensure(!t.state_root().join(&task.id).exists(), "its state is still there")?;
                d.story(&task, "")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-hooks/poststop", "poststop runs at Delete", |t| {
        with(t, |d| {
            let mark = t.path("mark");
            let create = format!("create={}", mark.display());
            let hook = json!({ "path": t.probe(), "args": ["probe", create] });
            let task =
                d.start(t.bundle().ops(&["exit=0"]).hook("poststop", hook), Stdio::default())?;
            task.ends("", 0)?;
            ensure(!mark.exists(), "it ran before")?;
            task.delete("").ok()?;
            ensure(mark.exists(), "it did not run")
        })
    })
    .needs(ROOT),
];

/// The streams, and the directory that is being listed.
const OWN: [&str; 4] = ["0", "1", "2", "3"];

/// Runs a bundle to its end, and returns its output.
fn output<'t>(d: &Daemon<'t>, bundle: Bundle<'t>) -> Check<String> {
    let (stdout, mut out) = outlet(d.trial, "out")?;
    let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
    let task = d.start(bundle, stdio)?;
    task.ends("", 0)?;
    out.rest()
}

fn descriptors(text: &str) -> Check<Vec<String>> {
    let list = Answers::of(text)?.value("list=/proc/self/fd")?;
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut list: Vec<String> = list.as_array().into_iter().flatten().map(name).collect();
    list.sort();
    Ok(list)
}

fn plain_signals(status: &str) -> Check {
    for key in ["SigBlk", "SigIgn"] {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        equal(key, &line.map(str::trim), &Some("0000000000000000"))?;
    }
    Ok(())
}
