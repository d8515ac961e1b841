//! Device nodes of the configuration: conflicts, links, user namespaces.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("device-nodes/defaults", "without mode and owner: 0666, root", |t| {
        let node = stat(with(t, json!({ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3 })))?;
        equal("mode", text(&node, "/mode")?, "0666")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([0, 0]))
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/unbuffered", "config-linux.md#devices: type u is a character device", |t| {
        let node = stat(with(t, json!({ "path": "/dev/extra", "type": "u", "major": 1, "minor": 5 })))?;
        equal("kind", text(&node, "/kind")?, "char")?;
        equal("rdev", text(&node, "/rdev")?, "1:5")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/fifo-number", "a number of a pipe means nothing", |t| {
        let node = stat(with(
            t,
            json!({ "path": "/dev/extra", "type": "p", "major": 1, "minor": 5, "uid": 3, "gid": 4 }),
        ))?;
        equal("kind", text(&node, "/kind")?, "fifo")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([3, 4]))
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/number-missing", "a device other than a pipe has a number", |t| {
        with(t, json!({ "path": "/dev/extra", "type": "c", "major": 1 }))
            .ran_or_refused()
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/default-listed", "a default device with another mode and owner", |t| {
        let device = json!({ "path": "/dev/null", "type": "c", "major": 1, "minor": 3,
                             "fileMode": 0o600, "uid": 5, "gid": 6 });
        let node = with(t, device).probe(&["stat=/dev/null"])?.value("stat=/dev/null")?;
        equal("rdev", text(&node, "/rdev")?, "1:3")?;
        equal("mode", text(&node, "/mode")?, "0600")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([5, 6]))
    })
    .rows(&["linux.devices", "default devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/ptmx-listed", "a listed /dev/ptmx stays the container's own", |t| {
        let device = json!({ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 });
        let answers = with(t, device).probe(&["report", "rw=/dev/ptmx"])?;
        answers.value("rw=/dev/ptmx")?;
        let report = answers.value("report")?;
        ensure(text(&report["dev"]["ptmx"], "/target")?.ends_with("pts/ptmx"), "ptmx is no link")
    })
    .rows(&["default devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/same-is-kept", "the same device twice gets mode and owner", |t| {
        let device = |mode: u32| json!({ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3,
                                         "fileMode": mode, "uid": mode, "gid": 2 });
        let node = stat(with(t, device(0o600)).set("/linux/devices/-", device(0o640)))?;
        equal("mode", text(&node, "/mode")?, "0640")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([0o640, 2]))
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/other-number", "another device of the same path is an error", |t| {
        let device =
            |minor: u32| json!({ "path": "/dev/extra", "type": "c", "major": 1, "minor": minor });
        with(t, device(3)).set("/linux/devices/-", device(5)).refused("/dev/extra").map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/other-type", "a device of another type is an error", |t| {
        let device =
            |kind: &str| json!({ "path": "/dev/extra", "type": kind, "major": 7, "minor": 99 });
        with(t, device("c")).set("/linux/devices/-", device("b")).refused("/dev/extra").map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/directory", "a directory in the way is an error", |t| {
        with(t, json!({ "path": "/srv/there", "type": "c", "major": 1, "minor": 3 }))
            .directory("srv/there")
            .refused("/srv/there")
            .map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/link-in-the-way", "a link in the way is not followed", |t| {
        let bundle = with(t, json!({ "path": "/srv/node", "type": "c", "major": 1, "minor": 3 }))
            .directory("srv")
            .file("target", "x")
            .link("srv/node", "/target");
        let target = bundle.rootfs("target");
        bundle.refused("/srv/node")?;
        equal("the target", &std::fs::read_to_string(target)?, "x")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/through-links", "links on the way stay inside the root", |t| {
        let bundle = with(t, json!({ "path": "/link/extra", "type": "c", "major": 1, "minor": 3 }))
            .directory("real")
            .link("link", "../../../../real");
        bundle.probe(&["stat=/real/extra"])?.value("stat=/real/extra").map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/deep", "directories on the way are made", |t| {
        let answers = with(t, json!({ "path": "/dev/a/b/extra", "type": "b", "major": 7, "minor": 99 }))
            .probe(&["stat=/dev/a/b/extra", "stat=/dev/a/b"])?;
        equal("rdev", text(&answers.value("stat=/dev/a/b/extra")?, "/rdev")?, "7:99")?;
        equal("mode", text(&answers.value("stat=/dev/a/b")?, "/mode")?, "0755")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/relative", "the path is absolute", |t| {
        with(t, json!({ "path": "dev/extra", "type": "c", "major": 1, "minor": 3 })).ran_or_refused()
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/bound-dev", "a bound /dev does not hide devices elsewhere", |t| {
        with(t, json!({ "path": "/srv/node", "type": "c", "major": 1, "minor": 3 }))
            .unmount("/dev")
            .unmount("/dev/pts")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue")
            .mount("/dev", "bind", "/dev", &["rbind", "rslave"])
            .probe(&["stat=/srv/node"])?
            .value("stat=/srv/node")
            .map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root]),
    Case::new("device-nodes/user-namespace", "mode and owner are the container's", |t| {
        let device = json!({ "path": "/dev/extra", "type": "c", "major": 1, "minor": 5,
                             "fileMode": 0o640, "uid": 12, "gid": 34 });
        let answers = with(t, device)
            .user_namespace()
            .set("/process/user", json!({ "uid": 12, "gid": 0 }))
            .probe(&["stat=/dev/extra", "rw=/dev/extra"])?;
        let node = answers.value("stat=/dev/extra")?;
        equal("rdev", text(&node, "/rdev")?, "1:5")?;
        equal("mode", text(&node, "/mode")?, "0640")?;
        equal("owner", &json!([node["uid"], node["gid"]]), &json!([12, 34]))?;
        answers.value("rw=/dev/extra").map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("device-nodes/user-namespace-path", "a device that has another path on the host", |t| {
        let device = json!({ "path": "/dev/no-such-on-the-host", "type": "b", "major": 7, "minor": 99 });
        let op = "stat=/dev/no-such-on-the-host";
        let node = with(t, device).user_namespace().probe(&[op])?.value(op)?;
        equal("kind", text(&node, "/kind")?, "block")?;
        equal("rdev", text(&node, "/rdev")?, "7:99")
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("device-nodes/user-namespace-unmapped", "an owner that is not mapped is an error", |t| {
        with(t, json!({ "path": "/dev/extra", "type": "c", "major": 1, "minor": 5, "uid": 70_000 }))
            .user_namespace()
            .refused("device|uid|map")
            .map(drop)
    })
    .rows(&["linux.devices"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("device-nodes/rootless", "the host's node is shown to an ordinary user", |t| {
        let device = json!({ "path": "/dev/full", "type": "c", "major": 1, "minor": 7 });
        let answers = with(t, device).probe(&["stat=/dev/full", "put=/dev/full,x"])?;
        equal("rdev", text(&answers.value("stat=/dev/full")?, "/rdev")?, "1:7")?;
        answers.fails("put=/dev/full,x", "ENOSPC")
    })
    .rows(&["rootless: devices"])
    .needs(&[Need::OrdinaryUser]),
    Case::new("device-nodes/rootless-other", "another device is not shown for it", |t| {
        with(t, json!({ "path": "/dev/full", "type": "c", "major": 1, "minor": 3 }))
            .refused("/dev/full")
            .map(drop)
    })
    .rows(&["rootless: devices"])
    .needs(&[Need::OrdinaryUser]),
    Case::new("device-nodes/rootless-missing", "a device that the host lacks is an error", |t| {
        with(t, json!({ "path": "/dev/no-such", "type": "c", "major": 1, "minor": 3 }))
            .refused("/dev/no-such")
            .map(drop)
    })
    .rows(&["rootless: devices"])
    .needs(&[Need::OrdinaryUser]),
];

fn with(t: &Trial, device: Value) -> Bundle<'_> {
    t.bundle().set("/linux/devices/-", device)
}

fn stat(bundle: Bundle<'_>) -> Check<Value> {
    bundle.probe(&["stat=/dev/extra"])?.value("stat=/dev/extra")
}
