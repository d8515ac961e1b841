//! The command `mounts` that crun has: mounts of a container that exists.

use std::fs;

use serde_json::{Value, json};

use super::mounts::{at, options_at};
use crate::bundle::Bundle;
use crate::call::Output;
use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "mounts-command/add-and-remove",
        "convention: mounts add makes each mount of the file, mounts remove takes it away",
        |t| added_and_removed(t, t.bundle()),
    )
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/user-namespace",
        "convention: mounts add in a container with a user namespace",
        |t| added_and_removed(t, t.bundle().user_namespace()),
    )
    .needs(&[Need::Command("mounts"), Need::Root, Need::UserNamespace]),
    Case::new("mounts-command/before-start", "convention: mounts add before start", |t| {
        let c = t.bundle().directory("new").ops(&["report"]).create()?;
        change(&c, "add", &json!([tmpfs("/new", &["size=64k"])]))?.ok()?;
        c.start()?.ok()?;
        let report = c.answers(1)?.value("report")?;
        equal("type", text(at(&report, "/new")?, "/type")?, "tmpfs")
    })
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/options",
        "convention: mounts add takes the options of config.json",
        |t| {
            let c = t.bundle().directory("new").ops(&["sleep"]).start()?;
            let options = ["ro", "nosuid", "nodev", "noexec", "noatime", "size=64k", "nr_inodes=99"];
            change(&c, "add", &json!([tmpfs("/new", &options)]))?.ok()?;
            let found = options_at(&report(&c)?, "/new")?;
            let has = |word: &&str| found.iter().any(|option| option == word);
            ensure(options.iter().all(has), format!("{found:?}"))
        },
    )
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/all-or-none",
        "convention: when one mount cannot be added, none is",
        |t| {
            let c = t.bundle().directory("one").directory("two").ops(&["sleep"]).start()?;
            let mounts = json!([tmpfs("/one", &[]), tmpfs("/two", &["nonsense=1"])]);
            contains("error", &change(&c, "add", &mounts)?.fails()?.stderr, "nonsense")?;
            ensure(at(&report(&c)?, "/one").is_err(), "the first mount is there")?;
            c.is("running")
        },
    )
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/all-or-none-anywhere",
        "convention: none stays when one fails, wherever the others are",
        |t| {
            let c = t.bundle().directory("two").ops(&["sleep"]).start()?;
            let file = t.path("source");
            fs::write(&file, "")?;
            let last = tmpfs("/two", &["nonsense=1"]);
            for first in [
                bind(&file.to_string_lossy(), "/proc/cpuinfo", &[]),
                bind("/tmp", "/sys/kernel", &[]),
            ] {
                let place = text(&first, "/destination")?;
                change(&c, "add", &json!([first]))?.ok()?;
                at(&report(&c)?, place)?;
                let before = places(&c)?;
                let output = change(&c, "add", &json!([first, last]))?.fails()?;
                contains("error", &output.stderr, "nonsense")?;
                equal("mounts", &places(&c)?, &before)?;
            }
            Ok(())
        },
    )
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/propagation",
        "convention: mounts add can have a bind mount shared",
        |t| {
            let c = t.bundle().directory("new").ops(&["sleep"]).start()?;
            add_shared(t, &c)?;
            let lines = fs::read_to_string(format!("/proc/{}/mountinfo", c.pid()?))?;
            let line = lines.lines().find(|line| line.contains(" /new "));
            contains("mount", line.unwrap_or_default(), " shared:")
        },
    )
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/stays-inside",
        "convention: what is added is in the container's mount namespace alone",
        |t| {
            let c = t.bundle().directory("new").ops(&["sleep"]).start()?;
            add_shared(t, &c)?;
            at(&report(&c)?, "/new")?;
            let host = fs::read_to_string("/proc/self/mountinfo")?;
            ensure(!host.contains("/rootfs/new"), "the mount is on the host")
        },
    )
    .needs(&[Need::Command("mounts")]),
    Case::new("mounts-command/refused", "convention: what cannot be added is an error", |t| {
        let c = t.bundle().directory("new").ops(&["sleep"]).start()?;
        for mount in [
            tmpfs("/", &[]),
            tmpfs("/proc/sys", &[]),
            tmpfs("/proc", &[]),
            json!({"destination": "/new", "options": ["remount", "rw"]}),
            json!({"destination": "/new"}),
            json!({"destination": "/new", "type": "bind", "source": "/nonexistent", "options": ["bind"]}),
        ] {
            let output = change(&c, "add", &json!([mount]))?;
            ensure(output.code != 0, format!("{mount} is added"))?;
        }
        for place in ["/", "/proc", "/proc/sys", "/sys", "/new", "/nonexistent"] {
            let output = change(&c, "remove", &json!([{ "destination": place }]))?;
            ensure(output.code != 0, format!("{place} is removed"))?;
        }
        for wrong in ["", "{}", "[{}]", "{\"mounts\": 1}", "[{\"destination\": 1}]"] {
            let output = c.trial.call(&["mounts", "add", &c.id, "-"]).stdin(wrong)?.run()?;
            ensure(output.code != 0, format!("{wrong:?} is accepted"))?;
        }
        c.is("running")
    })
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "mounts-command/status",
        "convention: a container that is not there or has stopped has no mounts to change",
        |t| {
            let c = t.bundle().ops(&["sleep"]).start()?;
            let file = t.path("mounts.json");
            fs::write(&file, json!([tmpfs("/new", &[])]).to_string())?;
            let file = file.to_string_lossy().into_owned();
            t.run(&["mounts", "add", "no-such-container", &file])?.fails_with("does not exist")?;
            t.run(&["mounts", "frobnicate", &c.id, &file])?.fails()?;
            c.kill("KILL")?.ok()?;
            c.stopped()?;
            for verb in ["add", "remove"] {
                t.run(&["mounts", verb, &c.id, &file])?.fails_with("container not running")?;
            }
            Ok(())
        },
    )
    .needs(&[Need::Command("mounts")]),
];

/// Adds a shared bind mount at `/new`.
fn add_shared(t: &Trial, c: &Container<'_>) -> Check {
    let source = t.path("source");
    fs::create_dir(&source)?;
    let mounts = json!([bind(&source.to_string_lossy(), "/new", &["rshared"])]);
    change(c, "add", &mounts)?.ok().map(drop)
}

fn added_and_removed(t: &Trial, bundle: Bundle<'_>) -> Check {
    let source = t.path("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "content")?;
    let source = source.to_string_lossy().into_owned();
    let bundle = bundle.directory("directory").directory("new").file("plain", "");
    let c = bundle.ops(&["sleep"]).start()?;
    let mounts = json!([
        bind(&source, "/directory", &["ro"]),
        bind(&format!("{source}/file"), "/plain", &[]),
        tmpfs("/new", &["size=64k"]),
    ]);
    change(&c, "add", &mounts)?.ok()?;
    let found = report(&c)?;
    equal("type", text(at(&found, "/new")?, "/type")?, "tmpfs")?;
    ensure(options_at(&found, "/directory")?.contains(&"ro".to_owned()), "is read-only")?;
    for path in ["/directory/file", "/plain"] {
        c.exec_probe(&[], &[&format!("read={path}")])?.value(&format!("read={path}"))?;
    }
    // A whole configuration does as well.
    change(&c, "remove", &json!({ "mounts": mounts, "ociVersion": "1.0.0" }))?.ok()?;
    let left = report(&c)?;
    for place in ["/directory", "/plain", "/new"] {
        ensure(at(&left, place).is_err(), format!("{place} is still mounted"))?;
    }
    change(&c, "add", &mounts)?.ok()?;
    c.kill("KILL")?.ok()?;
    c.stopped()?;
    c.delete()?.ok().map(drop)
}

fn report(c: &Container<'_>) -> Check<Value> {
    c.exec_probe(&[], &["report"])?.value("report")
}

/// The places of all mounts.
fn places(c: &Container<'_>) -> Check<Vec<String>> {
    let lines = fs::read_to_string(format!("/proc/{}/mountinfo", c.pid()?))?;
    Ok(lines.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect())
}

/// Calls `mounts` with a file of these mounts.
pub(super) fn change(c: &Container<'_>, verb: &str, mounts: &Value) -> Check<Output> {
    let file = c.trial.new_path("mounts");
    fs::write(&file, mounts.to_string())?;
    c.trial.run(&["mounts", verb, &c.id, &file.to_string_lossy()])
}

/// A mount of a new tmpfs.
pub(super) fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bind(source: &str, destination: &str, more: &[&str]) -> Value {
    let mut options = vec!["bind"];
    options.extend(more);
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}
