//! Faked file systems of the kernel, and masks that land elsewhere.

use std::fs;

use serde_json::{Value, json};

use super::{Trap, answers, bare_dev, source, untouched};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::value::equal;

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/proc-fake-type", "CVE-2015-1334: a tmpfs as /proc", |t| {
        t.bundle().unmount("/proc").mount("/proc", "tmpfs", "tmpfs", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/proc-fake-bind", "CVE-2019-16884: a directory of the host as /proc", |t| {
        t.bundle().unmount("/proc").bind(&source(t)?, "/proc", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-over-proc-volume", "CVE-2019-16884: a volume over /proc", |t| {
        t.bundle().bind(&source(t)?, "/proc", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-over-proc-file", "CVE-2025-52881: a mount below /proc", |t| {
        let file = source(t)?.join("file");
        t.bundle().bind(&file, "/proc/sys/kernel/hostname", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-over-proc-self", "CVE-2025-52881: a mount over /proc/self", |t| {
        t.bundle().mount("/proc/self/attr", "tmpfs", "tmpfs", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-over-proc-link", "CVE-2019-16884: the same through a link", |t| {
        let b = t.bundle().link("innocent", "proc").bind(&source(t)?, "/innocent/sys", &[]);
        b.refused("").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-over-proc-dotdot", "CVE-2019-16884: the same with `..`", |t| {
        t.bundle().bind(&source(t)?, "/tmp/../proc/sys", &[]).refused("").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mask-via-dev-null-symlink", "CVE-2025-31133: /dev/null is a link", |t| {
        let b = bare_dev(t).link("dev/null", "../etc/secret").file("etc/secret", "secret");
        masked(b)
    }),
    Case::new("attacks/mask-via-dev-null-file", "CVE-2025-31133: /dev/null is a file", |t| {
        masked(bare_dev(t).file("dev/null", "writable"))
    }),
    Case::new(
        "attacks/mask-symlink-host",
        "CVE-2019-19921: a masked path leads to the host",
        |t| {
            let trap = Trap::new(t)?;
            let inside = trap.path("precious");
            let b = t
                .bundle()
                .file(&inside, "inside")
                .link("etc/masked", &inside)
                .set("/linux/maskedPaths", json!(["/etc/masked"]));
            if let Some(answers) = answers(b, &["read=/etc/masked"])? {
                let shown = answers.value("read=/etc/masked").is_ok_and(|text| text != json!(""));
                ensure(!shown, "the path is not masked inside")?;
            }
            trap.holds()
        },
    ),
    Case::new("attacks/readonly-symlink-host", "a read-only path leads to the host", |t| {
        let trap = Trap::new(t)?;
        let inside = trap.path("precious");
        let b = t
            .bundle()
            .file(&inside, "inside")
            .link("etc/fixed", &inside)
            .set("/linux/readonlyPaths", json!(["/etc/fixed"]));
        if let Some(answers) = answers(b, &["write=/etc/fixed"])? {
            answers.fails("write=/etc/fixed", "EROFS")?;
        }
        trap.holds()
    }),
    Case::new("attacks/sysctl-redirect", "CVE-2025-52881: a sysctl through a link", |t| {
        let trap = Trap::with(t, &["sys/net/ipv4/ip_forward"])?;
        let b = t
            .bundle()
            .unmount("/proc")
            .link("proc", &trap.path(""))
            .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        untouched(b, &trap)
    }),
    Case::new("attacks/sysctl-fake-proc", "CVE-2025-52881: a sysctl into a file", |t| {
        let b = t
            .bundle()
            .unmount("/proc")
            .file("proc/sys/net/ipv4/ip_forward", "0")
            .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        let written = b.rootfs("proc/sys/net/ipv4/ip_forward");
        b.ran_or_refused()?;
        equal("the image's file", fs::read_to_string(written)?.trim(), "0")
    }),
    Case::new("attacks/sysctl-name-traversal", "CVE-2022-0811: a name leaves its tree", |t| {
        for name in [
            "net/../kernel/domainname",
            "net.ipv4/../../kernel/domainname",
            "net.ipv4.../../kernel.domainname",
            "kernel/shm_rmid_forced/../domainname",
        ] {
            t.bundle().set("/linux/sysctl", entry(name)).refused("sysctl|/proc/sys")?;
        }
        Ok(())
    })
    .needs(&[Need::Root]),
    Case::new("attacks/sysctl-of-host", "CVE-2022-0811: a parameter of the whole host", |t| {
        // One that every kernel has, and as it is.
        let path = "/proc/sys/vm/dirty_expire_centisecs";
        let before = fs::read_to_string(path)?;
        let mut map = serde_json::Map::new();
        map.insert("vm.dirty_expire_centisecs".into(), Value::from(before.trim()));
        t.bundle().set("/linux/sysctl", map).refused("vm.dirty_expire_centisecs")?;
        equal(path, &fs::read_to_string(path)?, &before)
    })
    .needs(&[Need::Root]),
];

fn entry(name: &str) -> Value {
    let mut map = serde_json::Map::new();
    map.insert(name.to_owned(), Value::from("x"));
    Value::Object(map)
}

/// A masked file of the image shows nothing and takes nothing.
fn masked(bundle: Bundle<'_>) -> Check {
    let bundle =
        bundle.file("etc/masked", "masked").set("/linux/maskedPaths", json!(["/etc/masked"]));
    let op = "read=/etc/masked";
    let Some(answers) = answers(bundle, &["put=/etc/masked,new", op])? else { return Ok(()) };
    let shown = answers.value(op).is_ok_and(|text| text != json!(""));
    ensure(!shown, format!("the mask shows {:?}", answers.value(op)))
}
