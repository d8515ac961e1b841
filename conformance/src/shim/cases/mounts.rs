//! The root file system that the shim mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerd_shim_protos::api::Mount;

use super::life::{ROOT, mounts};
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::daemon::{Daemon, with};
use crate::shim::stdio::{Stdio, outlet};
use crate::shim::task::{Creation, Task};
use crate::trial::Trial;
use crate::value::{contains, equal};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "shim-mounts/overlay",
        "an overlay is mounted at create and unmounted at delete",
        |t| {
            with(t, |d| {
                let before = mounts();
                let task = mounted(d, &["create=/made", "exit=0"])?;
                ensure(mounts() > before, "nothing is mounted")?;
                task.start("").ok()?;
                task.ends("", 0)?;
                task.delete("").ok()?;
                equal("mounts", &mounts(), &before)?;
                ensure(
                    t.path("upper").join("made").exists(),
                    "the file is not in the upper directory",
                )
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-mounts/many-layers", "an overlay whose options are longer than a page", |t| {
        with(t, |d| {
            // All below one directory, so that paths from there are short enough.
            let all = t.path("layers-of-an-image-with-a-name-that-is-long-on-purpose");
            fs::create_dir(&all)?;
            let bottom = all.join("bottom");
            fs::rename(image(t)?, &bottom)?;
            let mut layers = Vec::new();
            for index in 0..80 {
                let dir = all.join(index.to_string());
                fs::create_dir(&dir)?;
                fs::write(dir.join(format!("layer-{index}")), "")?;
                layers.push(dir);
            }
            layers.push(bottom);
            let (stdout, mut tap) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let task = d.launch(empty_root(t).ops(&["stat=/layer-0", "stat=/layer-59"]))?;
            task.create(Creation { stdio, rootfs: vec![overlay(t, &layers)?], ..<_>::default() })
                .ok()?;
            task.start("").ok()?;
            task.ends("", 0)?;
            ensure(!tap.rest()?.contains("errno"), format!("a layer is missing: {}", tap.text()))
        })
    })
    .needs(ROOT),
    Case::new("shim-mounts/bind-read-only", "a bind mount, and `ro` holds", |t| {
        with(t, |d| {
            let (stdout, mut tap) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let task = d.launch(empty_root(t).ops(&["create=/made"]))?;
            let rootfs = vec![mount("bind", &image(t)?.display().to_string(), &["rbind", "ro"])];
            task.create(Creation { stdio, rootfs, ..Creation::default() }).ok()?;
            task.start("").ok()?;
            task.ends("", 0)?;
            contains("the write", &tap.rest()?, "EROFS")
        })
    })
    .needs(ROOT),
    Case::new("shim-mounts/failed", "a mount that fails undoes those before it", |t| {
        with(t, |d| {
            let before = mounts();
            let task = d.launch(empty_root(t).ops(&["exit=0"]))?;
            let image = image(t)?.display().to_string();
            let rootfs = vec![mount("bind", &image, &["rbind"]), mount("nosuchfs", "none", &[])];
            task.create(Creation { rootfs, ..Creation::default() }).fails()?;
            equal("mounts", &mounts(), &before)
        })
    })
    .needs(ROOT),
    Case::new("shim-mounts/failed-create", "a create that fails later unmounts", |t| {
        with(t, |d| {
            let before = mounts();
            let task = d.launch(empty_root(t).set("/process/cwd", "relative"))?;
            let rootfs = vec![mount("bind", &image(t)?.display().to_string(), &["rbind"])];
            task.create(Creation { rootfs, ..Creation::default() }).fails()?;
            equal("mounts", &mounts(), &before)
        })
    })
    .needs(ROOT),
    Case::new("shim-mounts/create-twice", "a second create of an id mounts nothing", |t| {
        with(t, |d| {
            let task = mounted(d, &["sleep"])?;
            let before = mounts();
            let rootfs = vec![mount("bind", &image(t)?.display().to_string(), &["rbind"])];
            task.create(Creation { rootfs, ..Creation::default() }).fails()?;
            equal("mounts", &mounts(), &before)
        })
    })
    .needs(ROOT),
];

/// A bundle whose root is an empty directory.
fn empty_root(t: &Trial) -> crate::bundle::Bundle<'_> {
    let bundle = t.bundle();
    let _ = fs::remove_dir_all(bundle.rootfs(""));
    let _ = fs::create_dir(bundle.rootfs(""));
    bundle
}

/// A directory with what a root needs.
fn image(t: &Trial) -> Check<PathBuf> {
    let dir = t.path("image");
    for name in ["proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(dir.join(name))?;
    }
    if !dir.join("probe").exists() {
        fs::copy(t.probe(), dir.join("probe"))?;
    }
    Ok(dir)
}

fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        type_: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Default::default()
    }
}

fn overlay(t: &Trial, lower: &[PathBuf]) -> Check<Mount> {
    let (upper, work) = (t.path("upper"), t.path("work"));
    // On what /tmp is an overlay may find no room for its attributes; a tmpfs always has it.
    for dir in [&upper, &work] {
        fs::create_dir_all(dir)?;
    }
    let list: Vec<String> = lower.iter().map(|dir| dir.display().to_string()).collect();
    let option = |key: &str, value: &Path| format!("{key}={}", value.display());
    let options = [
        format!("lowerdir={}", list.join(":")),
        option("upperdir", &upper),
        option("workdir", &work),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Ok(mount("overlay", "overlay", &options))
}

/// A created task of these operations on an overlay.
pub(super) fn mounted(d: &Daemon<'_>, ops: &[&str]) -> Check<Arc<Task>> {
    // The bundle borrows the case, which outlives the daemon.
    let task = d.launch(empty_root(d.trial).ops(ops))?;
    let rootfs = vec![overlay(d.trial, &[image(d.trial)?])?];
    task.create(Creation { rootfs, ..Creation::default() }).ok()?;
    Ok(task)
}
