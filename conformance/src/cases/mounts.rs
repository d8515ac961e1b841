//! Mounts: file systems, flags, bind mounts, destinations.

use std::fs;

use serde_json::{Value, json};

use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("mounts/default-filesystems", "config-linux.md#default-filesystems", |t| {
        let report = t.bundle().report()?;
        for (point, kind) in [
            ("/proc", "proc"),
            ("/sys", "sysfs"),
            ("/dev/pts", "devpts"),
            ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"),
            ("/dev", "tmpfs"),
        ] {
            equal(point, text(at(&report, point)?, "/type")?, kind)?;
        }
        Ok(())
    })
    .rows(&["default filesystems"]),
    Case::new("mounts/ro", "config.md#mounts: ro", |t| flags(t, &["ro"], &["ro"], &["rw"]))
        .rows(&["mounts.options: flags"]),
    Case::new("mounts/rw", "config.md#mounts: rw", |t| flags(t, &["ro", "rw"], &["rw"], &["ro"]))
        .rows(&["mounts.options: flags"]),
    Case::new("mounts/nosuid", "config.md#mounts: nosuid", |t| {
        flags(t, &["nosuid"], &["nosuid"], &[])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/suid", "config.md#mounts: suid", |t| {
        flags(t, &["nosuid", "suid"], &[], &["nosuid"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/nodev", "config.md#mounts: nodev", |t| flags(t, &["nodev"], &["nodev"], &[]))
        .rows(&["mounts.options: flags"]),
    Case::new("mounts/dev", "config.md#mounts: dev", |t| {
        flags(t, &["nodev", "dev"], &[], &["nodev"])
    })
    .rows(&["mounts.options: flags"])
    .needs(&[Need::Root]),
    Case::new("mounts/noexec", "config.md#mounts: noexec", |t| {
        flags(t, &["noexec"], &["noexec"], &[])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/exec", "config.md#mounts: exec", |t| {
        flags(t, &["noexec", "exec"], &[], &["noexec"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/noatime", "config.md#mounts: noatime", |t| {
        flags(t, &["noatime"], &["noatime"], &["relatime"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/relatime", "config.md#mounts: relatime", |t| {
        flags(t, &["relatime"], &["relatime"], &["noatime"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/strictatime", "config.md#mounts: strictatime", |t| {
        flags(t, &["strictatime"], &[], &["relatime", "noatime"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/nodiratime", "config.md#mounts: nodiratime", |t| {
        flags(t, &["nodiratime"], &["nodiratime"], &[])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/diratime", "config.md#mounts: diratime", |t| {
        flags(t, &["nodiratime", "diratime"], &[], &["nodiratime"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/sync", "config.md#mounts: sync", |t| flags(t, &["sync"], &["sync"], &[]))
        .rows(&["mounts.options: flags"]),
    Case::new("mounts/async", "config.md#mounts: async", |t| {
        flags(t, &["sync", "async"], &[], &["sync"])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/dirsync", "config.md#mounts: dirsync", |t| {
        flags(t, &["dirsync"], &["dirsync"], &[])
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/nosymfollow", "config.md#mounts: nosymfollow", |t| {
        flags(t, &["nosymfollow"], &["nosymfollow"], &[])
    })
    .rows(&["mounts.options: nosymfollow"]),
    Case::new("mounts/lazytime", "config.md#mounts: lazytime", |t| {
        flags(t, &["lazytime"], &["lazytime"], &[])
    })
    .rows(&["mounts.options: lazytime"]),
    Case::new("mounts/silent", "config.md#mounts: silent, loud", |t| {
        flags(t, &["silent"], &[], &[])?;
        flags(t, &["loud"], &[], &[])
    })
    .rows(&["mounts.options: silent"]),
    Case::new("mounts/all-flags", "config.md#mounts: flags together", |t| {
        flags(
            t,
            &["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"],
            &["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"],
            &[],
        )
    })
    .rows(&["mounts.options: flags"]),
    Case::new("mounts/tmpfs-options", "config.md#mounts: data of the file system", |t| {
        let report = t
            .bundle()
            .mount("/mnt", "tmpfs", "tmpfs", &["size=64k", "mode=1750", "nr_inodes=100"])
            .ops(&["report", "stat=/mnt"])
            .run()?
            .ok()?;
        let answers = crate::bundle::Answers::of(&report.stdout)?;
        let node = answers.value("stat=/mnt")?;
        equal("mode", text(&node, "/mode")?, "1750")?;
        let found = answers.value("report")?;
        let data = strings(at(&found, "/mnt")?, "/super")?;
        ensure(data.contains(&"size=64k".to_owned()), format!("{data:?}"))?;
        ensure(data.contains(&"nr_inodes=100".to_owned()), format!("{data:?}"))
    })
    .rows(&["mounts.options: data"]),
    Case::new("mounts/tmpfs-keeps-mode", "convention: a tmpfs takes the mode below it", |t| {
        let bundle =
            t.bundle().directory("data").mode("data", 0o711).mount("/data", "tmpfs", "tmpfs", &[]);
        equal("mode", text(&bundle.probe(&["stat=/data"])?.value("stat=/data")?, "/mode")?, "0711")
    }),
    Case::new("mounts/tmpcopyup", "config.md#mounts: tmpcopyup", |t| {
        let answers = t
            .bundle()
            .file("data/sub/file", "content")
            .mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"])
            .probe(&["read=/data/sub/file"])?;
        equal("file", &answers.value("read=/data/sub/file")?, &json!("content"))
    })
    .rows(&["mounts.options: tmpcopyup"])
    .needs(&[Need::Root]),
    Case::new("mounts/unknown-option", "an option that the file system does not know fails", |t| {
        t.bundle().mount("/mnt", "tmpfs", "tmpfs", &["no_such_option"]).refused("/mnt").map(drop)
    })
    .rows(&["mounts.options: data"]),
    Case::new("mounts/unknown-type", "a file system that the kernel does not know fails", |t| {
        t.bundle().mount("/mnt", "no_such_fs", "x", &[]).refused("/mnt").map(drop)
    }),
    Case::new("mounts/order", "config.md#mounts: in the listed order", |t| {
        let report = t
            .bundle()
            .mount("/a", "tmpfs", "first", &[])
            .mount("/a/b", "tmpfs", "second", &[])
            .mount("/a", "tmpfs", "third", &["ro"])
            .report()?;
        let list: Vec<_> = report["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|mount| mount["point"].as_str().is_some_and(|point| point.starts_with("/a")))
            .map(|mount| mount["source"].as_str().unwrap_or_default())
            .collect();
        equal("sources", &list, &["first", "second", "third"])
    })
    .rows(&["mounts"]),
    Case::new("mounts/destination-made", "convention: a missing destination is made", |t| {
        let report = t.bundle().mount("/new/deep/place", "tmpfs", "tmpfs", &[]).report()?;
        at(&report, "/new/deep/place").map(drop)
    })
    .rows(&["mounts: missing target"]),
    Case::new("mounts/destination-relative", "config.md#mounts: from / (deprecated)", |t| {
        let report = t.bundle().mount("srv/data", "tmpfs", "tmpfs", &[]).report()?;
        at(&report, "/srv/data").map(drop)
    })
    .rows(&["mounts.destination"]),
    Case::new("mounts/destination-dotdot", "a destination never leaves the rootfs", |t| {
        // Refused, or taken as a place inside.
        let bundle = t.bundle().directory("srv").ops(&["report"]);
        let output = bundle.mount("/srv/../../../../conf-dotdot", "tmpfs", "tmpfs", &[]).run()?;
        if output.code != 0 {
            return contains("error", &output.stderr, "conf-dotdot");
        }
        let report = crate::bundle::Answers::of(&output.stdout)?.value("report")?;
        at(&report, "/conf-dotdot").map(drop)
    })
    .rows(&["mounts: inside the root"]),
    Case::new("mounts/destination-link", "an absolute link stays inside the rootfs", |t| {
        let target = t.path("outside");
        fs::create_dir(&target)?;
        let bundle = t.bundle().link("link", &target.display().to_string()).mount(
            "/link/sub",
            "tmpfs",
            "tmpfs",
            &[],
        );
        let report = bundle.report()?;
        at(&report, &format!("{}/sub", target.display()))?;
        ensure(fs::read_dir(&target)?.next().is_none(), "something was made on the host")
    })
    .rows(&["mounts: inside the root"]),
    Case::new("mounts/destination-link-dotdot", "a relative link stays inside the rootfs", |t| {
        let bundle = t.bundle().directory("a").link("a/link", "../../../../../../conf-up").mount(
            "/a/link",
            "tmpfs",
            "tmpfs",
            &[],
        );
        at(&bundle.report()?, "/conf-up").map(drop)
    })
    .rows(&["mounts: inside the root"]),
    Case::new("mounts/destination-root", "a mount over / is refused or hides nothing", |t| {
        t.bundle().mount("/", "tmpfs", "tmpfs", &[]).ran_or_refused()
    }),
    Case::new("mounts/proc-options", "proc takes hidepid", |t| {
        let report =
            t.bundle().set("/mounts/0/options", json!(["nosuid", "hidepid=2"])).report()?;
        let data = strings(at(&report, "/proc")?, "/super")?.join(",");
        ensure(data.contains("hidepid="), data)
    })
    .rows(&["mounts.options: data"]),
    Case::new("mounts/cgroup-view", "convention: type cgroup shows the container's cgroup", |t| {
        let answers = t
            .bundle()
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"])
            .probe(&[
                "report",
                "list=/sys/fs/cgroup",
                "mkdir=/sys/fs/cgroup/x",
                "mkdir=/sys/fs/cgroup/memory/x",
            ])?;
        let report = answers.value("report")?;
        let view = if t.host.v2 { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
        let options = strings(at(&report, view)?, "/options")?;
        ensure(options.contains(&"ro".to_owned()), format!("{options:?}"))?;
        let list = answers.value("list=/sys/fs/cgroup")?.to_string();
        let wanted = if t.host.v2 { "cgroup.procs" } else { "memory" };
        ensure(list.contains(wanted), list)?;
        answers.fails(&format!("mkdir={view}/x"), "EROFS")
    })
    .needs(&[Need::Cgroup]),
    Case::new("mounts/cgroup-view-limits", "the view holds this container's files", |t| {
        let file = if t.host.v2 {
            "read=/sys/fs/cgroup/pids.max"
        } else {
            "read=/sys/fs/cgroup/pids/pids.max"
        };
        let answers = t
            .bundle()
            .set("/linux/resources/pids/limit", 77)
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
            .probe(&[file])?;
        equal("pids.max", answers.value(file)?.as_str().unwrap_or_default().trim(), "77")
    })
    .needs(&[Need::Controller("pids")]),
    Case::new("mounts/none", "config.md#mounts: the list may be absent", |t| {
        t.bundle()
            .remove("/mounts")
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths")
            .ops(&["exit=5"])
            .run()?
            .code(5)
            .map(drop)
    })
    .rows(&["mounts"]),
    Case::new("mounts/many", "200 mounts", |t| {
        let mut bundle = t.bundle();
        for index in 0..200 {
            bundle = bundle.mount(&format!("/m/{index}"), "tmpfs", "tmpfs", &["size=4k"]);
        }
        at(&bundle.report()?, "/m/199").map(drop)
    })
    .rows(&["mounts"]),
];

/// The last mount at this point.
pub(super) fn at<'v>(report: &'v Value, point: &str) -> Check<&'v Value> {
    let list = report["mounts"].as_array();
    match list.and_then(|list| list.iter().rev().find(|mount| mount["point"] == json!(point))) {
        Some(mount) => Ok(mount),
        None => broken(format!("nothing is mounted at {point}")),
    }
}

/// Per-mount and file system options of the last mount at this point.
pub(super) fn options_at(report: &Value, point: &str) -> Check<Vec<String>> {
    let mount = at(report, point)?;
    let mut found = strings(mount, "/options")?;
    found.extend(strings(mount, "/super")?.into_iter().filter(|word| word != "rw" && word != "ro"));
    Ok(found)
}

fn flags(t: &Trial, options: &[&str], wanted: &[&str], unwanted: &[&str]) -> Check {
    let report = t.bundle().mount("/mnt", "tmpfs", "tmpfs", options).report()?;
    let found = options_at(&report, "/mnt")?;
    let has = |word: &&str| found.iter().any(|option| option == word);
    ensure(wanted.iter().all(has), format!("{options:?} gives {found:?}"))?;
    ensure(!unwanted.iter().any(has), format!("{options:?} gives {found:?}"))
}
