//! Kernel parameters.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("sysctl/net", "config-linux.md#sysctl: net.* in a network namespace", |t| {
        is(sysctl(t, "net.ipv4.ip_forward", "1"), "/proc/sys/net/ipv4/ip_forward", "1")
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/ipc", "config-linux.md#sysctl: kernel.msgmax in an ipc namespace", |t| {
        is(sysctl(t, "kernel.msgmax", "65000"), "/proc/sys/kernel/msgmax", "65000")
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/shm", "config-linux.md#sysctl: kernel.shm_rmid_forced", |t| {
        is(sysctl(t, "kernel.shm_rmid_forced", "1"), "/proc/sys/kernel/shm_rmid_forced", "1")
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/mqueue", "config-linux.md#sysctl: fs.mqueue.*", |t| {
        is(sysctl(t, "fs.mqueue.msg_max", "12"), "/proc/sys/fs/mqueue/msg_max", "12")
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/port-range", "a value of two words", |t| {
        is(
            sysctl(t, "net.ipv4.ip_local_port_range", "40000 41000"),
            "/proc/sys/net/ipv4/ip_local_port_range",
            "40000 41000",
        )
    }),
    Case::new("sysctl/slashes", "sysctl(8): a name with slashes", |t| {
        is(sysctl(t, "net/ipv4/ip_forward", "1"), "/proc/sys/net/ipv4/ip_forward", "1")
    }),
    Case::new("sysctl/not-namespaced", "a parameter of the whole host is refused", |t| {
        sysctl(t, "vm.swappiness", "60").refused("vm.swappiness").map(drop)
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/kernel-panic", "a parameter of the whole host is refused", |t| {
        sysctl(t, "kernel.panic", "0").refused("kernel.panic").map(drop)
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/net-of-the-host", "net.* without a network namespace is refused", |t| {
        sysctl(t, "net.ipv4.ip_forward", "1")
            .without_namespace("network")
            .unmount("/sys")
            .refused("net.ipv4.ip_forward")
            .map(drop)
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/ipc-of-the-host", "kernel.msgmax without an ipc namespace is refused", |t| {
        sysctl(t, "kernel.msgmax", "65000")
            .without_namespace("ipc")
            .unmount("/dev/mqueue")
            .refused("kernel.msgmax")
            .map(drop)
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/hostname", "kernel.hostname is the business of hostname", |t| {
        sysctl(t, "kernel.hostname", "x").refused("kernel.hostname").map(drop)
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/domainname", "kernel.domainname in a uts namespace", |t| {
        is(sysctl(t, "kernel.domainname", "a.domain"), "/proc/sys/kernel/domainname", "a.domain")
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/missing", "a parameter that does not exist is an error", |t| {
        sysctl(t, "net.ipv4.no_such_thing", "1").refused("no_such_thing").map(drop)
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/bad-value", "a value that the kernel refuses is an error", |t| {
        sysctl(t, "net.ipv4.ip_forward", "many").refused("ip_forward").map(drop)
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/traversal", "CVE-2022-0811: a name never leaves its tree", |t| {
        let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern")?;
        for name in [
            "net.../kernel.core_pattern",
            "net/../kernel/core_pattern",
            "net.ipv4/../../kernel/core_pattern",
        ] {
            sysctl(t, name, "|/bad").refused("sysctl|/proc/sys")?;
        }
        equal("core_pattern", &std::fs::read_to_string("/proc/sys/kernel/core_pattern")?, &before)
    }),
];

fn sysctl<'t>(t: &'t Trial, name: &str, value: &str) -> Bundle<'t> {
    let mut map = serde_json::Map::new();
    map.insert(name.to_owned(), Value::from(value));
    t.bundle().set("/linux/sysctl", Value::Object(map))
}

fn is(bundle: Bundle<'_>, path: &str, wanted: &str) -> crate::failure::Check {
    let op = format!("read={path}");
    let found = bundle.probe(&[&op])?.value(&op)?;
    let words: Vec<&str> = found.as_str().unwrap_or_default().split_whitespace().collect();
    equal(path, &json!(words.join(" ")), &json!(wanted))
}
