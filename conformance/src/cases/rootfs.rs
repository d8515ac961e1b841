//! The root file system: its path, propagation, read-only, without pivot_root.

use std::fs;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use super::mounts::{at, options_at};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("rootfs/propagation-private", "config-linux.md#rootfs-mount-propagation", |t| {
        root_propagation(t, "private", "")
    })
    .rows(&["linux.rootfsPropagation"]),
    Case::new("rootfs/propagation-slave", "config-linux.md#rootfs-mount-propagation", |t| {
        root_propagation(t, "slave", "master:")
    })
    .rows(&["linux.rootfsPropagation"])
    .needs(&[Need::Root]),
    Case::new("rootfs/propagation-shared", "config-linux.md#rootfs-mount-propagation", |t| {
        root_propagation(t, "shared", "shared:")
    })
    .rows(&["linux.rootfsPropagation"])
    .needs(&[Need::Root]),
    Case::new("rootfs/propagation-unbindable", "config-linux.md#rootfs-mount-propagation", |t| {
        root_propagation(t, "unbindable", "unbindable")
    })
    .rows(&["linux.rootfsPropagation"]),
    Case::new("rootfs/propagation-unknown", "config-linux.md#rootfs-mount-propagation", |t| {
        t.bundle().set("/linux/rootfsPropagation", "sideways").refused("sideways").map(drop)
    })
    .rows(&["linux.rootfsPropagation"]),
    Case::new("rootfs/readonly", "config.md#root: readonly", |t| {
        let answers = t.bundle().set("/root/readonly", true).probe(&[
            "create=/file",
            "create=/dev/shm/file",
            "mkdir=/etc/new",
        ])?;
        answers.fails("create=/file", "EROFS")?;
        answers.fails("mkdir=/etc/new", "EROFS")?;
        answers.value("create=/dev/shm/file").map(drop)
    })
    .rows(&["root"]),
    Case::new("rootfs/writable", "config.md#root: not readonly", |t| {
        t.bundle().probe(&["create=/file"])?.value("create=/file").map(drop)
    })
    .rows(&["root"]),
    Case::new("rootfs/absolute-path", "config.md#root: an absolute path", |t| {
        let bundle = t.bundle();
        let path = bundle.rootfs("").display().to_string();
        bundle.set("/root/path", path).ops(&["exit=3"]).run()?.code(3).map(drop)
    })
    .rows(&["root.path relative"]),
    Case::new("rootfs/missing", "config.md#root: the path must exist", |t| {
        t.bundle().set("/root/path", "no-such-rootfs").refused("no-such-rootfs").map(drop)
    })
    .rows(&["root.path relative"]),
    Case::new("rootfs/file", "config.md#root: the path must be a directory", |t| {
        t.bundle()
            .file("etc/file", "")
            .set("/root/path", "rootfs/etc/file")
            .refused("not a directory|rootfs")
            .map(drop)
    })
    .rows(&["root.path relative"]),
    Case::new("rootfs/host-hidden", "the host's files are out of reach", |t| {
        let path = t.dir().display().to_string();
        let answers = t.bundle().probe(&[&format!("stat={path}"), "report"])?;
        answers.fails(&format!("stat={path}"), "ENOENT")?;
        let report = answers.value("report")?;
        at(&report, "/")?;
        let outside = report["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|mount| mount["point"] == json!("/"))
            .count();
        equal("mounts at /", &outside, &1)
    }),
    Case::new("rootfs/no-pivot", "convention: --no-pivot", |t| {
        t.bundle().option(&["--no-pivot"]).ops(&["exit=3"]).run()?.code(3).map(drop)
    })
    .needs(&[Need::Root]),
    Case::new("rootfs/propagation-all", "config-linux.md: rootfsPropagation, every value", |t| {
        let values: &[(&str, &str)] = &[
            ("private", ""),
            ("rprivate", ""),
            ("shared", "shared:"),
            ("rshared", "shared:"),
            ("unbindable", "unbindable"),
            ("runbindable", "unbindable"),
        ];
        for (value, wanted) in values {
            root_propagation(t, value, wanted)?;
        }
        if t.host.root {
            root_propagation(t, "slave", "master:")?;
            root_propagation(t, "rslave", "master:")?;
        }
        Ok(())
    })
    .rows(&["linux.rootfsPropagation"]),
    Case::new(
        "rootfs/propagation-recursive",
        "config-linux.md: r… reach the mounts below",
        |t| {
            for (value, wanted) in [("rshared", "shared:"), ("runbindable", "unbindable")] {
                let bundle = t.bundle().mount("/mnt", "tmpfs", "tmpfs", &[]);
                let report = bundle.set("/linux/rootfsPropagation", value).report()?;
                let found = strings(at(&report, "/mnt")?, "/optional")?.join(" ");
                ensure(found.contains(wanted), format!("{value} gives {found:?}"))?;
            }
            Ok(())
        },
    )
    .rows(&["linux.rootfsPropagation"]),
    Case::new("rootfs/slave-receives", "config-linux.md: slave receives from the host", |t| {
        let bundle = t.bundle().directory("late").set("/linux/rootfsPropagation", "slave");
        let c = bundle.ops(&["waitfile=/go", "list=/late"]).start()?;
        let late = c.bundle.join("rootfs/late");
        mount(Some("tmpfs"), &late, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        fs::write(late.join("arrived"), "")?;
        fs::write(c.bundle.join("rootfs/go"), "")?;
        let answers = c.answers(2);
        umount2(&late, MntFlags::MNT_DETACH)?;
        equal("list", &answers?.value("list=/late")?, &json!(["arrived"]))
    })
    .needs(&[Need::Root])
    .rows(&["linux.rootfsPropagation"]),
    Case::new(
        "rootfs/shared-stays-inside",
        "config-linux.md: shared has a peer group of its own",
        |t| {
            let bundle = t.bundle().directory("inner").set("/linux/rootfsPropagation", "shared");
            let caps = json!(["CAP_SYS_ADMIN"]);
            let mut bundle = bundle.ops(&["mount=tmpfs,/inner,tmpfs,0", "echo=done"]);
            for set in ["bounding", "effective", "permitted"] {
                bundle = bundle.set(&format!("/process/capabilities/{set}"), caps.clone());
            }
            let inner = bundle.rootfs("inner").display().to_string();
            let output = bundle.run()?.ok()?;
            ensure(output.stdout.contains("\"ok\""), output.stdout)?;
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            ensure(!mounts.contains(&inner), "a mount of the container has reached the host")
        },
    )
    .needs(&[Need::Root])
    .rows(&["linux.rootfsPropagation"]),
    Case::new(
        "rootfs/readonly-with-propagation",
        "config.md#root: readonly, whatever the propagation",
        |t| {
            for value in ["shared", "slave", "private", "runbindable"] {
                let bundle = t.bundle().set("/root/readonly", true);
                let answers = bundle
                    .set("/linux/rootfsPropagation", value)
                    .mount("/tmp", "tmpfs", "tmpfs", &[])
                    .probe(&["report", "create=/file", "create=/tmp/file"])?;
                answers.fails("create=/file", "EROFS")?;
                answers.value("create=/tmp/file")?;
                let options = options_at(&answers.value("report")?, "/")?;
                ensure(options.contains(&"ro".to_owned()), format!("{value}: {options:?}"))?;
            }
            Ok(())
        },
    )
    .rows(&["root", "linux.rootfsPropagation"]),
    Case::new(
        "rootfs/no-pivot-hides-host",
        "convention: --no-pivot shows no file of the host",
        |t| {
            let path = t.dir().display().to_string();
            let op = format!("stat={path}");
            let bundle = no_pivot(t).mount("/mnt", "tmpfs", "tmpfs", &["ro"]);
            let answers =
                bundle.probe(&[&op, "stat=/../../probe", "report", "create=/mnt/file"])?;
            answers.fails(&op, "ENOENT")?;
            answers.value("stat=/../../probe")?;
            answers.fails("create=/mnt/file", "EROFS")?;
            at(&answers.value("report")?, "/").map(drop)
        },
    )
    .needs(&[Need::Root])
    .rows(&["root"]),
    Case::new("rootfs/no-pivot-readonly", "convention: --no-pivot with readonly and masks", |t| {
        let answers = no_pivot(t)
            .set("/root/readonly", true)
            .set("/linux/rootfsPropagation", "rslave")
            .probe(&["create=/file", "write=/proc/sys/kernel/hostname", "read=/proc/keys"])?;
        answers.fails("create=/file", "EROFS")?;
        answers.fails("write=/proc/sys/kernel/hostname", "EROFS")?;
        equal("masked", &answers.value("read=/proc/keys")?, &json!(""))
    })
    .needs(&[Need::Root])
    .rows(&["root"]),
    Case::new("rootfs/no-pivot-exec", "convention: exec sees the same root", |t| {
        let c = no_pivot(t).ops(&["sleep"]).start()?;
        let path = format!("stat={}", t.dir().display());
        let answers = c.exec_probe(&[], &["list=/", &path])?;
        contains("list", &answers.value("list=/")?.to_string(), "\"probe\"")?;
        answers.fails(&path, "ENOENT")
    })
    .needs(&[Need::Root])
    .rows(&["root"]),
];

fn no_pivot(t: &Trial) -> Bundle<'_> {
    t.bundle().option(&["--no-pivot"])
}

fn root_propagation(t: &Trial, value: &str, wanted: &str) -> Check {
    let report = t.bundle().set("/linux/rootfsPropagation", value).report()?;
    let found = strings(at(&report, "/")?, "/optional")?.join(" ");
    ensure(
        found.contains(wanted) && found.is_empty() == wanted.is_empty(),
        format!("{value} gives {found:?}"),
    )
}
