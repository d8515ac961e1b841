//! `linux.resources.devices`, tried with real device nodes.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("cgroups/devices-order", "config-linux.md#allowed-device-list: in order", |t| {
        let b = nodes(
            t,
            json!([deny_all(), rule(true, "c", 10, 183, "r"), rule(false, "c", 10, 183, "r")]),
        );
        b.probe(&["open=/dev/extra"])?.fails("open=/dev/extra", "EPERM")
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-wildcard", "config-linux.md#allowed-device-list: -1 is all", |t| {
        let b = nodes(t, json!([deny_all(), rule(true, "c", 10, -1, "r")]));
        opens(b, "open=/dev/extra", true)
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-major", "config-linux.md#allowed-device-list: unset is all", |t| {
        let allow = json!({ "allow": true, "type": "c", "minor": 183, "access": "r" });
        opens(nodes(t, json!([deny_all(), allow])), "open=/dev/extra", true)
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-type", "config-linux.md#allowed-device-list: b is not c", |t| {
        let b = nodes(t, json!([deny_all(), rule(true, "b", 10, 183, "rwm")]));
        opens(b, "open=/dev/extra", false)
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-block", "config-linux.md#allowed-device-list: block", |t| {
        let b = nodes(t, json!([deny_all(), rule(true, "b", 7, -1, "r")]));
        let answers = b.probe(&["open=/dev/block", "write=/dev/block"])?;
        // Without a driver for it the kernel says something else than EPERM.
        let errno = answers.errno("open=/dev/block");
        ensure(errno.map_or(true, |errno| errno != "EPERM"), "reading is denied")?;
        answers.fails("write=/dev/block", "EPERM")
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-all", "config-linux.md#allowed-device-list: type a", |t| {
        opens(nodes(t, json!([{ "allow": true, "access": "rwm" }])), "open=/dev/extra", true)
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-all-but", "config-linux.md#allowed-device-list: a deny", |t| {
        let allow = json!({ "allow": true, "access": "rwm" });
        let b = nodes(t, json!([allow, rule(false, "c", 10, 183, "rw")]));
        opens(b, "open=/dev/extra", false)
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/devices-exec", "exec'd processes are held to the list", |t| {
        let b = nodes(t, json!([deny_all()]));
        let c = b.ops(&["sleep"]).start()?;
        c.exec_probe(&[], &["open=/dev/extra"])?.fails("open=/dev/extra", "EPERM")
    })
    .rows(&["linux.resources.devices"])
    .needs(&[Need::Root, Need::Cgroup]),
];

fn deny_all() -> Value {
    json!({ "allow": false, "access": "rwm" })
}

fn rule(allow: bool, kind: &str, major: i32, minor: i32, access: &str) -> Value {
    json!({ "allow": allow, "type": kind, "major": major, "minor": minor, "access": access })
}

/// A container with two nodes that no default list has: the hardware's random numbers and the first
/// loop device.
fn nodes(t: &Trial, rules: Value) -> Bundle<'_> {
    t.bundle()
        .set(
            "/linux/devices",
            json!([
                { "path": "/dev/extra", "type": "c", "major": 10, "minor": 183, "fileMode": 0o666 },
                { "path": "/dev/block", "type": "b", "major": 7, "minor": 0, "fileMode": 0o666 },
            ]),
        )
        .set("/linux/resources/devices", rules)
}

/// Opens the node; what is not denied may still fail for another reason than EPERM.
fn opens(bundle: Bundle<'_>, op: &str, allowed: bool) -> Check {
    let answers = bundle.probe(&[op])?;
    let denied = answers.errno(op).is_ok_and(|errno| errno == "EPERM");
    ensure(denied != allowed, format!("{op}: denied is {denied}"))
}
