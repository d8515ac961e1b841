//! The runtime as root of a user namespace: inside `unshare`, and inside a container.

use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::{Answers, Bundle};
use crate::call::Output;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, text};

/// The program that makes the namespaces, with the runtime as root of them.
const UNSHARE: &str =
    "set -- unshare --user --map-root-user --pid --mount --fork --mount-proc \"$@\"";

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("nested/run", "a container in a user namespace of others", |t| {
        let report = unshared(t, inner(t), &["report"])?.value("report")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))?;
        equal("pid", &report["pid"], &json!(1))
    })
    .rows(&["linux.namespaces absent"])
    .needs(NEEDS),
    Case::new("nested/user-namespace", "with a user namespace of its own", |t| {
        let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        let bundle = inner(t)
            .namespace("user")
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        let report = unshared(t, bundle, &["report"])?.value("report")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["linux.uidMappings"])
    .needs(NEEDS),
    Case::new("nested/ids-not-there", "ids that the outer namespace lacks are an error", |t| {
        let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 },
                         { "containerID": 1, "hostID": 70_000, "size": 5 }]);
        let bundle = inner(t)
            .namespace("user")
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        call(bundle.ops(&["echo=alive"]))?.fails_with("map|permitted").map(drop)
    })
    .rows(&["linux.uidMappings"])
    .needs(NEEDS),
    Case::new("nested/devices", "nodes of the host are shown, as none can be made", |t| {
        let ops = ["report", "write=/dev/null", "read=/dev/null", "rw=/dev/zero", "rw=/dev/ptmx"];
        let answers = unshared(t, inner(t), &ops)?;
        for op in &ops[1..] {
            answers.value(op)?;
        }
        let node = answers.value("report")?["dev"]["null"].clone();
        equal("kind", text(&node, "/kind")?, "char")?;
        equal("rdev", text(&node, "/rdev")?, "1:3")
    })
    .rows(&["rootless: devices", "default devices"])
    .needs(NEEDS),
    Case::new("nested/device-listed", "a device of the configuration is shown as well", |t| {
        let device = json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 5,
                             "fileMode": 0o666, "uid": 0, "gid": 0 });
        let bundle = inner(t).set("/linux/devices/-", device);
        let node = unshared(t, bundle, &["stat=/dev/zero"])?.value("stat=/dev/zero")?;
        equal("rdev", text(&node, "/rdev")?, "1:5")
    })
    .rows(&["rootless: devices"])
    .needs(NEEDS),
    Case::new("nested/device-other", "another device of the host is not shown for it", |t| {
        let device = json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 7 });
        let bundle = inner(t).set("/linux/devices/-", device);
        call(bundle.ops(&["echo=alive"]))?.fails_with("/dev/zero").map(drop)
    })
    .rows(&["rootless: devices", "linux.devices"])
    .needs(NEEDS),
    Case::new("nested/fifo", "a named pipe can be made all the same", |t| {
        let bundle = inner(t).set(
            "/linux/devices/-",
            json!({ "path": "/dev/pipe", "type": "p", "fileMode": 0o600 }),
        );
        let node = unshared(t, bundle, &["stat=/dev/pipe"])?.value("stat=/dev/pipe")?;
        equal("kind", text(&node, "/kind")?, "fifo")
    })
    .rows(&["linux.devices"])
    .needs(NEEDS),
    Case::new("nested/oom-score", "a lower score is set, or it is an error", |t| {
        let higher = inner(t).set("/process/oomScoreAdj", 500);
        let report = unshared(t, higher, &["read=/proc/self/oom_score_adj"])?;
        equal("score", &report.value("read=/proc/self/oom_score_adj")?, &json!("500\n"))?;
        // The kernel lets nobody below the lowest score that a privileged process has set before.
        let op = "read=/proc/self/oom_score_adj";
        let output = call(inner(t).set("/process/oomScoreAdj", -1000).ops(&[op]))?;
        if output.code != 0 {
            return output.fails_with("oom").map(drop);
        }
        equal("score", &Answers::of(&output.stdout)?.value(op)?, &json!("-1000\n"))
    })
    .needs(NEEDS),
    Case::new("nested/setgroups", "where setgroups is denied no groups are set", |t| {
        let answers = unshared(t, inner(t), &["report", "read=/proc/self/setgroups"])?;
        equal("setgroups", &answers.value("read=/proc/self/setgroups")?, &json!("deny\n"))
    })
    .rows(&["linux.uidMappings"])
    .needs(NEEDS),
    Case::new("nested/host-network", "sysfs of a network namespace of others", |t| {
        let bundle = inner(t).without_namespace("network");
        let answers = unshared(t, bundle, &["list=/sys/class", "create=/sys/new"])?;
        answers.value("list=/sys/class")?;
        answers.errno("create=/sys/new").map(drop)
    })
    .rows(&["linux.namespaces absent"])
    .needs(NEEDS),
    Case::new("nested/host-pid", "proc of a pid namespace of others", |t| {
        let bundle = inner(t).without_namespace("pid");
        let answers = unshared(t, bundle, &["report", "read=/proc/1/comm"])?;
        ensure(answers.value("report")?["pid"] != json!(1), "pid 1 in a pid namespace of others")
    })
    .rows(&["linux.namespaces absent"])
    .needs(NEEDS),
    Case::new("nested/own-user-namespace", "the path of the own user namespace", |t| {
        let bundle = inner(t).join("user", "/proc/self/ns/user");
        let report = unshared(t, bundle, &["report"])?.value("report")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))
    })
    .rows(&["linux.namespaces.path"])
    .needs(NEEDS),
    Case::new("nested/container", "the runtime in a container that it has made", |t| {
        let bundle = inner(t).ops(&["report", "write=/dev/null"]);
        let output = outer(t, bundle)?.run()?.ok()?;
        let answers = Answers::of(&output.stdout)?;
        answers.value("write=/dev/null")?;
        equal("pid", &answers.value("report")?["pid"], &json!(1))
    })
    .rows(&["linux.namespaces.type"])
    .needs(NEEDS),
    Case::new("nested/life", "create, exec and delete in a container", |t| {
        let bundle = inner(t).ops(&["sleep"]);
        let script = "$R create -b $B inner && $R start inner && $R exec inner /probe report && \
                      $R delete --force inner && ! $R state inner 2>/dev/null && echo gone";
        let output = scripted(t, bundle, script)?.run()?.ok()?;
        let report = Answers::of(&output.stdout)?.value("report")?;
        equal("uid", &report["uid"], &json!([0, 0, 0, 0]))?;
        ensure(output.stdout.ends_with("gone\n"), output.stdout)
    })
    .rows(&["linux.namespaces.type"])
    .needs(&[Need::UserNamespace, Need::Busybox]),
];

// No manager of services runs for the root user of an inner namespace.
const NEEDS: &[Need] = &[Need::UserNamespace, Need::Program("unshare"), Need::Cgroupfs];

/// A bundle as an engine that is itself in a container makes it: no user namespace, no cgroup.
fn inner(t: &Trial) -> Bundle<'_> {
    t.bundle()
        .without_namespace("user")
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
        .remove("/linux/cgroupsPath")
}

/// `run` by the root of a new user namespace that has one id.
fn call(mut bundle: Bundle<'_>) -> Check<Output> {
    bundle.call("run", &[])?.shell(UNSHARE).run()
}

fn unshared(_: &Trial, bundle: Bundle<'_>, ops: &[&str]) -> Check<Answers> {
    Answers::of(&call(bundle.ops(ops))?.ok()?.stdout)
}

/// A container in a user namespace with all capabilities, with the runtime and its libraries, which runs
/// the inner bundle.
fn outer<'t>(t: &'t Trial, inner: Bundle<'_>) -> Check<Bundle<'t>> {
    let id = inner.id().to_owned();
    let bundle = host_of(t, inner)?;
    Ok(bundle.args(&["/runtime", "--root", "/run", "run", "--bundle", "/inner", &id]))
}

/// The same with a shell that knows the runtime as `$R` and the bundle as `$B`.
fn scripted<'t>(t: &'t Trial, inner: Bundle<'_>, script: &str) -> Check<Bundle<'t>> {
    let script = format!("R='/runtime --root /run' B=/inner; {script}");
    Ok(host_of(t, inner)?.shell(&script))
}

fn host_of<'t>(t: &'t Trial, mut inner: Bundle<'_>) -> Check<Bundle<'t>> {
    inner.write()?;
    let mut bundle = t.bundle();
    if t.host.root {
        bundle = bundle.user_namespace();
    }
    let all: Vec<Value> = (0..=40).filter_map(capability).map(Value::from).collect();
    bundle = bundle
        .set(
            "/process/capabilities",
            json!({ "bounding": all, "effective": all, "permitted": all }),
        )
        .set("/process/noNewPrivileges", false)
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .file("runtime", "")
        .directory("inner")
        .directory("run")
        .bind(t.runtime(), "/runtime", &["ro"])
        .bind(&inner.dir, "/inner", &["rbind"])
        .mount("/run", "tmpfs", "tmpfs", &["mode=700"]);
    for library in ["/lib", "/lib64", "/usr/lib"] {
        if Path::new(library).exists() {
            bundle = bundle.directory(library).bind(Path::new(library), library, &["ro"]);
        }
    }
    Ok(bundle)
}

/// The names of capabilities by number, as far as a runtime needs them.
fn capability(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "CAP_CHOWN",
        1 => "CAP_DAC_OVERRIDE",
        2 => "CAP_DAC_READ_SEARCH",
        3 => "CAP_FOWNER",
        5 => "CAP_KILL",
        6 => "CAP_SETGID",
        7 => "CAP_SETUID",
        8 => "CAP_SETPCAP",
        12 => "CAP_NET_ADMIN",
        18 => "CAP_SYS_CHROOT",
        19 => "CAP_SYS_PTRACE",
        21 => "CAP_SYS_ADMIN",
        27 => "CAP_MKNOD",
        31 => "CAP_SETFCAP",
        _ => return None,
    })
}
