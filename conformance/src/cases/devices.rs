//! Devices, masked and read-only paths.

use serde_json::json;

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::ensure;
use crate::trial::Trial;
use crate::value::{equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("devices/default", "config-linux.md#default-devices", |t| {
        let report = t.bundle().report()?;
        for (name, number) in [
            ("null", "1:3"),
            ("zero", "1:5"),
            ("full", "1:7"),
            ("random", "1:8"),
            ("urandom", "1:9"),
            ("tty", "5:0"),
        ] {
            let node = &report["dev"][name];
            equal(name, text(node, "/kind")?, "char")?;
            equal(name, text(node, "/rdev")?, number)?;
            equal(name, text(node, "/mode")?, "0666")?;
        }
        Ok(())
    })
    .rows(&["default devices"]),
    Case::new("devices/links", "runtime-linux.md#dev-symbolic-links", |t| {
        let report = t.bundle().report()?;
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            equal(name, text(&report["dev"][name], "/target")?, target)?;
        }
        Ok(())
    })
    .rows(&["/dev links"]),
    Case::new("devices/links-lead-somewhere", "runtime-linux.md#dev-symbolic-links", |t| {
        let links = ["fd", "stdin", "stdout", "stderr", "core"];
        let ops = links.map(|name| format!("stat=/dev/{name}"));
        let ops: Vec<&str> = ops.iter().map(String::as_str).collect();
        let there = t.bundle().probe(&ops)?;
        for op in ops.iter().take(4) {
            there.value(op)?;
        }
        let none = json!([]);
        let bundle = t.bundle().unmount("/proc").set("/linux/maskedPaths", none.clone());
        let missing = bundle.set("/linux/readonlyPaths", none.clone()).probe(&ops)?;
        for op in &ops {
            missing.fails(op, "ENOENT")?;
        }
        let bundle = t.bundle().unmount("/proc").set("/linux/maskedPaths", none.clone());
        let bundle = bundle.set("/linux/readonlyPaths", none).directory("proc/self/fd");
        let image = bundle.probe(&ops)?;
        image.fails("stat=/dev/core", "ENOENT")?;
        image.value("stat=/dev/stdin").map(drop)
    })
    .rows(&["/dev links"]),
    Case::new(
        "devices/no-console",
        "config-linux.md#default-devices: no terminal, no console",
        |t| t.bundle().probe(&["stat=/dev/console"])?.fails("stat=/dev/console", "ENOENT"),
    )
    .rows(&["default devices"]),
    Case::new("devices/ptmx", "config-linux.md#default-devices: /dev/ptmx opens", |t| {
        let answers = t.bundle().probe(&["report", "rw=/dev/ptmx"])?;
        answers.value("rw=/dev/ptmx")?;
        let report = answers.value("report")?;
        ensure(text(&report["dev"]["ptmx"], "/target")?.ends_with("pts/ptmx"), "ptmx is no link")
    })
    .rows(&["default devices"]),
    Case::new("devices/work", "the default devices work", |t| {
        let answers = t.bundle().probe(&[
            "write=/dev/null",
            "read=/dev/null",
            "put=/dev/full,x",
            "read=/dev/urandom",
        ])?;
        answers.value("write=/dev/null")?;
        equal("null", &answers.value("read=/dev/null")?, &json!(""))?;
        answers.fails("put=/dev/full,x", "ENOSPC")
    })
    .rows(&["default devices"]),
    Case::new("devices/read-only-dev", "a read-only /dev has everything in it", |t| {
        let options = json!(["nosuid", "mode=755", "size=64k", "ro"]);
        let answers = t.bundle().set("/mounts/1/options", options).probe(&[
            "write=/dev/null",
            "rw=/dev/ptmx",
            "mkdir=/dev/new",
        ])?;
        answers.value("write=/dev/null")?;
        answers.value("rw=/dev/ptmx")?;
        answers.fails("mkdir=/dev/new", "EROFS")
    }),
    Case::new("devices/no-others", "no device of the host appears", |t| {
        let report = t.bundle().report()?;
        let allowed = ["null", "zero", "full", "random", "urandom", "tty"];
        for (name, node) in report["dev"].as_object().into_iter().flatten() {
            let special = ["char", "block"].contains(&text(node, "/kind")?);
            ensure(!special || allowed.contains(&name.as_str()), format!("/dev/{name}"))?;
        }
        Ok(())
    }),
    Case::new("devices/configured", "config-linux.md#devices: type, number, mode, owner", |t| {
        let node = device(
            t,
            json!({ "path": "/dev/extra", "type": "c", "major": 10, "minor": 183,
            "fileMode": 0o640, "uid": 12, "gid": 34 }),
        )
        .probe(&["stat=/dev/extra"])?
        .value("stat=/dev/extra")?;
        equal("kind", text(&node, "/kind")?, "char")?;
        equal("rdev", text(&node, "/rdev")?, "10:183")?;
        equal("mode", text(&node, "/mode")?, "0640")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([12, 34]))
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("devices/block", "config-linux.md#devices: a block device", |t| {
        let node = device(t, json!({ "path": "/dev/disk0", "type": "b", "major": 7, "minor": 99 }))
            .probe(&["stat=/dev/disk0"])?
            .value("stat=/dev/disk0")?;
        equal("kind", text(&node, "/kind")?, "block")?;
        equal("rdev", text(&node, "/rdev")?, "7:99")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("devices/fifo", "config-linux.md#devices: type p without a number", |t| {
        let node = device(t, json!({ "path": "/dev/pipe", "type": "p", "fileMode": 0o622 }))
            .probe(&["stat=/dev/pipe"])?
            .value("stat=/dev/pipe")?;
        equal("kind", text(&node, "/kind")?, "fifo")?;
        equal("mode", text(&node, "/mode")?, "0622")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("devices/outside-dev", "config-linux.md#devices: any path; parents are made", |t| {
        let node =
            device(t, json!({ "path": "/srv/deep/node", "type": "c", "major": 1, "minor": 3 }))
                .probe(&["stat=/srv/deep/node"])?
                .value("stat=/srv/deep/node")?;
        equal("rdev", text(&node, "/rdev")?, "1:3")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("devices/umask-free", "fileMode is exact, whatever the umask", |t| {
        let mut bundle = device(
            t,
            json!({ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3,
            "fileMode": 0o666 }),
        )
        .ops(&["stat=/dev/extra"]);
        let output = bundle.call("run", &[])?.shell("umask 077").run()?.ok()?;
        let node = crate::bundle::Answers::of(&output.stdout)?.value("stat=/dev/extra")?;
        equal("mode", text(&node, "/mode")?, "0666")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new(
        "devices/unknown-type",
        "config-linux.md#devices: an unknown type is an error",
        |t| {
            device(t, json!({ "path": "/dev/extra", "type": "x", "major": 1, "minor": 3 }))
                .refused("device|type")
                .map(drop)
        },
    )
    .rows(&["linux.devices"]),
    Case::new("devices/conflict", "config-linux.md#devices: a file in the way is an error", |t| {
        device(t, json!({ "path": "/etc/there", "type": "c", "major": 1, "minor": 3 }))
            .file("etc/there", "x")
            .refused("/etc/there")
            .map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("devices/bound-dev", "a /dev bound from the host gets no devices", |t| {
        t.bundle()
            .unmount("/dev")
            .unmount("/dev/pts")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue")
            .mount("/dev", "bind", "/dev", &["rbind", "rslave"])
            .probe(&["write=/dev/null"])?
            .value("write=/dev/null")
            .map(drop)
    }),
    Case::new("masked/file", "config-linux.md#masked-paths: a file cannot be read", |t| {
        let answers = t
            .bundle()
            .file("etc/secret", "secret")
            .set("/linux/maskedPaths", json!(["/etc/secret"]))
            .probe(&["read=/etc/secret"])?;
        ensure(
            answers.value("read=/etc/secret").is_ok_and(|text| text == json!(""))
                || answers.errno("read=/etc/secret").is_ok(),
            "the secret is readable",
        )
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/directory", "config-linux.md#masked-paths: a directory is empty", |t| {
        let answers = t
            .bundle()
            .file("secret/file", "x")
            .set("/linux/maskedPaths", json!(["/secret"]))
            .probe(&["list=/secret", "create=/secret/new"])?;
        equal("list", &answers.value("list=/secret")?, &json!([]))?;
        answers.errno("create=/secret/new").map(drop)
    })
    .rows(&["linux.maskedPaths"]),
    Case::new(
        "masked/missing",
        "config-linux.md#masked-paths: a missing path is passed over",
        |t| {
            t.bundle()
                .set("/linux/maskedPaths", json!(["/no/such/path"]))
                .ops(&["exit=3"])
                .run()?
                .code(3)
                .map(drop)
        },
    )
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/no-sysfs", "a masked path below a plain, empty /sys is passed over", |t| {
        t.bundle().unmount("/sys").ops(&["exit=3"]).run()?.code(3).map(drop)
    }),
    Case::new(
        "masked/no-proc-entry",
        "a masked path that /proc does not have is passed over",
        |t| {
            let paths = json!(["/proc/no_such_entry", "/proc/acpi/none", "/sys/no/such"]);
            t.bundle()
                .set("/linux/maskedPaths", paths.clone())
                .set("/linux/readonlyPaths", paths)
                .ops(&["exit=3"])
                .run()?
                .code(3)
                .map(drop)
        },
    ),
    Case::new("masked/proc", "the usual masks of /proc", |t| {
        let answers = t.bundle().probe(&["read=/proc/kcore", "read=/proc/timer_list"])?;
        for op in ["read=/proc/kcore", "read=/proc/timer_list"] {
            ensure(
                answers.value(op).is_ok_and(|text| text == json!("")) || answers.errno(op).is_ok(),
                format!("{op} gives something"),
            )?;
        }
        Ok(())
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/relative", "config-linux.md#masked-paths: absolute paths only", |t| {
        t.bundle().set("/linux/maskedPaths", json!(["proc/kcore"])).ran_or_refused()
    }),
    Case::new("readonly/file", "config-linux.md#readonly-paths: a file", |t| {
        let answers = t
            .bundle()
            .file("etc/conf", "x")
            .set("/linux/readonlyPaths", json!(["/etc/conf"]))
            .probe(&["write=/etc/conf", "read=/etc/conf"])?;
        answers.fails("write=/etc/conf", "EROFS")?;
        answers.value("read=/etc/conf").map(drop)
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("readonly/directory", "config-linux.md#readonly-paths: a directory", |t| {
        let answers = t
            .bundle()
            .file("srv/file", "x")
            .set("/linux/readonlyPaths", json!(["/srv"]))
            .probe(&["write=/srv/file", "create=/srv/new", "create=/other"])?;
        answers.fails("write=/srv/file", "EROFS")?;
        answers.fails("create=/srv/new", "EROFS")?;
        answers.value("create=/other").map(drop)
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("readonly/proc-sys", "the usual read-only paths of /proc", |t| {
        let answers =
            t.bundle().probe(&["write=/proc/sys/kernel/hostname", "write=/proc/sysrq-trigger"])?;
        answers.fails("write=/proc/sys/kernel/hostname", "EROFS")?;
        // Not every kernel is built with it.
        let errno = answers.errno("write=/proc/sysrq-trigger")?;
        ensure(errno == "EROFS" || errno == "ENOENT", errno)
    })
    .rows(&["linux.readonlyPaths"])
    .needs(&[Need::Root]),
    Case::new("readonly/keeps-flags", "the flags of the mount below stay", |t| {
        let report = t.bundle().report()?;
        let found = super::mounts::options_at(&report, "/proc/sys")?;
        let all = ["ro", "nosuid", "nodev", "noexec"];
        ensure(
            all.iter().all(|word| found.iter().any(|option| option == word)),
            format!("{found:?}"),
        )
    }),
    Case::new(
        "readonly/missing",
        "config-linux.md#readonly-paths: a missing path is passed over",
        |t| {
            t.bundle()
                .set("/linux/readonlyPaths", json!(["/no/such/path"]))
                .ops(&["exit=3"])
                .run()?
                .code(3)
                .map(drop)
        },
    )
    .rows(&["linux.readonlyPaths"]),
];

fn device(t: &Trial, device: serde_json::Value) -> Bundle<'_> {
    t.bundle().set("/linux/devices/-", device)
}
