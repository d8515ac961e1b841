//! Mount options, all of them from tables: each is used, and read back inside the container.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use super::mounts::options_at;
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::strings;

/// Options, what mountinfo shows then, and what it does not show.
type Row = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// On a new file system. Where an option is the default, its opposite comes before it.
const NEW: &[Row] = &[
    (&[], &["rw", "relatime"], &["nosuid", "nodev", "noexec", "nodiratime", "sync", "lazytime"]),
    (&["defaults"], &["rw", "relatime"], &["nosuid", "noexec", "nodiratime", "sync"]),
    (&["ro"], &["ro"], &["rw"]),
    (&["ro", "rw"], &["rw"], &["ro"]),
    (&["nosuid"], &["nosuid"], &[]),
    (&["nosuid", "suid"], &[], &["nosuid"]),
    (&["nodev"], &["nodev"], &[]),
    (&["noexec"], &["noexec"], &[]),
    (&["noexec", "exec"], &[], &["noexec"]),
    (&["noatime"], &["noatime"], &["relatime"]),
    (&["noatime", "atime"], &["relatime"], &["noatime"]),
    (&["strictatime"], &[], &["relatime", "noatime"]),
    (&["strictatime", "nostrictatime"], &["relatime"], &["noatime"]),
    (&["strictatime", "noatime"], &["noatime"], &["relatime"]),
    (&["noatime", "relatime"], &["relatime"], &["noatime"]),
    (&["norelatime"], &[], &["noatime"]),
    (&["nodiratime"], &["nodiratime"], &[]),
    (&["nodiratime", "diratime"], &[], &["nodiratime"]),
    (&["sync"], &["sync"], &[]),
    (&["sync", "async"], &[], &["sync"]),
    (&["dirsync"], &["dirsync"], &[]),
];

const LAZYTIME: &[Row] =
    &[(&["lazytime"], &["lazytime"], &[]), (&["lazytime", "nolazytime"], &[], &["lazytime"])];

const SYMFOLLOW: &[Row] = &[
    (&["nosymfollow"], &["nosymfollow"], &[]),
    (&["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
];

/// What cannot be read back: it must be accepted, and reach neither the file system nor another option.
const IVERSION: &[Row] =
    &[(&["iversion"], &["rw"], &[]), (&["iversion", "noiversion"], &["rw"], &[])];
const SILENT: &[Row] = &[(&["silent"], &["rw"], &[]), (&["loud"], &["rw"], &[])];
const MAND: &[Row] = &[(&["mand"], &["rw"], &[]), (&["mand", "nomand"], &["rw"], &["mand"])];

/// On a whole tree: the option, what every mount of it shows then, and what it does not.
const RECURSIVE: &[(&str, &[&str], &[&str])] = &[
    ("rro", &["ro"], &["rw"]),
    ("rrw", &["rw"], &["ro"]),
    ("rnosuid", &["nosuid"], &[]),
    ("rsuid", &[], &["nosuid"]),
    ("rnodev", &["nodev"], &[]),
    ("rdev", &[], &["nodev"]),
    ("rnoexec", &["noexec"], &[]),
    ("rexec", &[], &["noexec"]),
    ("rnodiratime", &["nodiratime"], &[]),
    ("rdiratime", &[], &["nodiratime"]),
    ("rnoatime", &["noatime"], &["relatime"]),
    ("ratime", &["relatime"], &["noatime"]),
    ("rrelatime", &["relatime"], &["noatime"]),
    ("rnorelatime", &[], &["noatime"]),
    ("rstrictatime", &[], &["noatime", "relatime"]),
    ("rnostrictatime", &["relatime"], &["noatime"]),
];

const RECURSIVE_SYMFOLLOW: &[(&str, &[&str], &[&str])] =
    &[("rnosymfollow", &["nosymfollow"], &[]), ("rsymfollow", &[], &["nosymfollow"])];

/// The names that config.md lists as MUST or SHOULD.
const LISTED: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "sync",
    "unbindable",
    "nosymfollow",
    "symfollow",
    "rnosymfollow",
    "rsymfollow",
    "idmap",
    "ridmap",
    "rnodev",
];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("options/new", "config.md#linux-mount-options, on a new file system", |t| {
        new(t, NEW)
    })
    .rows(&["mounts.options: flags"]),
    Case::new("options/dev", "config.md#linux-mount-options: dev", |t| {
        new(t, &[(&["nodev", "dev"], &[], &["nodev"])])
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: flags"]),
    Case::new("options/lazytime", "config.md#linux-mount-options: lazytime, nolazytime", |t| {
        new(t, LAZYTIME)
    })
    .rows(&["mounts.options: lazytime"]),
    Case::new("options/symfollow", "config.md#linux-mount-options: nosymfollow, symfollow", |t| {
        new(t, SYMFOLLOW)
    })
    .rows(&["mounts.options: nosymfollow"]),
    Case::new("options/iversion", "config.md#linux-mount-options: iversion, noiversion", |t| {
        new(t, IVERSION)
    })
    .rows(&["mounts.options: iversion"]),
    Case::new("options/silent", "config.md#linux-mount-options: silent, loud", |t| new(t, SILENT))
        .rows(&["mounts.options: silent"]),
    Case::new("options/mand", "config.md#linux-mount-options: mand, nomand", |t| new(t, MAND))
        .rows(&["mounts.options: mand"]),
    Case::new("options/bind", "config.md#linux-mount-options, on a bind mount", |t| {
        let tree = Tree::new(t)?;
        // What is not named stays as the source has it.
        let kept = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"];
        let rows: &[Row] = &[
            (&[], &["ro"], &[]),
            (&["rw"], &["rw"], &["ro"]),
            (&["suid"], &["ro"], &["nosuid"]),
            (&["dev"], &["ro"], &["nodev"]),
            (&["exec"], &["ro"], &["noexec"]),
            (&["relatime"], &["relatime"], &["noatime"]),
            (&["strictatime"], &["ro"], &["relatime", "noatime"]),
            (&["diratime"], &["noatime"], &["nodiratime"]),
            (&["symfollow"], &["ro"], &["nosymfollow"]),
            (
                &["sync", "lazytime", "dirsync", "silent", "iversion", "mand", "defaults"],
                &["ro"],
                &[],
            ),
        ];
        let mut bundle = t.bundle();
        for (index, (options, ..)) in rows.iter().enumerate() {
            bundle = bundle.bind(&tree.path("strict"), &format!("/m/{index}"), options);
        }
        let report = bundle.report()?;
        rows.iter().enumerate().try_for_each(|(index, (options, wanted, unwanted))| {
            let mut all = wanted.to_vec();
            let stays = |flag: &&&str| !unwanted.contains(flag);
            all.extend(kept.iter().filter(stays));
            check(&report, &format!("/m/{index}"), options, (&all, unwanted))
        })
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: flags"]),
    Case::new(
        "options/recursive",
        "config.md#linux-mount-options: r… reach what is below",
        |t| recursive(t, RECURSIVE),
    )
    .needs(&[Need::Root])
    .rows(&["mounts.options: recursive", "mounts: atime"]),
    Case::new(
        "options/recursive-symfollow",
        "config.md#linux-mount-options: rnosymfollow, rsymfollow",
        |t| recursive(t, RECURSIVE_SYMFOLLOW),
    )
    .needs(&[Need::Root])
    .rows(&["mounts.options: rnosymfollow"]),
    Case::new("options/recursive-and-own", "config.md: r… and plain options together", |t| {
        let tree = Tree::new(t)?;
        let source = tree.0.to_string_lossy().into_owned();
        let options = ["rbind", "nodev", "rnoexec", "rstrictatime", "nosuid"];
        let report = t.bundle().mount("/m", "", &source, &options).report()?;
        check(&report, "/m", &options, (&["nodev", "noexec", "nosuid"], &["relatime"]))?;
        check(&report, "/m/plain", &options, (&["noexec"], &["nodev", "nosuid", "relatime"]))
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: recursive", "mounts: atime"]),
    Case::new("options/own-of-rbind", "config.md: plain options leave what is below", |t| {
        let tree = Tree::new(t)?;
        let source = tree.0.to_string_lossy().into_owned();
        let options = ["rbind", "ro", "nodev", "noatime"];
        let report = t.bundle().mount("/m", "", &source, &options).report()?;
        check(&report, "/m", &options, (&["ro", "nodev", "noatime"], &[]))?;
        check(&report, "/m/plain", &options, (&["rw", "relatime"], &["nodev"]))
    })
    .needs(&[Need::Root])
    .rows(&["mounts.options: flags", "mounts.options: recursive"]),
    Case::new("options/listed", "features.md: mountOptions has what config.md lists", |t| {
        let output = t.run(&["features"])?.ok()?;
        let features: Value = serde_json::from_str(&output.stdout)?;
        let found = strings(&features, "/mountOptions")?;
        let missing: Vec<_> =
            LISTED.iter().filter(|name| !found.iter().any(|one| one == *name)).collect();
        ensure(missing.is_empty(), format!("missing: {missing:?}"))
    })
    .rows(&["features"]),
    Case::new("options/listed-work", "features.md: what mountOptions lists is understood", |t| {
        let output = t.run(&["features"])?.ok()?;
        let features: Value = serde_json::from_str(&output.stdout)?;
        let source = t.path("src");
        fs::create_dir(&source)?;
        let mut bundle = t.bundle();
        let apart = ["bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup", "dev", "rdev"];
        for name in strings(&features, "/mountOptions")? {
            if !apart.contains(&name.as_str()) {
                // crun's is for the source of a bind mount.
                if name != "copy-symlink" {
                    bundle = bundle.mount(&format!("/t/{name}"), "tmpfs", "tmpfs", &[&name]);
                }
                if t.host.root {
                    bundle = bundle.bind(&source, &format!("/b/{name}"), &[&name]);
                }
            }
        }
        bundle.ops(&["exit=3"]).run()?.code(3).map(drop)
    })
    .rows(&["features"]),
    Case::new("options/others", "crun's own options: as crun, or an error that names them", |t| {
        let features = t.run(&["features"])?;
        let source = t.path("src");
        fs::create_dir(&source)?;
        let others = [
            "copy-symlink",
            "src-nofollow",
            "dest-nofollow",
            "rsync",
            "rasync",
            "rdirsync",
            "rmand",
        ];
        for name in others {
            let known = features.stdout.contains(&format!("\"{name}\""));
            let mut bundle = t.bundle().bind(&source, "/m", &[name]).ops(&["exit=3"]);
            let output = bundle.call("run", &[])?.run()?;
            let fits = if known { output.code == 3 } else { output.stderr.contains(name) };
            ensure(fits, format!("{name}: {} {}", output.code, output.stderr))?;
        }
        Ok(())
    })
    .rows(&["mounts.options: others"]),
    Case::new("options/unknown-bind", "an unknown option of a bind mount is an error", |t| {
        let source = t.path("src");
        fs::create_dir(&source)?;
        t.bundle().bind(&source, "/m", &["nosuid", "acl"]).refused("acl|/m").map(drop)
    })
    .rows(&["mounts.options: data", "mounts.options: acl"]),
    Case::new("options/several-in-one", "mount(8): an entry may hold several of the data", |t| {
        let rows: &[Row] = &[(&["size=64k,mode=700", "nosuid"], &["size=64k", "nosuid"], &[])];
        new(t, rows)
    })
    .rows(&["mounts.options: data"]),
];

fn new(t: &Trial, rows: &[Row]) -> Check {
    let mut bundle = t.bundle();
    for (index, (options, ..)) in rows.iter().enumerate() {
        bundle = bundle.mount(&format!("/m/{index}"), "tmpfs", "tmpfs", options);
    }
    let report = bundle.report()?;
    rows.iter().enumerate().try_for_each(|(index, (options, wanted, unwanted))| {
        check(&report, &format!("/m/{index}"), options, (wanted, unwanted))
    })
}

fn recursive(t: &Trial, rows: &[(&str, &[&str], &[&str])]) -> Check {
    let tree = Tree::new(t)?;
    let source = tree.0.to_string_lossy().into_owned();
    let bundle = rows.iter().fold(t.bundle(), |bundle, (option, ..)| {
        bundle.mount(&format!("/m/{option}"), "", &source, &["rbind", option])
    });
    let report = bundle.report()?;
    for (option, wanted, unwanted) in rows {
        for below in ["", "/plain", "/strict"] {
            let point = format!("/m/{option}{below}");
            check(&report, &point, &[option], (wanted, unwanted))?;
        }
        // And nothing else is changed.
        let strict = options_at(&report, &format!("/m/{option}/strict"))?;
        let plain = options_at(&report, &format!("/m/{option}/plain"))?;
        let other = if option.contains("dev") { "nosuid" } else { "nodev" };
        let has = |list: &[String]| list.iter().any(|one| one == other);
        ensure(has(&strict) && !has(&plain), format!("{option}: {strict:?} and {plain:?}"))?;
    }
    Ok(())
}

fn check(
    report: &Value,
    point: &str,
    options: &[&str],
    (wanted, unwanted): (&[&str], &[&str]),
) -> Check {
    let found = options_at(report, point)?;
    let has = |word: &&&str| found.iter().any(|option| option == *word);
    let missing: Vec<_> = wanted.iter().filter(|word| !has(word)).collect();
    let extra: Vec<_> = unwanted.iter().filter(has).collect();
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    broken(format!("{options:?} at {point} gives {found:?}: without {missing:?}, with {extra:?}"))
}

/// A directory of the host with two mounts below: one with every flag, one with none.
pub(super) struct Tree(pub(super) PathBuf);

impl Tree {
    pub(super) fn new(t: &Trial) -> Check<Self> {
        // MS_NOSYMFOLLOW is newer than the names.
        let strict = MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC
            | MsFlags::MS_NOATIME
            | MsFlags::MS_NODIRATIME
            | MsFlags::from_bits_retain(256);
        let dir = t.path("tree");
        let tree = Self(dir);
        for (name, flags) in [("strict", strict), ("plain", MsFlags::empty())] {
            fs::create_dir_all(tree.path(name))?;
            mount(Some("tmpfs"), &tree.path(name), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            fs::write(tree.path(name).join("file"), "content")?;
            let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
            mount(None::<&str>, &tree.path(name), None::<&str>, again, None::<&str>)?;
        }
        Ok(tree)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for name in ["strict", "plain"] {
            let _ = umount2(&self.path(name), MntFlags::MNT_DETACH);
        }
    }
}
