//! Mounts with ids of their own.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::case::{Case, Need};
use crate::failure::{Check, skip};
use crate::trial::Trial;
use crate::value::{contains, equal};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
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
    .needs(&[Need::Root, Need::MappedMounts]),
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
    .needs(&[Need::Root, Need::UserNamespace, Need::MappedMounts]),
    Case::new("binds/idmap-without-maps", "idmap needs maps", |t| {
        let mount = json!({ "destination": "/data", "source": source(t)?,
            "options": ["bind", "idmap"] });
        t.bundle().set("/mounts/-", mount).refused("map|namespace|setattr").map(drop)
    })
    .rows(&["mounts.options: idmap"])
    .needs(&[Need::Root]),
    Case::new("binds/idmap-ranges", "config.md#mounts: several ranges, others for groups", |t| {
        let source = source(t)?;
        chown(source.join("file"), Some(7), Some(9))?;
        let uids = json!([{ "containerID": 0, "hostID": 100, "size": 5 },
            { "containerID": 7, "hostID": 3000, "size": 1 }]);
        let gids = json!([{ "containerID": 5, "hostID": 4000, "size": 10 }]);
        let mount = with_maps(&source, "bind", &uids, &gids);
        let node = t
            .bundle()
            .set("/mounts/-", mount)
            .probe(&["stat=/data/file"])?
            .value("stat=/data/file")?;
        owned(&node, 3000, 4004)
    })
    .needs(&[Need::Root, Need::MappedMounts])
    .rows(&["mounts.uidMappings"]),
    Case::new(
        "binds/idmap-in-user-namespace",
        "config.md#mounts: other maps than the container's",
        |t| {
            let map = json!([{ "containerID": 0, "hostID": 200_007, "size": 10 }]);
            let mount = with_maps(&source(t)?, "bind", &map, &map);
            let bundle = t.bundle().user_namespace().directory("data").set("/mounts/-", mount);
            owned(&bundle.probe(&["stat=/data/file"])?.value("stat=/data/file")?, 7, 7)
        },
    )
    .needs(&[Need::Root, Need::UserNamespace, Need::MappedMounts])
    .rows(&["mounts.uidMappings"]),
    Case::new(
        "binds/idmap-recursive",
        "config.md#mounts: ridmap reaches what is below, idmap does not",
        |t| {
            let source = source(t)?;
            mount(
                Some("tmpfs"),
                &source.join("sub"),
                Some("tmpfs"),
                MsFlags::empty(),
                None::<&str>,
            )?;
            let seen = (|| -> Check<[Answers; 2]> {
                fs::write(source.join("sub/inner"), "")?;
                let run = |option: &str| {
                    let map = json!([{ "containerID": 0, "hostID": 5000, "size": 9 }]);
                    let mut mount = with_maps(&source, "rbind", &map, &map);
                    if let Some(options) = mount["options"].as_array_mut() {
                        options.push(json!(option));
                    }
                    let ops = ["stat=/data/file", "stat=/data/sub/inner"];
                    t.bundle().set("/mounts/-", mount).probe(&ops)
                };
                Ok([run("idmap")?, run("ridmap")?])
            })();
            umount2(&source.join("sub"), MntFlags::MNT_DETACH)?;
            for (answers, below) in seen?.iter().zip([0, 5000]) {
                owned(&answers.value("stat=/data/file")?, 5000, 5000)?;
                owned(&answers.value("stat=/data/sub/inner")?, below, below)?;
            }
            Ok(())
        },
    )
    .needs(&[Need::Root, Need::Kernel(6, 3)])
    .rows(&["mounts.options: idmap"]),
    Case::new("binds/idmap-file", "config.md#mounts: a single file with ids of its own", |t| {
        let map = json!([{ "containerID": 0, "hostID": 4321, "size": 1 }]);
        let mount = with_maps(&source(t)?.join("file"), "bind", &map, &map);
        owned(
            &t.bundle().set("/mounts/-", mount).probe(&["stat=/data"])?.value("stat=/data")?,
            4321,
            4321,
        )
    })
    .needs(&[Need::Root, Need::MappedMounts])
    .rows(&["mounts.uidMappings"]),
    Case::new("binds/idmap-half", "config.md#mounts: both or neither", |t| {
        let map = json!([{ "containerID": 0, "hostID": 5000, "size": 9 }]);
        for missing in ["uidMappings", "gidMappings"] {
            let mut mount = with_maps(&source(t)?, "bind", &map, &map);
            if let Some(mount) = mount.as_object_mut() {
                mount.remove(missing);
            }
            t.bundle().set("/mounts/-", mount).refused("appings|mount")?;
        }
        Ok(())
    })
    .rows(&["mounts.uidMappings"]),
    Case::new("mounts/idmap-tmpfs", "config.md#mounts: ids of a new file system", |t| {
        let map = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
        let mount = json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs",
            "options": ["size=1m", "mode=750", "nosuid"], "uidMappings": map,
            "gidMappings": map });
        let answers = t.bundle().set("/mounts/-", mount).probe(&["stat=/data", "report"])?;
        let node = answers.value("stat=/data")?;
        owned(&node, 5000, 5000)?;
        equal("mode", &node["mode"], &json!("0750"))?;
        let report = answers.value("report")?;
        let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
        let found = mounts.iter().find(|mount| mount["point"] == "/data");
        let found = found.cloned().unwrap_or_default();
        contains("options", &found["options"].to_string(), "nosuid")?;
        contains("super", &found["super"].to_string(), "size=1024k")
    })
    .needs(&[Need::Root, Need::Kernel(6, 3)])
    .rows(&["mounts.uidMappings"]),
    Case::new("mounts/idmap-tmpfs-own", "config.md#mounts: idmap of a new file system", |t| {
        let mount = json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs",
            "options": ["idmap", "mode=755"] });
        let bundle = t.bundle().user_namespace().directory("data").set("/mounts/-", mount);
        let answers = bundle.probe(&["create=/data/file", "stat=/data/file", "stat=/data"])?;
        answers.value("create=/data/file")?;
        owned(&answers.value("stat=/data/file")?, 0, 0)?;
        owned(&answers.value("stat=/data")?, 0, 0)
    })
    .needs(&[Need::Root, Need::UserNamespace, Need::Kernel(6, 3)])
    .rows(&["mounts.options: idmap"]),
    Case::new("mounts/idmap-of-namespaces", "a queue file system cannot have ids", |t| {
        let map = json!([{ "containerID": 0, "hostID": 5000, "size": 9 }]);
        for kind in ["proc", "sysfs", "mqueue", "devpts"] {
            let mount = json!({ "destination": "/data", "type": kind, "source": kind,
                "uidMappings": map, "gidMappings": map });
            t.bundle().set("/mounts/-", mount).refused("map|setattr")?;
        }
        Ok(())
    })
    .needs(&[Need::Root])
    .rows(&["mounts.uidMappings"]),
    Case::new("binds/idmap-impossible", "a file system without such mounts is an error", |t| {
        let map = json!([{ "containerID": 0, "hostID": 5000, "size": 9 }]);
        let mount = with_maps(&PathBuf::from("/proc/sys"), "bind", &map, &map);
        t.bundle().set("/mounts/-", mount).refused("map|setattr|/proc/sys").map(drop)
    })
    .rows(&["mounts.uidMappings"]),
];

fn with_maps(source: &std::path::Path, bind: &str, uids: &Value, gids: &Value) -> Value {
    json!({ "destination": "/data", "source": source, "options": [bind],
        "uidMappings": uids, "gidMappings": gids })
}

fn owned(node: &Value, uid: u32, gid: u32) -> Check {
    equal("owner", &json!([node["uid"], node["gid"]]), &json!([uid, gid]))
}

fn source(t: &Trial) -> Check<PathBuf> {
    let dir = t.path("src");
    fs::create_dir_all(dir.join("sub"))?;
    if t.host.kernel < (6, 3) && statfs(&dir)?.filesystem_type() == TMPFS_MAGIC {
        return skip("a tmpfs has no id-mapped mounts before Linux 6.3");
    }
    fs::write(dir.join("file"), "content")?;
    Ok(dir)
}
