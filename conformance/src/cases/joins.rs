//! Namespaces that are joined by their path: who owns what, and what a path may be; clocks.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sched::CloneFlags;
use serde_json::{Value, json};

use super::namespaces::{Keeper, host, inside};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, text};

/// `CLONE_NEWTIME` (time_namespaces(7)); children get into it.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("joins/mount", "config-linux.md#namespaces: path of a mount namespace", |t| {
        let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNS)?;
        let answers = t
            .bundle()
            .join("mount", &keeper.path("mnt"))
            .file("marker", "here")
            .probe(&["report", "read=/marker"])?;
        equal("mnt", inside(&answers.value("report")?, "mnt")?, &keeper.link("mnt")?)?;
        equal("the container's root", &answers.value("read=/marker")?, &json!("here"))
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("joins/mount-exec", "exec has the container's root and finds its programs", |t| {
        let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNS)?;
        let container = t
            .bundle()
            .join("mount", &keeper.path("mnt"))
            .file("marker", "here")
            .set("/process/env", json!(["PATH=/nowhere:/"]))
            .args(&["probe", "sleep"])
            .start()?;
        let output = container.exec(&[], &["probe", "report", "read=/marker"])?.ok()?;
        let answers = crate::bundle::Answers::of(&output.stdout)?;
        equal("mnt", inside(&answers.value("report")?, "mnt")?, &keeper.link("mnt")?)?;
        equal("the container's root", &answers.value("read=/marker")?, &json!("here"))?;
        container.exec(&[], &["no-such-program"])?.fails_with("no-such-program").map(drop)
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("joins/mount-others", "who lives in the mount namespace keeps his root", |t| {
        let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNS)?;
        let root = || -> Check<(u64, u64)> {
            let found = fs::metadata(format!("/proc/{}/root/", keeper.pid()))?;
            Ok((found.dev(), found.ino()))
        };
        let before = root()?;
        let container = t.bundle().join("mount", &keeper.path("mnt")).ops(&["sleep"]).start()?;
        equal("its root", &root()?, &before)?;
        container.delete_force()?.ok().map(drop)
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("joins/time", "config-linux.md#namespaces: path of a time namespace", |t| {
        let keeper = Keeper::new(t, NEW_TIME)?;
        let report = t.bundle().join("time", &keeper.path("time")).report()?;
        equal("time", inside(&report, "time")?, &keeper.link("time")?)
    })
    .rows(&["linux.namespaces.path"])
    // Before 6.3 a process whose children get another time namespace cannot start one by vfork.
    .needs(&[Need::Root, Need::TimeNamespace, Need::Kernel(6, 3)]),
    Case::new("joins/pid-nested", "a pid namespace below another one", |t| {
        let all = json!(["CAP_SYS_ADMIN"]);
        let first = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({ "bounding": all, "effective": all, "permitted": all }),
            )
            .shell("echo ready; exec busybox unshare -p -f busybox sleep 600")
            .set("/process/env", json!(["PATH=/bin"]))
            .start()?;
        let pid = first.pid()?;
        let mut below = String::new();
        t.until("a process in the inner namespace", || {
            let children = format!("/proc/{pid}/task/{pid}/children");
            below = fs::read_to_string(children).unwrap_or_default().trim().to_owned();
            let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
            !below.is_empty() && of(&below).is_some_and(|inner| Some(inner) != of(&pid.to_string()))
        })?;
        let path = format!("/proc/{below}/ns/pid");
        let link = fs::read_link(&path)?.display().to_string();
        let second = t.bundle().join("pid", &path).ops(&["sleep"]).start()?;
        let pid = second.pid()?;
        equal("pid", &fs::read_link(format!("/proc/{pid}/ns/pid"))?.display().to_string(), &link)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        ensure(line.split_whitespace().count() >= 3, format!("NSpid:{line}"))?;
        let ids = second.exec_probe(&[], &["report"])?.value("report")?;
        equal("pid of exec", inside(&ids, "pid")?, &link)
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::Busybox]),
    Case::new("joins/new-user", "a new user namespace with a network of the host's", |t| {
        let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNET)?;
        let report = t
            .bundle()
            .user_namespace()
            .unmount("/sys")
            .join("network", &keeper.path("net"))
            .report()?;
        equal("net", inside(&report, "net")?, &keeper.link("net")?)?;
        ensure(inside(&report, "user")? != host("user")?, "user is the host's")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("joins/new-user-exec", "exec in such a container", |t| {
        let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)?;
        let container = t
            .bundle()
            .user_namespace()
            .unmount("/sys")
            .unmount("/dev/mqueue")
            .join("network", &keeper.path("net"))
            .join("ipc", &keeper.path("ipc"))
            .ops(&["sleep"])
            .start()?;
        let report = container.exec_probe(&[], &["report"])?.value("report")?;
        equal("net", inside(&report, "net")?, &keeper.link("net")?)?;
        equal("ipc", inside(&report, "ipc")?, &keeper.link("ipc")?)
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new(
        "joins/user-and-others",
        "a joined user namespace and a network of the host's",
        |t| {
            let first = t.bundle().user_namespace().ops(&["sleep"]).start()?;
            let user = format!("/proc/{}/ns/user", first.pid()?);
            let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNET)?;
            let report = t
                .bundle()
                .user_namespace()
                .join("user", &user)
                .unmount("/sys")
                .join("network", &keeper.path("net"))
                .report()?;
            equal("net", inside(&report, "net")?, &keeper.link("net")?)?;
            equal("user", inside(&report, "user")?, &fs::read_link(user)?.display().to_string())
        },
    )
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("joins/new-user-mount", "a mount namespace that it has no rights over", |t| {
        let keeper = Keeper::new(t, CloneFlags::CLONE_NEWNS)?;
        t.bundle()
            .user_namespace()
            .join("mount", &keeper.path("mnt"))
            .refused("mount|permi")
            .map(drop)
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("joins/own", "the path of a namespace that the runtime is in", |t| {
        let mut bundle = t.bundle().remove("/hostname").unmount("/dev/mqueue");
        let kinds = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];
        for (kind, file) in kinds {
            bundle = bundle.join(kind, &format!("/proc/self/ns/{file}"));
        }
        let report = bundle.report()?;
        for (_, file) in kinds {
            equal(file, inside(&report, file)?, &host(file)?)?;
        }
        Ok(())
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("joins/own-user", "the path of the runtime's own user namespace", |t| {
        let report = t.bundle().join("user", "/proc/self/ns/user").report()?;
        equal("user", inside(&report, "user")?, &host("user")?)
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("joins/relative", "config-linux.md#namespaces: the path is absolute", |t| {
        let mut bundle = t.bundle().join("network", "proc/self/ns/net");
        bundle.call("create", &[])?.cwd("/").run()?.fails_with("namespace|path|absolute").map(drop)
    })
    .rows(&["linux.namespaces.path"]),
    Case::new("joins/directory", "a directory is no namespace", |t| {
        t.bundle()
            .join("ipc", "/proc/self/ns")
            .refused("namespace|setns|invalid|directory")
            .map(drop)
    })
    .rows(&["linux.namespaces.path"]),
    Case::new("time/negative", "time_namespaces(7): clocks can be set back", |t| {
        let report =
            clocks(t, json!({ "boottime": { "secs": -1, "nanosecs": 500_000_000 } })).report()?;
        let offsets = text(&report, "/timens_offsets")?;
        let words: Vec<&str> = offsets.split_whitespace().collect();
        equal("offsets", &words, &["monotonic", "0", "0", "boottime", "-1", "500000000"])
    })
    .rows(&["linux.timeOffsets"])
    .needs(&[Need::TimeNamespace]),
    Case::new("time/nanoseconds", "a second or more in nanosecs is an error", |t| {
        clocks(t, json!({ "monotonic": { "secs": 1, "nanosecs": 1_000_000_000 } }))
            .refused("time|invalid|range")
            .map(drop)
    })
    .rows(&["linux.timeOffsets"])
    .needs(&[Need::TimeNamespace]),
    Case::new("time/before-boot", "no clock can be set before its zero", |t| {
        clocks(t, json!({ "monotonic": { "secs": -2_000_000_000 } }))
            .refused("time|range|result")
            .map(drop)
    })
    .rows(&["linux.timeOffsets"])
    .needs(&[Need::TimeNamespace]),
    Case::new("time/without-namespace", "offsets need a time namespace", |t| {
        clocks(t, json!({ "boottime": { "secs": 1 } }))
            .without_namespace("time")
            .refused("time")
            .map(drop)
    })
    .rows(&["linux.timeOffsets"]),
    Case::new("time/other-clock", "only two clocks have an offset", |t| {
        clocks(t, json!({ "realtime": { "secs": 1 } })).refused("time|clock|invalid").map(drop)
    })
    .rows(&["linux.timeOffsets"])
    .needs(&[Need::TimeNamespace]),
    Case::new("time/joined", "the clocks of a time namespace that exists stay", |t| {
        let keeper = Keeper::new(t, NEW_TIME)?;
        clocks(t, json!({ "boottime": { "secs": 1 } }))
            .join("time", &keeper.path("time"))
            .refused("time")
            .map(drop)
    })
    .rows(&["linux.timeOffsets"])
    .needs(&[Need::Root, Need::TimeNamespace, Need::Kernel(6, 3)]),
];

fn clocks(t: &Trial, offsets: Value) -> Bundle<'_> {
    t.bundle().namespace("time").set("/linux/timeOffsets", offsets)
}
