//! `linux.resources.memory` beyond the plain limit.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use super::control_files::{cgroup_of, files, offers, only_v1, own_directory};
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure, skip};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("memory/swap", "config-linux.md#memory: swap is memory and swap", |t| {
        let b = t
            .bundle()
            .set("/linux/resources/memory", json!({ "limit": 67_108_864, "swap": 100_663_296 }));
        has_swap(t)?;
        let (first, second) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
        let wanted = if t.host.v2 { "33554432" } else { "100663296" };
        files(t, b, "memory", &[(first, second, wanted)])
    })
    .rows(&["memory.swap"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/swap-none", "config-linux.md#memory: swap equal to limit is no swap", |t| {
        let b = t
            .bundle()
            .set("/linux/resources/memory", json!({ "limit": 67_108_864, "swap": 67_108_864 }));
        has_swap(t)?;
        let wanted = if t.host.v2 { "0" } else { "67108864" };
        let (first, second) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
        files(t, b, "memory", &[(first, second, wanted)])
    })
    .rows(&["memory.swap"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/swap-unlimited", "config-linux.md#memory: swap -1 is unlimited", |t| {
        let b =
            t.bundle().set("/linux/resources/memory", json!({ "limit": 67_108_864, "swap": -1 }));
        has_swap(t)?;
        let wanted = if t.host.v2 { "max" } else { "9223372036854771712" };
        let (first, second) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
        files(t, b, "memory", &[(first, second, wanted)])
    })
    .rows(&["memory.swap"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/swap-below-limit", "less than the limit on memory is an error", |t| {
        t.bundle()
            .set("/linux/resources/memory", json!({ "limit": 67_108_864, "swap": 33_554_432 }))
            .refused("memory|swap")
            .map(drop)
    })
    .rows(&["memory.swap"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/kernel", "config-linux.md#memory: kernel is held or an error", |t| {
        let b = t.bundle().set("/linux/resources/memory", json!({ "kernel": 33_554_432 }));
        let c = match b.ops(&["sleep"]).create() {
            Ok(container) => container,
            // The kernel has lost this limit in 5.16.
            Err(crate::failure::Failure::Broken(text)) if text.contains("kernel") => return Ok(()),
            Err(other) => return Err(other),
        };
        let dir = t.host.cgroup_dir("memory", &cgroup_of(t, &c.id));
        let limit = fs::read_to_string(dir.join("memory.kmem.limit_in_bytes")).unwrap_or_default();
        ensure(limit.trim() == "33554432", format!("accepted, but the limit is {limit:?}"))
    })
    .rows(&["memory.kernel"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/kernel-unlimited", "config-linux.md#memory: -1 is no limit", |t| {
        let b = t.bundle().set("/linux/resources/memory", json!({ "kernel": -1, "kernelTCP": -1 }));
        b.ops(&["exit=6"]).run()?.code(6).map(drop)
    })
    .rows(&["memory.kernel"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/kernel-tcp", "config-linux.md#memory: kernelTCP", |t| {
        let file = ("memory", "memory.kmem.tcp.limit_in_bytes", "33554432");
        only_v1(t, ("memory/kernelTCP", 33_554_432), file)
    })
    .rows(&["memory.kernel"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/swappiness", "config-linux.md#memory: swappiness", |t| {
        only_v1(t, ("memory/swappiness", 33), ("memory", "memory.swappiness", "33"))
    })
    .rows(&["memory.swappiness"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/swappiness-bad", "config-linux.md#memory: 0 to 100", |t| {
        let b = t.bundle().set("/linux/resources/memory/swappiness", 1000);
        b.refused("swappiness").map(drop)
    })
    .rows(&["memory.swappiness"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/oom-killer", "config-linux.md#memory: disableOOMKiller", |t| {
        let b = t.bundle().set(
            "/linux/resources/memory",
            json!({ "limit": 67_108_864, "disableOOMKiller": true }),
        );
        if t.host.v2 {
            return b.refused("oom").map(drop);
        }
        let c = b.ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir("memory", &cgroup_of(t, &c.id));
        let control = fs::read_to_string(dir.join("memory.oom_control"))?;
        ensure(control.contains("oom_kill_disable 1"), control)
    })
    .rows(&["memory.disableOOMKiller"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/oom-killer-kept", "config-linux.md#memory: false is the default", |t| {
        let b = t.bundle().set(
            "/linux/resources/memory",
            json!({ "limit": 33_554_432, "disableOOMKiller": false }),
        );
        b.ops(&["alloc=256"]).run()?.code(137).map(drop)
    })
    .rows(&["memory.disableOOMKiller"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/use-hierarchy", "config-linux.md#memory: useHierarchy true", |t| {
        let b = t.bundle().set("/linux/resources/memory", json!({ "useHierarchy": true }));
        if t.host.v2 || !offers(t, "memory", "memory.use_hierarchy") {
            return b.ops(&["exit=5"]).run()?.code(5).map(drop);
        }
        files(t, b, "memory", &[("memory.use_hierarchy", "", "1")])
    })
    .rows(&["memory.useHierarchy"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/use-hierarchy-not", "what the kernel cannot do is an error", |t| {
        let b = t.bundle().set("/linux/resources/memory", json!({ "useHierarchy": false }));
        b.refused("hierarchy").map(drop)
    })
    .rows(&["memory.useHierarchy"])
    .needs(&[Need::Controller("memory"), Need::Kernel(5, 11)]),
    Case::new("memory/check-before-update", "config-linux.md#memory: below the use", used)
        .rows(&["memory.checkBeforeUpdate"])
        .needs(&[Need::Root, Need::Controller("memory"), Need::Busybox]),
    Case::new("memory/check-before-update-fits", "config-linux.md#memory: above the use", |t| {
        let b = t.bundle().set(
            "/linux/resources/memory",
            json!({ "limit": 67_108_864, "checkBeforeUpdate": true }),
        );
        let (first, second) = ("memory.limit_in_bytes", "memory.max");
        files(t, b, "memory", &[(first, second, "67108864")])
    })
    .rows(&["memory.checkBeforeUpdate"])
    .needs(&[Need::Controller("memory")]),
    Case::new("memory/check-before-update-running", "update: below the use is refused", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir("memory", &cgroup_of(t, &c.id));
        let file = dir.join(if t.host.v2 { "memory.max" } else { "memory.limit_in_bytes" });
        let before = fs::read_to_string(&file)?;
        let limits = r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#;
        let call = t.call(&["update", "--resources", "-", &c.id]).stdin(limits)?;
        call.run()?.fails_with("memory|limit")?;
        equal("the limit", &fs::read_to_string(&file)?, &before)?;
        c.is("running")
    })
    .rows(&["memory.checkBeforeUpdate"])
    .needs(&[Need::Controller("memory"), Need::Command("update")]),
    Case::new("memory/all-enforced", "exec'd processes count as well", |t| {
        let b = t.bundle().set("/linux/resources/memory", json!({ "limit": 33_554_432 }));
        let c = b.ops(&["sleep"]).start()?;
        let output = c.exec(&[], &["/probe", "alloc=256"])?;
        ensure(output.code == 137, format!("exit status {}", output.code))
    })
    .rows(&["memory.limit"])
    .needs(&[Need::Controller("memory")]),
];

fn has_swap(t: &Trial) -> Check {
    let file = if t.host.v2 { "memory.swap.max" } else { "memory.memsw.limit_in_bytes" };
    if offers(t, "memory", file) { Ok(()) } else { skip("this kernel does not account swap") }
}

/// An empty cgroup that still holds memory: the pages of a file whose writer has ended.
fn used(t: &Trial) -> Check {
    let (path, dir) = own_directory(t, "memory", "used");
    ensure(offers(t, "memory", "memory.stat"), "no memory controller in new cgroups")?;
    fs::create_dir(&dir)?;
    let file = format!("/dev/shm/{}", t.id());
    let script = format!(
        "echo $$ >{}/cgroup.procs && dd if=/dev/zero of={file} bs=1M count=24",
        dir.display()
    );
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", &script]).stderr(Stdio::null());
    let mut child = t.spawn(&mut command)?;
    let pid = child.id();
    let status = child.wait()?;
    t.disown(pid);
    let result = if status.success() {
        let b = t.bundle().set("/linux/cgroupsPath", path);
        let limit = json!({ "limit": 8_388_608, "checkBeforeUpdate": true });
        b.set("/linux/resources/memory", limit).refused("memory|limit").map(drop)
    } else {
        broken("the cgroup could not be filled")
    };
    let _ = fs::remove_file(&file);
    let _ = fs::remove_dir(&dir);
    result
}
