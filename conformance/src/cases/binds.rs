//! Bind mounts and propagation.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use super::mounts::{at, options_at};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, strings};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("binds/directory", "config.md#mounts: bind of a directory", |t| {
        let answers = t.bundle().bind(&source(t)?, "/data", &[]).probe(&["read=/data/file"])?;
        equal("file", &answers.value("read=/data/file")?, &json!("content"))
    })
    .rows(&["mounts.options: flags"]),
    Case::new("binds/file", "config.md#mounts: bind of a file on a missing target", |t| {
        let answers = t
            .bundle()
            .bind(&source(t)?.join("file"), "/deep/new/file", &[])
            .probe(&["read=/deep/new/file"])?;
        equal("file", &answers.value("read=/deep/new/file")?, &json!("content"))
    })
    .rows(&["mounts: missing target"]),
    Case::new("binds/file-over-file", "config.md#mounts: bind of a file over a file", |t| {
        let answers = t
            .bundle()
            .file("etc/hosts", "old")
            .bind(&source(t)?.join("file"), "/etc/hosts", &[])
            .probe(&["read=/etc/hosts"])?;
        equal("file", &answers.value("read=/etc/hosts")?, &json!("content"))
    }),
    Case::new("binds/file-over-directory", "mount(2): of different kinds is an error", |t| {
        t.bundle()
            .directory("data")
            .bind(&source(t)?.join("file"), "/data", &[])
            .refused("/data")
            .map(drop)
    }),
    Case::new("binds/missing-source", "a missing source is an error that names it", |t| {
        t.bundle().bind(&t.path("no-such-source"), "/data", &[]).refused("no-such-source").map(drop)
    })
    .rows(&["mounts.source"]),
    Case::new("binds/no-type", "config.md#mounts: the type may be absent", |t| {
        let mount = json!({ "destination": "/data", "source": source(t)?, "options": ["rbind"] });
        let answers = t.bundle().set("/mounts/-", mount).probe(&["read=/data/file"])?;
        equal("file", &answers.value("read=/data/file")?, &json!("content"))
    })
    .rows(&["mounts.source"]),
    Case::new("binds/relative-source", "config.md#mounts: relative to the bundle", |t| {
        let bundle = t.bundle().bind(&PathBuf::from("src"), "/data", &[]);
        fs::create_dir(bundle.dir.join("src"))?;
        fs::write(bundle.dir.join("src/file"), "here")?;
        let answers = bundle.probe(&["read=/data/file"])?;
        equal("file", &answers.value("read=/data/file")?, &json!("here"))
    })
    .rows(&["mounts.source"]),
    Case::new("binds/source-link", "a link as the source is followed on the host", |t| {
        let source = source(t)?;
        std::os::unix::fs::symlink(&source, t.path("link"))?;
        let answers = t.bundle().bind(&t.path("link"), "/data", &[]).probe(&["read=/data/file"])?;
        equal("file", &answers.value("read=/data/file")?, &json!("content"))
    })
    .rows(&["mounts.source"]),
    Case::new("binds/writable", "writes reach the source", |t| {
        let source = source(t)?;
        t.bundle()
            .bind(&source, "/data", &[])
            .probe(&["create=/data/new"])?
            .value("create=/data/new")?;
        ensure(source.join("new").exists(), "the file is not in the source")
    }),
    Case::new("binds/ro", "config.md#mounts: ro of a bind mount", |t| {
        let answers = t
            .bundle()
            .bind(&source(t)?, "/data", &["ro"])
            .probe(&["create=/data/new", "write=/data/file"])?;
        answers.fails("create=/data/new", "EROFS")?;
        answers.fails("write=/data/file", "EROFS")
    })
    .rows(&["mounts.options: flags"]),
    Case::new("binds/ro-file", "config.md#mounts: ro of a bind mount of a file", |t| {
        let answers =
            t.bundle().bind(&source(t)?.join("file"), "/data", &["ro"]).probe(&["write=/data"])?;
        answers.fails("write=/data", "EROFS")
    })
    .rows(&["mounts.options: flags"]),
    Case::new("binds/flags", "config.md#mounts: flags of a bind mount", |t| {
        let mut wanted = vec!["ro", "nosuid", "nodev", "noexec"];
        if t.host.root {
            // An ordinary user may not change the access time flag of the host's mount.
            wanted.push("noatime");
        }
        let report = t.bundle().bind(&source(t)?, "/data", &wanted).report()?;
        let found = options_at(&report, "/data")?;
        ensure(
            wanted.iter().all(|word| found.iter().any(|option| option == word)),
            format!("found {found:?}"),
        )
    })
    .rows(&["mounts.options: flags"]),
    Case::new("binds/remount-keeps-source", "the source's own mount keeps its flags", |t| {
        let source = source(t)?;
        t.bundle().bind(&source, "/data", &["ro"]).ops(&["exit=3"]).run()?.code(3)?;
        Ok(fs::write(source.join("after"), "x")?)
    }),
    Case::new("binds/rbind", "config.md#mounts: rbind takes the mounts below", |t| {
        let _below = Below::new(t)?;
        let answers = t
            .bundle()
            .mount("/data", "", &t.path("src").to_string_lossy(), &["rbind"])
            .probe(&["read=/data/sub/inner"])?;
        equal("file", &answers.value("read=/data/sub/inner")?, &json!("inner"))
    })
    .rows(&["mounts.options: flags"])
    .needs(&[Need::Root]),
    Case::new("binds/not-recursive", "config.md#mounts: bind leaves the mounts below", |t| {
        let _below = Below::new(t)?;
        let answers =
            t.bundle().bind(&t.path("src"), "/data", &["private"]).probe(&["list=/data/sub"])?;
        equal("list", &answers.value("list=/data/sub")?, &json!([]))
    })
    .rows(&["mounts.options: flags"])
    .needs(&[Need::Root]),
    Case::new("binds/rro", "config.md#mounts: rro reaches the mounts below", |t| {
        let _below = Below::new(t)?;
        let answers = t
            .bundle()
            .mount("/data", "", &t.path("src").to_string_lossy(), &["rbind", "rro"])
            .probe(&["create=/data/a", "create=/data/sub/a"])?;
        answers.fails("create=/data/a", "EROFS")?;
        answers.fails("create=/data/sub/a", "EROFS")
    })
    .rows(&["mounts.options: recursive"])
    .needs(&[Need::Root]),
    Case::new("binds/rnosuid", "config.md#mounts: rnosuid, rnodev, rnoexec, rnoatime", |t| {
        let _below = Below::new(t)?;
        let wanted = ["rnosuid", "rnodev", "rnoexec", "rnoatime"];
        let mut options = vec!["rbind"];
        options.extend(wanted);
        let report =
            t.bundle().mount("/data", "", &t.path("src").to_string_lossy(), &options).report()?;
        let found = options_at(&report, "/data/sub")?;
        ensure(
            wanted.iter().all(|word| found.iter().any(|option| option == &word[1..])),
            format!("found {found:?}"),
        )
    })
    .rows(&["mounts.options: recursive"])
    .needs(&[Need::Root]),
    Case::new("binds/idmap", "config.md#mounts: uidMappings and gidMappings of a mount", |t| {
        let map = json!([{ "containerID": 0, "hostID": 5000, "size": 1000 }]);
        let mount = json!({ "destination": "/data", "source": source(t)?, "options": ["bind"],
            "uidMappings": map, "gidMappings": map });
        let node = t
            .bundle()
            .set("/mounts/-", mount)
            .probe(&["stat=/data/file"])?
            .value("stat=/data/file")?;
        equal("uid", &node["uid"], &json!(5000))
    })
    .rows(&["mounts.uidMappings"])
    .needs(&[Need::Root, Need::Kernel(5, 12)]),
    Case::new("binds/idmap-own", "config.md#mounts: idmap alone takes the container's maps", |t| {
        let mount = json!({ "destination": "/data", "source": source(t)?,
            "options": ["bind", "idmap"] });
        let node = t
            .bundle()
            .user_namespace()
            .directory("data")
            .set("/mounts/-", mount)
            .probe(&["stat=/data/file"])?
            .value("stat=/data/file")?;
        equal("uid", &node["uid"], &json!(0))
    })
    .rows(&["mounts.options: idmap"])
    .needs(&[Need::Root, Need::UserNamespace, Need::Kernel(5, 12)]),
    Case::new("binds/idmap-without-maps", "idmap needs maps", |t| {
        let mount = json!({ "destination": "/data", "source": source(t)?,
            "options": ["bind", "idmap"] });
        t.bundle().set("/mounts/-", mount).refused("map|namespace|setattr").map(drop)
    })
    .rows(&["mounts.options: idmap"])
    .needs(&[Need::Root]),
    Case::new("binds/private", "config.md#mounts: private", |t| propagation(t, "private", &[]))
        .rows(&["mounts.options: propagation"]),
    Case::new("binds/rprivate", "config.md#mounts: rprivate", |t| propagation(t, "rprivate", &[]))
        .rows(&["mounts.options: propagation"]),
    Case::new("binds/slave", "config.md#mounts: slave", |t| propagation(t, "slave", &["master:"]))
        .rows(&["mounts.options: propagation"])
        .needs(&[Need::Root]),
    Case::new("binds/rslave", "config.md#mounts: rslave", |t| {
        propagation(t, "rslave", &["master:"])
    })
    .rows(&["mounts.options: propagation"])
    .needs(&[Need::Root]),
    Case::new("binds/shared", "config.md#mounts: shared", |t| {
        propagation(t, "shared", &["shared:"])
    })
    .rows(&["mounts.options: propagation"]),
    Case::new("binds/rshared", "config.md#mounts: rshared", |t| {
        propagation(t, "rshared", &["shared:"])
    })
    .rows(&["mounts.options: propagation"]),
    Case::new("binds/unbindable", "config.md#mounts: unbindable", |t| {
        propagation(t, "unbindable", &["unbindable"])
    })
    .rows(&["mounts.options: unbindable"]),
    Case::new("binds/runbindable", "config.md#mounts: runbindable", |t| {
        propagation(t, "runbindable", &["unbindable"])
    })
    .rows(&["mounts.options: unbindable"]),
    Case::new(
        "binds/slave-receives",
        "mount_namespaces(7): later mounts of the host arrive",
        |t| {
            let below = Below::new(t)?;
            let source = t.path("src").to_string_lossy().into_owned();
            let c = t
                .bundle()
                .mount("/data", "", &source, &["rbind", "rslave"])
                .set("/linux/rootfsPropagation", "rslave")
                .ops(&["waitfile=/go", "list=/data/late"])
                .start()?;
            let late = t.path("src/late");
            mount(Some("tmpfs"), &late, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            fs::write(late.join("arrived"), "")?;
            fs::write(c.bundle.join("rootfs/go"), "")?;
            let answers = c.answers(2);
            umount2(&late, MntFlags::MNT_DETACH)?;
            drop(below);
            equal("list", &answers?.value("list=/data/late")?, &json!(["arrived"]))
        },
    )
    .rows(&["mounts.options: propagation"])
    .needs(&[Need::Root]),
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
];

fn source(t: &Trial) -> Check<PathBuf> {
    let dir = t.path("src");
    fs::create_dir_all(dir.join("sub"))?;
    fs::create_dir_all(dir.join("late"))?;
    fs::write(dir.join("file"), "content")?;
    Ok(dir)
}

fn propagation(t: &Trial, option: &str, wanted: &[&str]) -> Check {
    let report = t.bundle().bind(&source(t)?, "/data", &[option]).report()?;
    let found = strings(at(&report, "/data")?, "/optional")?;
    // A shared mount may receive from the host as well (`shared:N master:M`).
    let fits = |part: &&str| found.iter().any(|field| field.starts_with(*part));
    let shared = found.iter().any(|field| field.starts_with("shared:"));
    ensure(
        wanted.iter().all(fits)
            && found.is_empty() == wanted.is_empty()
            && shared == wanted.contains(&"shared:"),
        format!("{option} gives {found:?}"),
    )
}

fn root_propagation(t: &Trial, value: &str, wanted: &str) -> Check {
    let report = t.bundle().set("/linux/rootfsPropagation", value).report()?;
    let found = strings(at(&report, "/")?, "/optional")?.join(" ");
    ensure(
        found.contains(wanted) && found.is_empty() == wanted.is_empty(),
        format!("{value} gives {found:?}"),
    )
}

/// A source with a mount below it.
struct Below(PathBuf);

impl Below {
    fn new(t: &Trial) -> Check<Self> {
        let sub = source(t)?.join("sub");
        mount(Some("tmpfs"), &sub, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        fs::write(sub.join("inner"), "inner")?;
        Ok(Self(sub))
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
