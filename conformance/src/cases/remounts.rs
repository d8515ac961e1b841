//! Changes of mounts that are there, what is locked, and life as root of a user namespace.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::mount_options::Tree;
use super::mounts::{at, options_at};
use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::failure::{Check, Failure, broken, ensure, skip};
use crate::value::{contains, equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("remount/flags", "mount(8): remount changes what it names", |t| {
        let report = t
            .bundle()
            .mount("/mnt", "tmpfs", "tmpfs", &["nosuid", "size=64k"])
            .mount("/mnt", "", "", &["remount", "ro", "noexec"])
            .report()?;
        let found = options_at(&report, "/mnt")?;
        let has = |word: &&str| found.iter().any(|option| option == word);
        ensure(["ro", "noexec", "size=64k"].iter().all(has), format!("{found:?}"))
    })
    .rows(&["mounts.options: flags"]),
    Case::new("remount/data", "mount(8): remount of the file system", |t| {
        let report = t
            .bundle()
            .mount("/mnt", "tmpfs", "tmpfs", &["size=64k"])
            .mount("/mnt", "tmpfs", "tmpfs", &["remount", "size=128k", "nr_inodes=99"])
            .report()?;
        let found = options_at(&report, "/mnt")?;
        let has = |word: &&str| found.iter().any(|option| option == word);
        ensure(["size=128k", "nr_inodes=99"].iter().all(has), format!("{found:?}"))
    })
    .rows(&["mounts.options: flags", "mounts.options: data"]),
    Case::new("remount/bind", "mount(8): remount,bind of one mount", |t| {
        let source = t.path("src");
        fs::create_dir(&source)?;
        let report = t
            .bundle()
            .bind(&source, "/mnt", &[])
            .mount("/mnt", "", &source.to_string_lossy(), &["bind", "remount", "ro", "nodev"])
            .report()?;
        let found = options_at(&report, "/mnt")?;
        let has = |word: &&str| found.iter().any(|option| option == word);
        ensure(["ro", "nodev"].iter().all(has), format!("{found:?}"))
    })
    .rows(&["mounts.options: flags"]),
    Case::new("remount/propagation", "mount(8): remount with a propagation", |t| {
        let report = t
            .bundle()
            .mount("/mnt", "tmpfs", "tmpfs", &[])
            .mount("/mnt", "", "", &["remount", "shared"])
            .report()?;
        let found = strings(at(&report, "/mnt")?, "/optional")?;
        ensure(found.iter().any(|field| field.starts_with("shared:")), format!("{found:?}"))
    })
    .rows(&["mounts.options: propagation"]),
    Case::new("remount/nothing", "mount(8): remount needs a mount", |t| {
        t.bundle()
            .directory("data")
            .mount("/data", "", "", &["remount", "ro"])
            .refused("/data")
            .map(drop)
    })
    .rows(&["mounts.options: flags"]),
    Case::new(
        "locked/kept",
        "mount_namespaces(7): flags of the host stay in a user namespace",
        |t| {
            let tree = Tree::new(t)?;
            let bundle = t.bundle().bind(&tree.path("strict"), "/a", &[]);
            let bundle = bundle.bind(&tree.path("strict"), "/b", &["ro", "nodev"]);
            let bundle = bundle.bind(&tree.path("strict"), "/c", &["rw"]);
            let report = run_nested(nested(bundle), "report")?.value("report")?;
            for point in ["/a", "/b", "/c"] {
                let found = options_at(&report, point)?;
                let has = |word: &&str| found.iter().any(|option| option == word);
                let wanted = ["ro", "nosuid", "nodev", "noexec", "noatime"];
                ensure(wanted.iter().all(has), format!("{point}: {found:?}"))?;
            }
            Ok(())
        },
    )
    .needs(&[Need::Root, Need::UserNamespace, Need::Cgroupfs])
    .rows(&["mounts: locked flags"]),
    Case::new("locked/kept-by-remount", "mount_namespaces(7): a remount keeps them as well", |t| {
        let tree = Tree::new(t)?;
        let bundle = t.bundle().bind(&tree.path("strict"), "/a", &[]).mount(
            "/a",
            "",
            "",
            &["bind", "remount", "ro"],
        );
        let report = run_nested(nested(bundle), "report")?.value("report")?;
        let found = options_at(&report, "/a")?;
        let has = |word: &&str| found.iter().any(|option| option == word);
        let wanted = ["ro", "nosuid", "nodev", "noexec", "noatime"];
        ensure(wanted.iter().all(has), format!("{found:?}"))
    })
    .needs(&[Need::Root, Need::UserNamespace, Need::Cgroupfs])
    .rows(&["mounts: locked flags"]),
    Case::new("locked/cleared", "mount_namespaces(7): to end a locked flag is an error", |t| {
        let tree = Tree::new(t)?;
        for option in ["suid", "dev", "exec", "strictatime"] {
            let bundle = nested(t.bundle().bind(&tree.path("strict"), "/a", &[option]));
            match run_nested(bundle, "report") {
                Ok(_) => return broken(format!("{option} is accepted")),
                Err(Failure::Broken(text)) => contains(option, &text, "/a")?,
                Err(skipped) => return Err(skipped),
            }
        }
        Ok(())
    })
    .needs(&[Need::Root, Need::UserNamespace, Need::Cgroupfs])
    .rows(&["mounts: locked flags"]),
    Case::new("locked/of-host", "mount_namespaces(7): flags of the host's own mounts stay", |t| {
        let Some((point, flags)) = host_mount()? else {
            return skip("needs a mount of the host with nosuid, nodev or noexec");
        };
        // An ordinary user's container has a user namespace anyway; root gets one around it.
        let run = |bundle: Bundle<'_>| {
            if t.host.root {
                run_nested(nested(bundle), "report")
            } else {
                bundle.probe(&["report"])
            }
        };
        let report = run(t.bundle().bind(&point, "/a", &["rw"]))?.value("report")?;
        let found = options_at(&report, "/a")?;
        ensure(flags.iter().all(|flag| found.contains(flag)), format!("{flags:?}: {found:?}"))?;
        for flag in flags {
            let end = flag.trim_start_matches("no");
            if run(t.bundle().bind(&point, "/a", &[end])).is_ok() {
                return broken(format!("{end} is accepted for {}", point.display()));
            }
        }
        Ok(())
    })
    .needs(&[Need::UserNamespace, Need::Cgroupfs])
    .rows(&["mounts: locked flags"]),
    Case::new("mounts/over-proc", "only what engines emulate may be mounted over /proc", |t| {
        let file = t.path("file");
        fs::write(&file, "emulated")?;
        let mut ops = Vec::new();
        let mut bundle = t.bundle();
        for name in ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg"] {
            if !std::path::Path::new("/proc").join(name).exists() {
                continue;
            }
            bundle = bundle.bind(&file, &format!("/proc/{name}"), &["ro"]);
            ops.push(format!("read=/proc/{name}"));
        }
        let list: Vec<&str> = ops.iter().map(String::as_str).collect();
        let answers = bundle.probe(&list)?;
        for op in list {
            equal(op, &answers.value(op)?, &json!("emulated"))?;
        }
        for path in
            ["/proc/self/attr/exec", "/proc/sys/kernel/hostname", "/proc/version", "/proc/1"]
        {
            t.bundle().bind(&file, path, &[]).refused("/proc")?;
        }
        t.bundle().mount("/proc/driver", "tmpfs", "tmpfs", &[]).refused("/proc")?;
        t.bundle().unmount("/proc").mount("/proc", "tmpfs", "tmpfs", &[]).refused("proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("mounts/tmpcopyup-whole", "tmpcopyup: links, modes, owners, executables", |t| {
        let bundle = t
            .bundle()
            .directory("data/empty")
            .file("data/deep/er/file", "content")
            .mode("data/deep/er/file", 0o4755)
            .mode("data/empty", 0o1700)
            .link("data/link", "deep/er/file");
        let place = bundle.rootfs("data/deep/er/file");
        fs::copy(bundle.rootfs("probe"), bundle.rootfs("data/probe"))?;
        std::os::unix::fs::chown(&place, Some(12), Some(34))?;
        fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o4755))?;
        let ops = [
            "stat=/data/deep/er/file",
            "stat=/data/empty",
            "stat=/data/link",
            "read=/data/link",
            "create=/data/new",
            "spawn=/data/probe",
        ];
        let answers =
            bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=64m"]).probe(&ops)?;
        let node = answers.value("stat=/data/deep/er/file")?;
        equal("file", &json!([node["mode"], node["uid"], node["gid"]]), &json!(["4755", 12, 34]))?;
        equal("mode", text(&answers.value("stat=/data/empty")?, "/mode")?, "1700")?;
        equal("link", text(&answers.value("stat=/data/link")?, "/target")?, "deep/er/file")?;
        equal("content", &answers.value("read=/data/link")?, &json!("content"))?;
        equal("spawn", &answers.value("spawn=/data/probe")?, &json!(7))?;
        answers.value("create=/data/new").map(drop)
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: tmpcopyup"]),
    Case::new("filesystems/nested-proc", "a new proc stays possible inside user namespaces", |t| {
        let bundle = nested(t.bundle().without_namespace("cgroup"));
        let report = run_nested(bundle, "report")?.value("report")?;
        for (point, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts")] {
            equal(point, text(at(&report, point)?, "/type")?, kind)?;
        }
        Ok(())
    })
    .needs(&[Need::UserNamespace, Need::Cgroupfs])
    .rows(&["default filesystems"]),
];

/// A directory of the host, on its own mount, and the flags among nosuid, nodev and noexec it has.
fn host_mount() -> Check<Option<(PathBuf, Vec<String>)>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let point = PathBuf::from(words.get(4)?);
        // What is below may be locked to it, and then cannot be copied alone.
        let below = mounts.lines().filter(|line| line.contains(&format!(" {}/", point.display())));
        let flags = ["nosuid", "nodev", "noexec"].into_iter();
        let flags = flags.filter(|flag| words.get(5).is_some_and(|all| all.contains(flag)));
        let flags: Vec<String> = flags.map(str::to_owned).collect();
        let fits = !flags.is_empty() && point.is_dir() && below.count() == 0;
        (fits && !point.starts_with("/proc")).then_some((point, flags))
    }))
}

/// What the runtime can do as root of a user namespace without any privilege outside.
fn nested(bundle: Bundle<'_>) -> Bundle<'_> {
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    bundle
        .remove("/linux/cgroupsPath")
        .namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

/// Runs the bundle from inside a new user and mount namespace.
fn run_nested(bundle: Bundle<'_>, op: &str) -> Check<Answers> {
    let mut bundle = bundle.ops(&[op]);
    let call = bundle.call("run", &[])?;
    let output = call.shell("set -- unshare --user --map-root-user --mount \"$@\"").run()?.ok()?;
    Answers::of(&output.stdout)
}
