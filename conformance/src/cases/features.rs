//! What the features document promises is true.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{equal, strings, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("features/versions", "features.md: both versions are accepted as ociVersion", |t| {
        let doc = document(t)?;
        for pointer in ["/ociVersionMin", "/ociVersionMax"] {
            let version = text(&doc, pointer)?;
            t.bundle().set("/ociVersion", version).ops(&["exit=3"]).run()?.code(3)?;
        }
        Ok(())
    })
    .rows(&["features", "ociVersion"]),
    Case::new("features/newest", "features.md: version 1.3 of the specification", |t| {
        let doc = document(t)?;
        ensure(text(&doc, "/ociVersionMax")?.starts_with("1.3."), doc["ociVersionMax"].to_string())
    })
    .rows(&["features"]),
    Case::new("features/hooks", "features.md: every kind of hook is named", |t| {
        let mut found = strings(&document(t)?, "/hooks")?;
        found.sort_unstable();
        let all = [
            "createContainer",
            "createRuntime",
            "poststart",
            "poststop",
            "prestart",
            "startContainer",
        ];
        equal("hooks", &found, &all)
    })
    .rows(&["features"]),
    Case::new("features/mount-options", "features.md: the options of config.md's table", |t| {
        let found = strings(&document(t)?, "/mountOptions")?;
        let missing: Vec<&str> = OPTIONS
            .split_ascii_whitespace()
            .filter(|option| !found.iter().any(|one| one == option))
            .collect();
        ensure(missing.is_empty(), format!("not listed: {missing:?}"))
    })
    .rows(&["features"]),
    Case::new("features/mount-options-taken", "features.md: listed options are recognized", |t| {
        // tmpfs refuses what it does not know, so that an option that is passed on to it fails.
        let mut bundle = t.bundle().ops(&["exit=3"]);
        for option in strings(&document(t)?, "/mountOptions")? {
            let of_binds =
                ["bind", "rbind", "remount", "idmap", "ridmap", "copy-symlink"].contains(&&*option);
            if !of_binds {
                bundle = bundle.mount(&format!("/m/{option}"), "tmpfs", "tmpfs", &[&option]);
            }
        }
        bundle.run()?.code(3).map(drop)
    })
    .rows(&["features"])
    .needs(&[Need::Root]),
    Case::new("features/namespaces", "features-linux.md: all eight kinds, each accepted", |t| {
        let mut found = strings(&document(t)?, "/linux/namespaces")?;
        found.sort_unstable();
        let all = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
        equal("namespaces", &found, &all)?;
        let bundle = found
            .iter()
            .filter(|kind| *kind != "user")
            .fold(t.bundle().ops(&["exit=3"]), |bundle, kind| bundle.namespace(kind));
        bundle.run()?.code(3).map(drop)
    })
    .rows(&["features"])
    .needs(&[Need::Root, Need::TimeNamespace]),
    Case::new(
        "features/capabilities",
        "features-linux.md: listed capabilities are accepted",
        |t| {
            let list = strings(&document(t)?, "/linux/capabilities")?;
            ensure(list.len() >= 41, format!("{} capabilities", list.len()))?;
            t.bundle()
                .set("/process/capabilities", json!({ "bounding": list }))
                .ops(&["exit=3"])
                .run()?
                .code(3)
                .map(drop)
        },
    )
    .rows(&["features"]),
    Case::new("features/seccomp", "features-linux.md: what is listed can be in a profile", |t| {
        let doc = document(t)?;
        let names =
            ["acct", "swapon", "swapoff", "sethostname", "setdomainname", "reboot", "quotactl"];
        let actions = strings(&doc, "/linux/seccomp/actions")?;
        let by_action = actions
            .iter()
            .filter(|action| *action != "SCMP_ACT_NOTIFY")
            .zip(names.iter().cycle())
            .map(|(action, name)| {
                json!({ "names": [name], "action": action, "args": [{ "index": 0,
                "value": 987, "op": "SCMP_CMP_EQ" }] })
            });
        let operators = strings(&doc, "/linux/seccomp/operators")?;
        let by_operator = operators.iter().map(|operator| {
            json!({ "names": ["delete_module"], "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 0, "value": 1, "valueTwo": 1, "op": operator }] })
        });
        let rules: Vec<Value> = by_action.chain(by_operator).collect();
        with_profile(t, json!({ "syscalls": rules })).run()?.code(3)?;
        // A filter cannot be for machines of both byte orders.
        let mut archs = strings(&doc, "/linux/seccomp/archs")?;
        let little = ["X86", "X32", "ARM", "AARCH64", "RISCV64", "EL", "LE"];
        archs.retain(|arch| little.iter().any(|part| arch.contains(part)));
        with_profile(t, json!({ "architectures": archs })).run()?.code(3).map(drop)
    })
    .rows(&["features"]),
    Case::new("features/seccomp-flags", "features-linux.md: supported flags take effect", |t| {
        let doc = document(t)?;
        let known = strings(&doc, "/linux/seccomp/knownFlags")?;
        let supported = strings(&doc, "/linux/seccomp/supportedFlags")?;
        ensure(supported.iter().all(|flag| known.contains(flag)), format!("{supported:?}"))?;
        for flag in ["TSYNC", "LOG", "SPEC_ALLOW"] {
            let flag = format!("SECCOMP_FILTER_FLAG_{flag}");
            // Linux 4.17 has all three.
            ensure(supported.contains(&flag), format!("{flag} is not supported"))?;
            with_profile(t, json!({ "flags": [flag] })).run()?.code(3)?;
        }
        Ok(())
    })
    .rows(&["features: seccomp flags"]),
    Case::new("features/memory-policy", "features-linux.md: modes and flags of version 1.3", |t| {
        let doc = document(t)?;
        equal("modes", &strings(&doc, "/linux/memoryPolicy/modes")?.len(), &7)?;
        equal("flags", &strings(&doc, "/linux/memoryPolicy/flags")?.len(), &3)
    })
    .rows(&["features"]),
    Case::new("features/switches", "features-linux.md: every other property, with its type", |t| {
        let doc = document(t)?;
        for pointer in [
            "/linux/cgroup/v1",
            "/linux/cgroup/v2",
            "/linux/cgroup/systemd",
            "/linux/cgroup/systemdUser",
            "/linux/cgroup/rdma",
            "/linux/seccomp/enabled",
            "/linux/apparmor/enabled",
            "/linux/selinux/enabled",
            "/linux/intelRdt/enabled",
            "/linux/intelRdt/schemata",
            "/linux/intelRdt/monitoring",
            "/linux/mountExtensions/idmap/enabled",
            "/linux/netDevices/enabled",
        ] {
            match doc.pointer(pointer) {
                Some(Value::Bool(_)) => {}
                other => return broken(format!("{pointer} is {other:?}")),
            }
        }
        ensure(doc["annotations"].is_object(), "no annotations")
    })
    .rows(&["features"]),
];

/// The options of config.md "Linux mount options".
const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand \
    noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid \
    nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime \
    rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave \
    rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync \
    tmpcopyup unbindable idmap ridmap";

fn document(t: &Trial) -> Check<Value> {
    t.run(&["features"])?.ok()?.json()
}

/// A bundle whose profile allows everything but for this.
fn with_profile(t: &Trial, mut profile: Value) -> Bundle<'_> {
    profile["defaultAction"] = json!("SCMP_ACT_ALLOW");
    t.bundle().set("/linux/seccomp", profile).ops(&["exit=3"])
}
