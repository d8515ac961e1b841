//! Changes of mounts that are there, what is locked, and life as root of a user namespace.

use std::fs;

use serde_json::json;

use super::mount_options::Tree;
use super::mounts::{at, options_at};
use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::failure::{Check, Failure, broken, ensure};
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
    .needs(&[Need::Root, Need::UserNamespace])
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
    .needs(&[Need::Root, Need::UserNamespace])
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
    .needs(&[Need::Root, Need::UserNamespace])
    .rows(&["mounts: locked flags"]),
    Case::new("filesystems/nested-proc", "a new proc stays possible inside user namespaces", |t| {
        let bundle = nested(t.bundle().without_namespace("cgroup"));
        let report = run_nested(bundle, "report")?.value("report")?;
        for (point, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts")] {
            equal(point, text(at(&report, point)?, "/type")?, kind)?;
        }
        Ok(())
    })
    .needs(&[Need::UserNamespace])
    .rows(&["default filesystems"]),
];

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
