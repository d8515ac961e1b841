//! NUL characters in a configuration: a C string ends there, so what is used is not what was
//! checked. Each text is valid up to the NUL.

use serde_json::{Value, json};

use super::source;
use crate::case::Case;
use crate::failure::Check;
use crate::trial::Trial;

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/cfg-nul-args", "class C5: a NUL in args", |t| {
        nul(t, "/process/args/0", json!("/probe\0x"))?;
        nul(t, "/process/args/1", json!("report\0x"))
    }),
    Case::new("attacks/cfg-nul-env", "class C5: a NUL in env", |t| {
        nul(t, "/process/env/0", json!("A=b\0c"))
    }),
    Case::new("attacks/cfg-nul-cwd", "class C5: a NUL in cwd", |t| {
        nul(t, "/process/cwd", json!("/tmp\0x"))
    }),
    Case::new("attacks/cfg-nul-hostname", "class C5: a NUL in hostname", |t| {
        nul(t, "/hostname", json!("a\0b"))
    }),
    Case::new("attacks/cfg-nul-domainname", "class C5: a NUL in domainname", |t| {
        nul(t, "/domainname", json!("a\0b"))
    }),
    Case::new("attacks/cfg-nul-root", "class C5: a NUL in root.path", |t| {
        nul(t, "/root/path", json!("rootfs\0x"))
    }),
    Case::new("attacks/cfg-nul-destination", "class C5: a NUL in a destination", |t| {
        t.bundle().mount("/tmp\0x", "tmpfs", "tmpfs", &[]).refused("").map(drop)
    }),
    Case::new("attacks/cfg-nul-source", "class C5: a NUL in a source", |t| {
        let path = format!("{}\0x", source(t)?.display());
        t.bundle().mount("/data", "bind", &path, &["bind"]).refused("").map(drop)
    }),
    Case::new("attacks/cfg-nul-option", "class C5: a NUL in the data of a mount", |t| {
        t.bundle().mount("/tmp", "tmpfs", "tmpfs", &["mode=755\0x"]).refused("").map(drop)
    }),
    Case::new("attacks/cfg-nul-cgroup", "class C5: a NUL in cgroupsPath", |t| {
        let b = t.bundle();
        let path = format!("{}/{}\0x", t.host.cgroup_base, b.id());
        b.set("/linux/cgroupsPath", path).refused("").map(drop)
    }),
    Case::new("attacks/cfg-nul-sysctl", "class C5: a NUL in a kernel parameter", |t| {
        nul(t, "/linux/sysctl", json!({ "net.ipv4.ip_forward": "1\0x" }))
    }),
    Case::new("attacks/cfg-nul-masked", "class C5: a NUL in a masked path", |t| {
        nul(t, "/linux/maskedPaths/-", json!("/proc/acpi\0x"))
    }),
    Case::new("attacks/cfg-nul-readonly", "class C5: a NUL in a read-only path", |t| {
        nul(t, "/linux/readonlyPaths/-", json!("/proc/fs\0x"))
    }),
    Case::new("attacks/cfg-nul-device", "class C5: a NUL in the path of a device", |t| {
        let device = json!({ "path": "/dev/x\0y", "type": "c", "major": 1, "minor": 3 });
        nul(t, "/linux/devices/-", device)
    }),
    Case::new("attacks/cfg-nul-hook", "class C5: a NUL in the path of a hook", |t| {
        let hook = json!({ "path": format!("{}\0x", t.probe().display()) });
        t.bundle().hook("createRuntime", hook).refused("").map(drop)
    }),
];

fn nul(t: &Trial, pointer: &str, value: Value) -> Check {
    t.bundle().set(pointer, value).refused("").map(drop)
}
