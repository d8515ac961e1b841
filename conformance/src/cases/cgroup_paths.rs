//! `linux.cgroupsPath` and who owns the cgroup.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::json;

use super::control_files::{cgroup_of, own_directory};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::leftovers::cgroups;
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("cgroups/path-relative", "config-linux.md#cgroups-path: one path, one place", |t| {
        let path = format!("{}-relative", t.id());
        let place = || -> Check<String> {
            let b = t.bundle().set("/linux/cgroupsPath", path.as_str());
            let c = b.ops(&["sleep"]).start()?;
            let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
            c.delete_force()?.ok()?;
            equal("cgroups that are left", &cgroups(&path).len(), &0)?;
            Ok(own)
        };
        let first = place()?;
        ensure(first.contains(&path), format!("{path} is not in {first:?}"))?;
        equal("the second place", &place()?, &first)
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Root, Need::Cgroup, Need::Cgroupfs]),
    Case::new("cgroups/path-empty-taken", "config-linux.md#cgroups-path: it may exist", |t| {
        let (path, dir) = own_directory(t, "pids", "there");
        fs::create_dir(&dir)?;
        let b = t.bundle().set("/linux/cgroupsPath", path);
        let c = b.set("/linux/resources/pids", json!({ "limit": 45 })).ops(&["sleep"]).start()?;
        equal("pids.max", fs::read_to_string(dir.join("pids.max"))?.trim(), "45")?;
        c.delete_force()?.ok().map(drop)
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Root, Need::Controller("pids")]),
    Case::new("cgroups/path-in-use", "config-linux.md: a cgroup with processes is an error", |t| {
        let (path, dir) = own_directory(t, "memory", "used");
        fs::create_dir(&dir)?;
        let mut sleeper = t.spawn(Command::new("/bin/busybox").args(["sleep", "60"]))?;
        let pid = sleeper.id();
        let moved = fs::write(dir.join("cgroup.procs"), pid.to_string());
        let refused = t.bundle().set("/linux/cgroupsPath", path).refused("");
        sleeper.kill()?;
        sleeper.wait()?;
        t.disown(pid);
        moved?;
        refused?;
        Ok(fs::remove_dir(&dir)?)
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Root, Need::Controller("memory"), Need::Busybox]),
    Case::new("cgroups/path-frozen", "config-linux.md: a frozen cgroup is an error", |t| {
        let (path, dir) = own_directory(t, "freezer", "cold");
        fs::create_dir(&dir)?;
        let (file, on, off) = match t.host.v2 {
            true => ("cgroup.freeze", "1", "0"),
            false => ("freezer.state", "FROZEN", "THAWED"),
        };
        fs::write(dir.join(file), on)?;
        let refused = t.bundle().set("/linux/cgroupsPath", path).refused("frozen|freez");
        fs::write(dir.join(file), off)?;
        refused?;
        Ok(fs::remove_dir(&dir)?)
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/path-shared", "two containers never share a cgroup", |t| {
        let path = format!("{}/{}-both", t.host.cgroup_base, t.id());
        let c = t.bundle().set("/linux/cgroupsPath", path.as_str()).ops(&["sleep"]).start()?;
        t.bundle().set("/linux/cgroupsPath", path.as_str()).refused("")?;
        c.is("running")
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("cgroups/owner", "config-linux.md#cgroup-ownership: the container's root", |t| {
        let c = owned(t, "rw").ops(&["mkdir=/sys/fs/cgroup/inner", "sleep"]).start()?;
        c.answers(1)?.value("mkdir=/sys/fs/cgroup/inner")?;
        owners(t, &c.id, 200_000)
    })
    .rows(&["cgroup ownership"])
    .needs(&[Need::Root, Need::CgroupV2, Need::UserNamespace]),
    Case::new("cgroups/owner-user", "config-linux.md#cgroup-ownership: process.user", |t| {
        let b = owned(t, "rw").set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        let c = b.ops(&["sleep"]).start()?;
        owners(t, &c.id, 201_000)
    })
    .rows(&["cgroup ownership"])
    .needs(&[Need::Root, Need::CgroupV2, Need::UserNamespace]),
    Case::new("cgroups/owner-read-only", "config-linux.md#cgroup-ownership: not with ro", |t| {
        let c = owned(t, "ro").ops(&["sleep"]).start()?;
        owners(t, &c.id, 0)
    })
    .rows(&["cgroup ownership"])
    .needs(&[Need::Root, Need::CgroupV2, Need::UserNamespace]),
    Case::new("cgroups/owner-shared-view", "not without a cgroup namespace", |t| {
        let c = owned(t, "rw").without_namespace("cgroup").ops(&["sleep"]).start()?;
        owners(t, &c.id, 0)
    })
    .rows(&["cgroup ownership"])
    .needs(&[Need::Root, Need::CgroupV2, Need::UserNamespace]),
    Case::new("cgroups/owner-version-1", "config-linux.md#cgroup-ownership: not on v1", |t| {
        let b = t.bundle().user_namespace();
        let c = b.namespace("cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
        let c = c.ops(&["sleep"]).start()?;
        owners(t, &c.id, 0)
    })
    .rows(&["cgroup ownership"])
    .needs(&[Need::Root, Need::CgroupV1, Need::Cgroup, Need::UserNamespace]),
];

fn owned<'t>(t: &'t Trial, access: &str) -> Bundle<'t> {
    t.bundle().user_namespace().namespace("cgroup").mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", access],
    )
}

/// The owner of the directory and of what is given with it; limits stay the host's.
fn owners(t: &Trial, id: &str, wanted: u32) -> Check {
    let dirs = cgroups(id);
    ensure(!dirs.is_empty(), "no cgroup")?;
    for dir in dirs.iter().filter(|dir| dir.ends_with(id)) {
        let owner = |file: &str| fs::metadata(dir.join(file)).map(|data| data.uid());
        equal("owner of the cgroup", &owner(".")?, &wanted)?;
        equal("owner of cgroup.procs", &owner("cgroup.procs")?, &wanted)?;
    }
    if t.host.v2 {
        let dir = t.host.cgroup_dir("", &cgroup_of(t, id));
        equal("owner of cgroup.freeze", &fs::metadata(dir.join("cgroup.freeze"))?.uid(), &0)?;
        let own = fs::metadata(dir.join("cgroup.subtree_control"))?.uid();
        equal("owner of cgroup.subtree_control", &own, &wanted)?;
    }
    Ok(())
}
