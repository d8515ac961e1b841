//! File systems of every kind, with their options.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::mounts::{at, options_at};
use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure, skip};
use crate::trial::Trial;
use crate::value::{contains, equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("filesystems/tmpfs", "tmpfs(5): size, mode, nr_inodes, uid, gid", |t| {
        let options = ["size=64k", "mode=1750", "nr_inodes=50", "uid=0", "gid=0"];
        let answers =
            t.bundle().mount("/mnt", "tmpfs", "tmpfs", &options).probe(&["report", "stat=/mnt"])?;
        equal("mode", text(&answers.value("stat=/mnt")?, "/mode")?, "1750")?;
        shows(&answers, "/mnt", &["size=64k", "nr_inodes=50"])
    })
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/tmpfs-owner", "tmpfs(5): uid, gid are those of the container", |t| {
        let answers = t
            .bundle()
            .user_namespace()
            .directory("mnt")
            .mount("/mnt", "tmpfs", "tmpfs", &["uid=5", "gid=6"])
            .probe(&["stat=/mnt"])?;
        let node = answers.value("stat=/mnt")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([5, 6]))
    })
    .needs(&[Need::Root, Need::UserNamespace, Need::Cgroupfs])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/devpts", "devpts: mode, ptmxmode, max, a new instance", |t| {
        let options = ["newinstance", "ptmxmode=0600", "mode=0640", "max=7"];
        let answers = t
            .bundle()
            .mount("/mnt", "devpts", "devpts", &options)
            .probe(&["report", "stat=/mnt/ptmx"])?;
        equal("ptmx", text(&answers.value("stat=/mnt/ptmx")?, "/mode")?, "0600")?;
        shows(&answers, "/mnt", &["mode=640", "ptmxmode=600", "max=7"])
    })
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/mqueue", "mq_overview(7): of the container's ipc namespace", |t| {
        let answers = t
            .bundle()
            .mount("/mnt", "mqueue", "mqueue", &["noexec"])
            .probe(&["create=/mnt/queue", "list=/dev/mqueue"])?;
        answers.value("create=/mnt/queue")?;
        equal("list", &answers.value("list=/dev/mqueue")?, &json!(["queue"]))
    })
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/mqueue-of-host", "config-linux.md: without an ipc namespace", |t| {
        if !t.host.root && !Path::new("/dev/mqueue").is_dir() {
            return skip("the host shows no /dev/mqueue that could be shown instead of a new one");
        }
        let report = t.bundle().without_namespace("ipc").report()?;
        equal("type", text(at(&report, "/dev/mqueue")?, "/type")?, "mqueue")
    })
    .rows(&["default filesystems"]),
    Case::new("filesystems/sysfs-of-host", "config-linux.md: without a network namespace", |t| {
        let report = t.bundle().without_namespace("network").report()?;
        let sys = at(&report, "/sys")?;
        equal("type", text(sys, "/type")?, "sysfs")?;
        let options = strings(sys, "/options")?;
        ensure(options.contains(&"ro".to_owned()), format!("{options:?}"))
    })
    .rows(&["default filesystems"]),
    Case::new("filesystems/proc-of-host", "config-linux.md: without a pid namespace", |t| {
        let answers = t.bundle().without_namespace("pid").probe(&["report", "statfs=/proc"])?;
        equal("type", &answers.value("statfs=/proc")?["type"], &json!("0x9fa0"))
    })
    .rows(&["default filesystems"]),
    Case::new("filesystems/proc-options", "proc(5): hidepid, subset", |t| {
        let answers = t
            .bundle()
            .mount("/mnt", "proc", "proc", &["subset=pid", "hidepid=invisible", "ro"])
            .probe(&["report", "stat=/mnt/meminfo", "read=/mnt/self/comm"])?;
        answers.fails("stat=/mnt/meminfo", "ENOENT")?;
        answers.value("read=/mnt/self/comm")?;
        shows(&answers, "/mnt", &["hidepid=invisible", "subset=pid", "ro"])
    })
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/overlay", "overlayfs: lowerdir, upperdir, workdir", |t| {
        let dirs = Layers::new(t, &["low", "up", "work"])?;
        fs::write(dirs.path("low").join("file"), "low")?;
        let answers = t
            .bundle()
            .mount(
                "/mnt",
                "overlay",
                "overlay",
                &[
                    &dirs.option("lowerdir", "low"),
                    &dirs.option("upperdir", "up"),
                    &dirs.option("workdir", "work"),
                    "userxattr",
                ],
            )
            .probe(&["read=/mnt/file", "create=/mnt/new"])?;
        equal("file", &answers.value("read=/mnt/file")?, &json!("low"))?;
        answers.value("create=/mnt/new")?;
        ensure(dirs.path("up").join("new").exists(), "nothing in the upper directory")
    })
    .needs(&[Need::UserNamespace])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/overlay-readonly", "overlayfs without an upper directory; ro", |t| {
        let dirs = Layers::new(t, &["a", "b"])?;
        let option = format!("lowerdir={}:{}", dirs.text("a"), dirs.text("b"));
        let answers = t
            .bundle()
            .mount("/mnt", "overlay", "overlay", &[&option, "ro", "nosuid", "userxattr"])
            .probe(&["report", "create=/mnt/new"])?;
        answers.fails("create=/mnt/new", "EROFS")?;
        shows(&answers, "/mnt", &["ro", "nosuid"])
    })
    .needs(&[Need::UserNamespace])
    .rows(&["mounts.options: data"]),
    Case::new(
        "filesystems/overlay-many",
        "overlayfs: more layers than fsconfig(2) takes at once",
        |t| {
            let names: Vec<String> = (0..24).map(|index| format!("layer-{index:032}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let dirs = Layers::new(t, &names)?;
            for name in &names {
                fs::write(dirs.path(name).join(name), "")?;
                fs::write(dirs.path(name).join("top"), name)?;
            }
            let all = names.iter().map(|name| dirs.text(name)).collect::<Vec<_>>().join(":");
            let answers = t
                .bundle()
                .mount(
                    "/mnt",
                    "overlay",
                    "overlay",
                    &[&format!("lowerdir={all}"), "userxattr", "noexec"],
                )
                .probe(&["report", "list=/mnt", "read=/mnt/top"])?;
            equal("top", &answers.value("read=/mnt/top")?, &json!(names[0]))?;
            let mut wanted = names.clone();
            wanted.push("top");
            equal("list", &answers.value("list=/mnt")?, &json!(wanted))?;
            shows(&answers, "/mnt", &["noexec"])
        },
    )
    .needs(&[Need::UserNamespace])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/overlay-huge", "overlayfs: layers beyond a page of options", |t| {
        let names: Vec<String> = (0..60).map(|index| format!("layer-{index:0100}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dirs = Layers::new(t, &names)?;
        for name in &names {
            fs::write(dirs.path(name).join(name), "")?;
        }
        let all = names.iter().map(|name| dirs.text(name)).collect::<Vec<_>>().join(":");
        let answers = t
            .bundle()
            .mount("/mnt", "overlay", "overlay", &[&format!("lowerdir={all}"), "userxattr"])
            .probe(&["list=/mnt"])?;
        equal("list", &answers.value("list=/mnt")?, &json!(names))
    })
    .needs(&[Need::UserNamespace, Need::Kernel(6, 7)])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/overlay-long-upper", "overlayfs: a long upper directory", |t| {
        let name = format!("up-{}/up-{}", "u".repeat(150), "u".repeat(150));
        let dirs = Layers::new(t, &["low", "work", &name])?;
        fs::create_dir_all(dirs.path(&name).with_file_name("work"))?;
        let work = dirs.path(&name).with_file_name("work").display().to_string();
        let answers = t
            .bundle()
            .mount(
                "/mnt",
                "overlay",
                "overlay",
                &[
                    &dirs.option("lowerdir", "low"),
                    &dirs.option("upperdir", &name),
                    &format!("workdir={work}"),
                    "userxattr",
                    "sync",
                    "nodev",
                ],
            )
            .probe(&["report", "create=/mnt/new"])?;
        answers.value("create=/mnt/new")?;
        ensure(dirs.path(&name).join("new").exists(), "nothing in the upper directory")?;
        shows(&answers, "/mnt", &["sync", "nodev"])
    })
    .needs(&[Need::UserNamespace])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/overlay-escapes", "overlayfs: commas and colons in names", |t| {
        let dirs = Layers::new(t, &["a,b:c", "d"])?;
        fs::write(dirs.path("a,b:c").join("odd"), "odd")?;
        let odd = dirs.text("a,b:c").replace(',', "\\,").replace(":c", "\\:c");
        let option = format!("lowerdir={odd}:{}", dirs.text("d"));
        let answers = t
            .bundle()
            .mount("/mnt", "overlay", "overlay", &[&option, "userxattr"])
            .probe(&["read=/mnt/odd"])?;
        equal("file", &answers.value("read=/mnt/odd")?, &json!("odd"))
    })
    .needs(&[Need::UserNamespace])
    .rows(&["mounts.options: data"]),
    Case::new(
        "filesystems/overlay-missing",
        "overlayfs: the kernel's words are in the error",
        |t| {
            let options = ["lowerdir=/no-such-layer:/no-such-other", "userxattr"];
            t.bundle().mount("/mnt", "overlay", "overlay", &options).refused("/mnt").map(drop)
        },
    )
    .needs(&[Need::UserNamespace])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/ext4", "ext4(5) on a block device, with data", |t| {
        let disk = Disk::new(t, &[])?;
        let options = ["data=journal", "errors=remount-ro", "nodev"];
        let answers = disk.bundle(t, &options).probe(&["report", "create=/mnt/new"])?;
        answers.value("create=/mnt/new")?;
        shows(&answers, "/mnt", &options)
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: data"]),
    Case::new("filesystems/acl", "acl and noacl are the file system's", |t| {
        // Some kernels have given them up: then the error names them.
        let disk = Disk::new(t, &[])?;
        for (option, shown) in [("acl", false), ("noacl", true)] {
            let mut bundle = disk.bundle(t, &[option]).ops(&["report"]);
            let output = bundle.call("run", &[])?.run()?;
            if output.code != 0 {
                contains("error", &output.stderr, &format!("'{option}'"))?;
                continue;
            }
            let found = options_at(&Answers::of(&output.stdout)?.value("report")?, "/mnt")?;
            ensure(found.contains(&"noacl".to_owned()) == shown, format!("{option}: {found:?}"))?;
        }
        Ok(())
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: acl"]),
    Case::new("filesystems/ext4-readonly", "mount(8): ro of a read-only device", |t| {
        let disk = Disk::new(t, &["--read-only"])?;
        let options = ["ro", "iversion", "lazytime"];
        let answers = disk.bundle(t, &options).probe(&["report", "create=/mnt/new"])?;
        answers.fails("create=/mnt/new", "EROFS")?;
        shows(&answers, "/mnt", &["ro"])
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: data", "mounts.options: iversion"]),
];

/// The mount at this point has these options.
fn shows(answers: &Answers, point: &str, wanted: &[&str]) -> Check {
    let found = options_at(&answers.value("report")?, point)?;
    let has = |word: &&str| found.iter().any(|option| option == word);
    ensure(wanted.iter().all(has), format!("{point}: wanted {wanted:?}, found {found:?}"))
}

/// Directories on a file system that an overlay can use.
struct Layers(PathBuf);

impl Layers {
    fn new(t: &Trial, names: &[&str]) -> Check<Self> {
        wants("overlay")?;
        let layers = Self(t.path("layers"));
        for name in names {
            fs::create_dir_all(layers.path(name))?;
        }
        Ok(layers)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn option(&self, key: &str, name: &str) -> String {
        format!("{key}={}", self.text(name))
    }
}

/// A block device with a file system.
struct Disk(String);

impl Disk {
    fn new(t: &Trial, options: &[&str]) -> Check<Self> {
        wants("ext4")?;
        for path in ["/dev/loop-control", "/sbin/mkfs.ext4", "/sbin/losetup"] {
            if !Path::new(path).exists() {
                return skip(format!("needs {path}"));
            }
        }
        let image = t.path("disk");
        fs::File::create(&image)?.set_len(8 << 20)?;
        let image = image.display().to_string();
        tool("mkfs.ext4", &["-q", &image])?;
        let options = [options, &["--find", "--show", &image]].concat();
        Ok(Self(tool("losetup", &options)?.trim().to_owned()))
    }

    /// A bundle with the device at /mnt, which its rules allow.
    fn bundle<'t>(&self, t: &'t Trial, options: &[&str]) -> Bundle<'t> {
        let rule = json!({ "allow": true, "type": "b", "major": 7, "access": "rwm" });
        t.bundle()
            .set("/linux/resources/devices", json!([rule]))
            .mount("/mnt", "ext4", &self.0, options)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = tool("losetup", &["--detach", &self.0]);
    }
}

/// Skips the case where the kernel has no such file system, not even as a module.
fn wants(kind: &str) -> Check {
    let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
    let known = fs::read_to_string("/proc/filesystems")?;
    let modules = Path::new("/lib/modules").join(release).join("modules.dep");
    let modules = fs::read_to_string(modules).unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some(kind))
        || modules.contains(&format!("/{kind}.ko"))
    {
        return Ok(());
    }
    skip(format!("the kernel has no {kind}"))
}

fn tool(name: &str, args: &[&str]) -> Check<String> {
    let output = Command::new(Path::new("/sbin").join(name)).args(args).output()?;
    if !output.status.success() {
        return broken(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
