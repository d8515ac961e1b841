//! Namespaces: new, shared, joined, refused.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("namespaces/new", "config-linux.md#namespaces: a type without a path is new", |t| {
        let report = t.bundle().report()?;
        for kind in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
            ensure(inside(&report, kind)? != host(kind)?, format!("{kind} is the host's"))?;
        }
        Ok(())
    })
    .rows(&["linux.namespaces.type"]),
    Case::new("namespaces/new-user", "config-linux.md#namespaces: a new user namespace", |t| {
        let report = t.bundle().user_namespace().report()?;
        ensure(inside(&report, "user")? != host("user")?, "user is the host's")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["linux.namespaces.type"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("namespaces/new-time", "config-linux.md#namespaces: a new time namespace", |t| {
        let report = t.bundle().namespace("time").report()?;
        ensure(inside(&report, "time")? != host("time")?, "time is the host's")
    })
    .rows(&["linux.namespaces.type"])
    .needs(&[Need::TimeNamespace]),
    Case::new(
        "namespaces/absent-network",
        "config-linux.md#namespaces: absent is inherited",
        |t| absent(t, "network", "net"),
    )
    .rows(&["linux.namespaces absent"])
    .needs(&[Need::Root]),
    Case::new("namespaces/absent-ipc", "config-linux.md#namespaces: absent is inherited", |t| {
        absent(t, "ipc", "ipc")
    })
    .rows(&["linux.namespaces absent"])
    .needs(&[Need::Root]),
    Case::new("namespaces/absent-pid", "config-linux.md#namespaces: absent is inherited", |t| {
        absent(t, "pid", "pid")
    })
    .rows(&["linux.namespaces absent"])
    .needs(&[Need::Root]),
    Case::new("namespaces/absent-cgroup", "config-linux.md#namespaces: absent is inherited", |t| {
        absent(t, "cgroup", "cgroup")
    })
    .rows(&["linux.namespaces absent"]),
    Case::new("namespaces/absent-uts", "config-linux.md#namespaces: absent is inherited", |t| {
        let report = t.bundle().without_namespace("uts").remove("/hostname").report()?;
        equal("uts", inside(&report, "uts")?, &host("uts")?)
    })
    .rows(&["linux.namespaces absent"])
    .needs(&[Need::Root]),
    Case::new("namespaces/absent-user", "config-linux.md#namespaces: absent is inherited", |t| {
        equal("user", inside(&t.bundle().report()?, "user")?, &host("user")?)
    })
    .rows(&["linux.namespaces absent"])
    .needs(&[Need::Root]),
    Case::new("namespaces/join-network", "config-linux.md#namespaces: path is joined", |t| {
        joined(t, CloneFlags::CLONE_NEWNET, "network", "net")
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("namespaces/join-ipc", "config-linux.md#namespaces: path is joined", |t| {
        joined(t, CloneFlags::CLONE_NEWIPC, "ipc", "ipc")
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("namespaces/join-uts", "config-linux.md#namespaces: path is joined", |t| {
        joined(t, CloneFlags::CLONE_NEWUTS, "uts", "uts")
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("namespaces/join-cgroup", "config-linux.md#namespaces: path is joined", |t| {
        joined(t, CloneFlags::CLONE_NEWCGROUP, "cgroup", "cgroup")
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root]),
    Case::new("namespaces/join-pid", "config-linux.md#namespaces: pid of another container", |t| {
        let first = t.bundle().ops(&["sleep"]).start()?;
        let path = format!("/proc/{}/ns/pid", first.pid()?);
        let link = fs::read_link(&path)?.display().to_string();
        let report = member(t, first.pid()?, &[("pid", "pid")]).report()?;
        equal("pid", inside(&report, "pid")?, &link)?;
        ensure(report["pid"] != json!(1), "pid 1 in a joined pid namespace")
    })
    .rows(&["linux.namespaces.path"]),
    Case::new(
        "namespaces/join-all-of-a-pod",
        "as an engine makes a second container of a pod",
        |t| {
            let first = t.bundle().ops(&["sleep"]).start()?;
            let pid = first.pid()?;
            let mut kinds = vec![("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
            let report = member(t, pid, &kinds).remove("/hostname").report()?;
            if !t.host.root {
                kinds.push(("user", "user"));
            }
            for (_, file) in kinds {
                let link = fs::read_link(format!("/proc/{pid}/ns/{file}"))?.display().to_string();
                equal(file, inside(&report, file)?, &link)?;
            }
            Ok(())
        },
    )
    .rows(&["linux.namespaces.path"]),
    Case::new("namespaces/join-user", "config-linux.md#namespaces: path is joined", |t| {
        let first = t.bundle().user_namespace().ops(&["sleep"]).start()?;
        let pid = first.pid()?;
        let kinds = [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
        let report = member(t, pid, &kinds).remove("/hostname").report()?;
        let link = fs::read_link(format!("/proc/{pid}/ns/user"))?.display().to_string();
        equal("user", inside(&report, "user")?, &link)?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["linux.namespaces.path"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new(
        "namespaces/join-missing",
        "config-linux.md#namespaces: a bad path is an error",
        |t| t.bundle().join("network", "/no/such/namespace").refused("no such file").map(drop),
    )
    .rows(&["linux.namespaces.path"]),
    Case::new("namespaces/join-wrong-type", "config-linux.md#namespaces: of another type", |t| {
        t.bundle()
            .join("network", "/proc/self/ns/uts")
            .refused("namespace|setns|invalid argument")
            .map(drop)
    })
    .rows(&["linux.namespaces.path"]),
    Case::new("namespaces/join-no-namespace", "config-linux.md#namespaces: a plain file", |t| {
        t.bundle().join("ipc", "/etc/passwd").refused("namespace|setns|invalid argument").map(drop)
    })
    .rows(&["linux.namespaces.path"]),
    Case::new("namespaces/duplicate", "config-linux.md#namespaces: duplicates are an error", |t| {
        t.bundle()
            .set("/linux/namespaces/-", json!({ "type": "ipc" }))
            .refused("namespace|duplicated ns")
            .map(drop)
    })
    .rows(&["linux.namespaces duplicate"]),
    Case::new(
        "namespaces/unknown",
        "config-linux.md#namespaces: an unknown type is an error",
        |t| {
            t.bundle()
                .set("/linux/namespaces/-", json!({ "type": "quantum" }))
                .refused("namespace")
                .map(drop)
        },
    )
    .rows(&["linux.namespaces.type"]),
    Case::new("namespaces/pid-one", "the program is pid 1 of a new pid namespace", |t| {
        let report = t.bundle().report()?;
        equal("pid", &report["pid"], &json!(1))?;
        equal("ppid", &report["ppid"], &json!(0))
    }),
    Case::new("namespaces/loopback", "convention: the loopback device is up", |t| {
        let answers = t.bundle().probe(&[
            "read=/sys/class/net/lo/operstate",
            "read=/proc/net/if_inet6",
            "read=/proc/net/fib_trie",
        ])?;
        let table = answers.value("read=/proc/net/fib_trie")?;
        ensure(table.to_string().contains("127.0.0.1"), "127.0.0.1 is missing")
    }),
    Case::new("namespaces/time-offsets", "config-linux.md#offset-for-time-namespace", |t| {
        let report = t
            .bundle()
            .namespace("time")
            .set(
                "/linux/timeOffsets",
                json!({
                    "boottime": { "secs": 86_400, "nanosecs": 0 },
                    "monotonic": { "secs": 7200, "nanosecs": 500 },
                }),
            )
            .report()?;
        let offsets = text(&report, "/timens_offsets")?;
        let words: Vec<&str> = offsets.split_whitespace().collect();
        equal("offsets", &words, &["monotonic", "7200", "500", "boottime", "86400", "0"])
    })
    .rows(&["linux.timeOffsets"])
    .needs(&[Need::TimeNamespace]),
    Case::new("namespaces/id-maps", "config-linux.md#user-namespace-mappings", |t| {
        let answers = t
            .bundle()
            .user_namespace()
            .set(
                "/linux/gidMappings",
                json!([
                    { "containerID": 0, "hostID": 300_000, "size": 10 },
                    { "containerID": 10, "hostID": 400_000, "size": 20 },
                ]),
            )
            .probe(&["read=/proc/self/uid_map", "read=/proc/self/gid_map"])?;
        map_is(&answers.value("read=/proc/self/uid_map")?, "0 200000 65536")?;
        map_is(&answers.value("read=/proc/self/gid_map")?, "0 300000 10 10 400000 20")
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("namespaces/id-map-without-user", "mappings need a user namespace", |t| {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        t.bundle()
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
            .refused("mapping|namespace")
            .map(drop)
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root]),
    Case::new("namespaces/user-without-map", "a new user namespace needs mappings", |t| {
        t.bundle()
            .namespace("user")
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
            .refused("mapping|namespace")
            .map(drop)
    })
    .rows(&["linux.uidMappings"])
    .needs(&[Need::Root]),
    Case::new("namespaces/user-devices", "the default devices work in a user namespace", |t| {
        let answers = t.bundle().user_namespace().probe(&[
            "write=/dev/null",
            "read=/dev/urandom",
            "rw=/dev/zero",
        ])?;
        answers.value("write=/dev/null")?;
        answers.value("read=/dev/urandom")?;
        answers.value("rw=/dev/zero").map(drop)
    })
    .rows(&["rootless: devices"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("namespaces/hostname", "config.md#hostname", |t| {
        let report = t.bundle().set("/hostname", "some-name").report()?;
        equal("hostname", text(&report, "/hostname")?, "some-name")
    })
    .rows(&["hostname"]),
    Case::new("namespaces/hostname-needs-uts", "config.md#hostname: not the host's", |t| {
        let before = nix::unistd::gethostname()?;
        t.bundle().without_namespace("uts").refused("uts")?;
        ensure(nix::unistd::gethostname()? == before, "the host's name changed")
    })
    .rows(&["hostname"]),
    Case::new("namespaces/domainname", "config.md#domainname", |t| {
        let report = t.bundle().set("/domainname", "some.domain").report()?;
        equal("domainname", text(&report, "/domainname")?, "some.domain")
    })
    .rows(&["domainname"]),
];

pub(super) fn inside<'v>(report: &'v Value, kind: &str) -> Check<&'v str> {
    text(report, &format!("/namespaces/{kind}"))
}

pub(super) fn host(kind: &str) -> Check<String> {
    Ok(fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string())
}

fn absent(t: &Trial, kind: &str, file: &str) -> Check {
    let mut bundle = t.bundle().without_namespace(kind);
    if kind == "ipc" {
        bundle = bundle.unmount("/dev/mqueue");
    }
    equal(kind, inside(&bundle.report()?, file)?, &host(file)?)
}

/// Joins a namespace that another process keeps.
fn joined(t: &Trial, flag: CloneFlags, kind: &str, file: &str) -> Check {
    let keeper = Keeper::new(t, flag)?;
    let (path, link) = (keeper.path(file), keeper.link(file)?);
    ensure(link != host(file)?, "the keeper has no namespace of its own")?;
    let mut bundle = t.bundle().join(kind, &path);
    if kind == "uts" {
        bundle = bundle.remove("/hostname");
    }
    equal(kind, inside(&bundle.report()?, file)?, &link)
}

/// A sleeping process with one namespace of its own.
pub(super) struct Keeper<'t> {
    trial: &'t Trial,
    child: Child,
}

impl<'t> Keeper<'t> {
    pub(super) fn new(trial: &'t Trial, flag: CloneFlags) -> Check<Self> {
        let thread_limited = std::thread::scope(|scope| {
            // Only this thread changes its namespace; its child inherits it.
            scope
                .spawn(move || {
                    unshare(flag).map_err(|error| format!("unshare {flag:?}: {error}"))?;
                    let mut command = Command::new(trial.probe());
                    command.arg("sleep").stdin(Stdio::null()).stdout(Stdio::null());
                    trial.spawn(&mut command).map_err(|error| error.to_string())
                })
                .join()
        });
        let child = thread_limited.map_err(|_| "the thread died")??;
        let keeper = Self { trial, child };
        // Started by vfork, it enters the time namespace just after this process goes on.
        let link = |file| fs::read_link(keeper.path(file)).ok();
        trial.until("a process in its time namespace", || {
            link("time") == link("time_for_children")
        })?;
        Ok(keeper)
    }

    /// The file of its namespace of this name.
    pub(super) fn path(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.child.id())
    }

    /// What this namespace is.
    pub(super) fn link(&self, file: &str) -> Check<String> {
        Ok(fs::read_link(self.path(file))?.display().to_string())
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.trial.disown(self.child.id());
    }
}

/// A bundle that joins namespaces of a container; an ordinary user must join the user namespace
/// that owns them too.
fn member<'t>(t: &'t Trial, pid: i64, kinds: &[(&str, &str)]) -> Bundle<'t> {
    let mut bundle = t.bundle();
    if !t.host.root {
        bundle = bundle.remove("/linux/uidMappings").remove("/linux/gidMappings");
        bundle = bundle.join("user", &format!("/proc/{pid}/ns/user"));
    }
    for (kind, file) in kinds {
        bundle = bundle.join(kind, &format!("/proc/{pid}/ns/{file}"));
    }
    bundle
}

fn map_is(found: &Value, wanted: &str) -> Check {
    let words: Vec<&str> = found.as_str().unwrap_or_default().split_whitespace().collect();
    equal("map", &words.join(" "), wanted)
}
