//! More of maskedPaths and readonlyPaths: every kind of inode, links, nesting, mounts, exec.

use std::path::Path;

use nix::sys::stat::Mode;
use serde_json::json;

use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "masked/below-proc",
        "config-linux.md#masked-paths: a folder and a file there",
        |t| {
            let b = masked(t.bundle(), &["/proc/sys/kernel", "/proc/uptime"]);
            let answers = b.probe(&["list=/proc/sys/kernel", "read=/proc/uptime"])?;
            equal("list", &answers.value("list=/proc/sys/kernel")?, &json!([]))?;
            hidden(&answers, "read=/proc/uptime")
        },
    )
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/below-sys", "config-linux.md#masked-paths: a folder of sysfs", |t| {
        let answers = masked(t.bundle(), &["/sys/kernel"]).probe(&["list=/sys/kernel"])?;
        equal("list", &answers.value("list=/sys/kernel")?, &json!([]))
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/nested", "a masked path in another, in both orders", |t| {
        for paths in [["/secret", "/secret/inner"], ["/secret/inner", "/secret"]] {
            let b = t.bundle().file("secret/inner/file", "x").file("secret/other", "x");
            let answers = masked(b, &paths).probe(&["list=/secret"])?;
            equal("list", &answers.value("list=/secret")?, &json!([]))?;
        }
        Ok(())
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/twice", "a masked path that is named twice", |t| {
        let b = t.bundle().file("etc/secret", "secret").file("dir/file", "x");
        let paths = ["/etc/secret", "/dir", "/etc/secret", "/dir"];
        let answers = masked(b, &paths).probe(&["read=/etc/secret", "list=/dir"])?;
        equal("list", &answers.value("list=/dir")?, &json!([]))?;
        hidden(&answers, "read=/etc/secret")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/link", "config-linux.md#masked-paths: what a link names is hidden", |t| {
        let b = t.bundle().file("etc/secret", "secret").file("data/file", "x");
        let b = b.link("etc/to-file", "secret").link("to-folder", "/data");
        let answers = masked(b, &["/etc/to-file", "/to-folder"]).probe(&[
            "read=/etc/secret",
            "read=/etc/to-file",
            "list=/data",
        ])?;
        hidden(&answers, "read=/etc/secret")?;
        hidden(&answers, "read=/etc/to-file")?;
        equal("list", &answers.value("list=/data")?, &json!([]))
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/dangling-link", "a link to nothing is as a missing path", |t| {
        let b = masked(t.bundle().link("etc/nothing", "/no/such/path"), &["/etc/nothing"]);
        let answers = b.probe(&["stat=/etc/nothing", "list=/no"])?;
        equal("kind", &answers.value("stat=/etc/nothing")?["kind"], &json!("link"))?;
        answers.fails("list=/no", "ENOENT")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/fifo", "a fifo is hidden without being opened", |t| {
        let b = t.bundle();
        nix::unistd::mkfifo(&b.rootfs("etc/fifo"), Mode::S_IRUSR)?;
        let answers = masked(b, &["/etc/fifo"]).probe(&["read=/etc/fifo"])?;
        hidden(&answers, "read=/etc/fifo")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/device", "a device is hidden", |t| {
        let answers = masked(t.bundle(), &["/dev/zero"]).probe(&["read=/dev/zero"])?;
        hidden(&answers, "read=/dev/zero")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/mount", "a mount is hidden", |t| {
        let source = t.path("src");
        std::fs::create_dir(&source)?;
        std::fs::write(source.join("file"), "secret")?;
        let b = t.bundle().bind(&source, "/data", &[]).bind(&source.join("file"), "/one", &[]);
        let answers = masked(b, &["/data", "/one"]).probe(&["list=/data", "read=/one"])?;
        equal("list", &answers.value("list=/data")?, &json!([]))?;
        hidden(&answers, "read=/one")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/writes-vanish", "what is written to a masked file is nowhere", |t| {
        let b = t.bundle().file("etc/secret", "secret");
        let file = b.rootfs("etc/secret");
        let op = "read=/etc/secret";
        let answers = masked(b, &["/etc/secret"]).probe(&["put=/etc/secret,new", op])?;
        hidden(&answers, op)?;
        equal("the file of the image", &std::fs::read_to_string(file)?, "secret")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/exec", "a further process sees the masks as well", |t| {
        let b = t.bundle().file("etc/secret", "secret").ops(&["sleep"]);
        let c = masked(b, &["/etc/secret", "/proc/uptime"]).start()?;
        let answers = c.exec_probe(&[], &["read=/etc/secret", "read=/proc/uptime"])?;
        hidden(&answers, "read=/etc/secret")?;
        hidden(&answers, "read=/proc/uptime")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("masked/and-readonly", "a path in both lists is hidden", |t| {
        let b = t.bundle().file("etc/secret", "secret").file("dir/file", "x");
        let paths = json!(["/etc/secret", "/dir"]);
        let b = masked(b, &["/etc/secret", "/dir"]).set("/linux/readonlyPaths", paths);
        let answers = b.probe(&["read=/etc/secret", "list=/dir", "create=/dir/new"])?;
        hidden(&answers, "read=/etc/secret")?;
        equal("list", &answers.value("list=/dir")?, &json!([]))?;
        answers.errno("create=/dir/new").map(drop)
    })
    .rows(&["linux.maskedPaths", "linux.readonlyPaths"]),
    Case::new("masked/many", "500 masked paths, also of the same folder", |t| {
        let mut b = t.bundle();
        let paths: Vec<String> = (0..500).map(|index| format!("/m/{index}")).collect();
        for path in &paths {
            b = b.file(path, "secret");
        }
        let answers = b.set("/linux/maskedPaths", json!(paths)).probe(&["read=/m/499"])?;
        hidden(&answers, "read=/m/499")
    })
    .rows(&["linux.maskedPaths"]),
    Case::new("readonly/below-proc", "config-linux.md#readonly-paths: a folder and a file", |t| {
        let ops = ["write=/proc/sys/net/ipv4/ip_forward", "write=/proc/self/comm"];
        let answers =
            readonly(t.bundle(), &["/proc/sys/net", "/proc/no-such-entry"]).probe(&ops)?;
        answers.fails(ops[0], "EROFS")?;
        answers.value(ops[1]).map(drop)
    })
    .rows(&["linux.readonlyPaths"])
    .needs(&[Need::Root]),
    Case::new("readonly/nested", "a read-only path in another, in both orders", |t| {
        for paths in [["/srv", "/srv/inner"], ["/srv/inner", "/srv"]] {
            let b = t.bundle().file("srv/inner/file", "x");
            let ops = ["create=/srv/new", "write=/srv/inner/file"];
            let answers = readonly(b, &paths).probe(&ops)?;
            answers.fails(ops[0], "EROFS")?;
            answers.fails(ops[1], "EROFS")?;
        }
        Ok(())
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("readonly/link", "what a link names cannot be written", |t| {
        let b = t.bundle().file("etc/conf", "x").file("data/file", "x");
        let b = b.link("etc/to-file", "conf").link("to-folder", "/data");
        let ops = ["write=/etc/conf", "create=/data/new", "write=/etc/to-file"];
        let answers = readonly(b, &["/etc/to-file", "/to-folder"]).probe(&ops)?;
        ops.iter().try_for_each(|op| answers.fails(op, "EROFS"))
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("readonly/twice", "a read-only path that is named twice", |t| {
        let b = readonly(t.bundle().file("etc/conf", "x"), &["/etc/conf", "/etc/conf"]);
        b.probe(&["write=/etc/conf"])?.fails("write=/etc/conf", "EROFS")
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("readonly/mount", "a mount becomes read-only and keeps its content", |t| {
        let source = t.path("src");
        std::fs::create_dir(&source)?;
        std::fs::write(source.join("file"), "content")?;
        let ops = ["create=/data/new", "read=/data/file"];
        let b = readonly(t.bundle().bind(&source, "/data", &[]), &["/data"]);
        let answers = b.probe(&ops)?;
        answers.fails(ops[0], "EROFS")?;
        equal("content", &answers.value(ops[1])?, &json!("content"))?;
        // Only the container's mount, not what it shows.
        std::fs::write(source.join("file"), "new")?;
        writable(&source)
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("readonly/exec", "a further process cannot write either", |t| {
        let c =
            readonly(t.bundle().file("etc/conf", "x").ops(&["sleep"]), &["/etc/conf"]).start()?;
        c.exec_probe(&[], &["write=/etc/conf"])?.fails("write=/etc/conf", "EROFS")
    })
    .rows(&["linux.readonlyPaths"]),
    Case::new("mounts/proc-emulated", "convention: engines bind files over some of /proc's", |t| {
        let file = t.path("file");
        std::fs::write(&file, "content")?;
        for path in ["/proc/uptime", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat"] {
            let op = format!("read={path}");
            let answers = t.bundle().bind(&file, path, &[]).probe(&[&op])?;
            equal(path, &answers.value(&op)?, &json!("content"))?;
        }
        Ok(())
    }),
];

fn masked<'t>(bundle: Bundle<'t>, paths: &[&str]) -> Bundle<'t> {
    bundle.set("/linux/maskedPaths", json!(paths))
}

fn readonly<'t>(bundle: Bundle<'t>, paths: &[&str]) -> Bundle<'t> {
    bundle.set("/linux/readonlyPaths", json!(paths))
}

/// Reading gives nothing, or an error.
fn hidden(answers: &Answers, op: &str) -> Check {
    let shown = answers.value(op).is_ok_and(|text| text != json!(""));
    ensure(!shown, format!("{op} gives {:?}", answers.value(op)))
}

fn writable(dir: &Path) -> Check {
    Ok(std::fs::write(dir.join("another"), "x")?)
}
