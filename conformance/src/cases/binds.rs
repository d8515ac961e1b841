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
    Case::new(
        "binds/special-files",
        "config.md#mounts: a socket, a fifo, a device, on missing targets",
        |t| {
            let dir = t.path("special");
            fs::create_dir(&dir)?;
            let _listener = std::os::unix::net::UnixListener::bind(dir.join("socket"))?;
            nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU)?;
            let mut bundle = t.bundle();
            for name in ["socket", "fifo"] {
                bundle = bundle.bind(&dir.join(name), &format!("/new/{name}"), &["ro"]);
            }
            let ops = ["stat=/new/socket", "stat=/new/fifo", "stat=/new/null"];
            let answers = bundle.bind(&PathBuf::from("/dev/null"), "/new/null", &[]).probe(&ops)?;
            for (op, kind) in ops.iter().zip(["socket", "fifo", "char"]) {
                equal(op, &answers.value(op)?["kind"], &json!(kind))?;
            }
            Ok(())
        },
    )
    .rows(&["mounts: missing target", "mounts.source"]),
    Case::new("binds/directory-over-file", "mount(2): of different kinds is an error", |t| {
        t.bundle().file("data", "").bind(&source(t)?, "/data", &[]).refused("/data").map(drop)
    })
    .rows(&["mounts.source"]),
    Case::new("binds/below-another", "config.md#mounts: below a mount of the list", |t| {
        let source = source(t)?;
        let answers = t
            .bundle()
            .mount("/top", "tmpfs", "tmpfs", &["size=64k"])
            .bind(&source, "/top/a/b", &[])
            .bind(&source.join("file"), "/top/a/b/sub/copy", &["ro"])
            .probe(&["read=/top/a/b/file", "read=/top/a/b/sub/copy"])?;
        equal("file", &answers.value("read=/top/a/b/file")?, &json!("content"))?;
        equal("file", &answers.value("read=/top/a/b/sub/copy")?, &json!("content"))
    })
    .rows(&["mounts", "mounts: missing target"]),
    Case::new(
        "binds/file-through-links",
        "config.md#mounts: links of the image lead inside",
        |t| {
            let answers = t
                .bundle()
                .directory("real/etc")
                .link("alias", "/real")
                .link("real/etc/hosts", "../../other/hosts")
                .bind(&source(t)?.join("file"), "/alias/etc/hosts", &[])
                .probe(&["read=/other/hosts", "read=/alias/etc/hosts"])?;
            equal("file", &answers.value("read=/other/hosts")?, &json!("content"))?;
            equal("file", &answers.value("read=/alias/etc/hosts")?, &json!("content"))
        },
    )
    .rows(&["mounts: inside the root", "mounts: missing target"]),
    Case::new("binds/missing-source-field", "the error names the field of the source", |t| {
        let mount = json!({ "destination": "/a", "source": "no-such-source", "options": ["bind"] });
        t.bundle().set("/mounts", json!([mount])).refused("no-such-source").map(drop)
    })
    .rows(&["mounts.source"]),
    Case::new("binds/source-absent", "config.md#mounts: a bind mount needs a source", |t| {
        let mount = json!({ "destination": "/a", "options": ["bind"] });
        t.bundle().set("/mounts/-", mount).refused("source|/a").map(drop)
    })
    .rows(&["mounts.source"]),
    Case::new(
        "binds/propagation-in-order",
        "mount(8): several propagations, one after the other",
        |t| {
            let report = t
                .bundle()
                .bind(&source(t)?, "/a", &["shared", "private"])
                .bind(&source(t)?, "/b", &["private", "shared"])
                .report()?;
            let found = |point| -> Check<String> {
                Ok(strings(at(&report, point)?, "/optional")?.join(" "))
            };
            equal("/a", &found("/a")?, "")?;
            ensure(found("/b")?.starts_with("shared:"), found("/b")?)
        },
    )
    .rows(&["mounts.options: propagation"]),
    Case::new(
        "binds/shared-stays-inside",
        "config-linux.md: rootfsPropagation keeps events from the host",
        |t| {
            let shared = source(t)?;
            let again = MsFlags::MS_BIND;
            mount(Some(&shared), &shared, None::<&str>, again, None::<&str>)?;
            let made = mount(None::<&str>, &shared, None::<&str>, MsFlags::MS_SHARED, None::<&str>);
            let outcome = made.map_err(Into::into).and_then(|()| {
                t.bundle()
                    .bind(&shared, "/data", &["shared"])
                    .mount("/data/late", "tmpfs", "inner", &[])
                    .report()
            });
            let mounts = fs::read_to_string("/proc/self/mountinfo");
            umount2(&shared, MntFlags::MNT_DETACH)?;
            let optional = strings(at(&outcome?, "/data")?, "/optional")?.join(" ");
            ensure(optional.contains("shared:") && optional.contains("master:"), optional)?;
            ensure(!mounts?.contains(" inner "), "a mount of the container has reached the host")
        },
    )
    .needs(&[Need::Root])
    .rows(&["mounts.options: propagation"]),
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
