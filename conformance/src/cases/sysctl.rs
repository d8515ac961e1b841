//! Kernel parameters.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::ensure;
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
    Case::new(
        "sysctl/ipc-all",
        "config-linux.md#sysctl: every parameter of an ipc namespace",
        |t| {
            let mut map = serde_json::Map::new();
            for name in IPC {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                // What a kernel lacks cannot be set; a new namespace has the same values.
                if let Ok(value) = std::fs::read_to_string(path) {
                    let value = if name.ends_with("next_id") { "5" } else { value.trim() };
                    map.insert((*name).to_owned(), Value::from(value.replace('\t', " ")));
                }
            }
            ensure(map.len() > 6, format!("this kernel has {} of them", map.len()))?;
            let read = "read=/proc/sys/kernel/sem_next_id";
            let answers = t.bundle().set("/linux/sysctl", map).probe(&[read, "exit=0"])?;
            let found = answers.value(read).unwrap_or(json!("5"));
            equal("sem_next_id", found.as_str().unwrap_or_default().trim(), "5")
        },
    )
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/user", "config-linux.md#sysctl: user.* in a user namespace", |t| {
        let b = sysctl(t, "user.max_net_namespaces", "77").user_namespace();
        is(b, "/proc/sys/user/max_net_namespaces", "77")
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("sysctl/user-of-the-host", "user.* without a user namespace is refused", |t| {
        sysctl(t, "user.max_net_namespaces", "77").refused("user.max_net_namespaces").map(drop)
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/mqueue-of-the-host", "fs.mqueue.* without an ipc namespace", |t| {
        let b = sysctl(t, "fs.mqueue.msg_max", "12").without_namespace("ipc");
        b.unmount("/dev/mqueue").refused("fs.mqueue.msg_max").map(drop)
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/domainname-of-the-host", "kernel.domainname without a uts namespace", |t| {
        let b = sysctl(t, "kernel.domainname", "x").without_namespace("uts").remove("/hostname");
        b.refused("kernel.domainname").map(drop)
    })
    .rows(&["linux.sysctl"]),
    Case::new("sysctl/not-in-the-list", "what is like an allowed name is not allowed", |t| {
        for name in [
            "kernel.msgmaximum",
            "kernel.shm",
            "kernel",
            "kernel.sched_autogroup_enabled",
            "kernel.core_pattern",
            "fs.mqueue",
            "fs.file-max",
            "fs.mqueuex.msg_max",
            "net",
            "network.ipv4.ip_forward",
            "user",
            "dev.tty.ldisc_autoload",
            "vm.overcommit_memory",
            "debug.exception-trace",
            ".net.ipv4.ip_forward",
            "net..ipv4.ip_forward",
            "NET.ipv4.ip_forward",
            "",
        ] {
            // Whatever is refused too late would be written with the value that it has.
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            let value = std::fs::read_to_string(path).unwrap_or_default();
            sysctl(t, name, value.trim()).refused("sysctl")?;
        }
        Ok(())
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/interface", "sysctl(8): parameters of one interface, both ways", |t| {
        for name in ["net.ipv4.conf.lo.forwarding", "net/ipv4/conf/lo/forwarding"] {
            is(sysctl(t, name, "1"), "/proc/sys/net/ipv4/conf/lo/forwarding", "1")?;
        }
        Ok(())
    })
    .rows(&["linux.sysctl"]),
    Case::new(
        "sysctl/joined-network",
        "config-linux.md#sysctl: of a namespace that is joined",
        |t| {
            let first = t.bundle().ops(&["sleep"]).start()?;
            let path = format!("/proc/{}/ns/net", first.pid()?);
            let op = "read=/proc/sys/net/ipv4/ip_forward";
            sysctl(t, "net.ipv4.ip_forward", "1")
                .join("network", &path)
                .ops(&["exit=0"])
                .run()?
                .ok()?;
            let found = first.exec_probe(&[], &[op])?.value(op)?;
            equal("ip_forward", found.as_str().unwrap_or_default().trim(), "1")
        },
    )
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new(
        "sysctl/joined-own",
        "a joined namespace that is the runtime's own is refused",
        |t| {
            for (kind, file, name) in [
                ("network", "net", "net.ipv4.ip_forward"),
                ("ipc", "ipc", "kernel.msgmax"),
                ("ipc", "ipc", "fs.mqueue.msg_max"),
                ("uts", "uts", "kernel.domainname"),
            ] {
                let path = format!("/proc/{}/ns/{file}", std::process::id());
                let file = format!("/proc/sys/{}", name.replace('.', "/"));
                // Whatever is refused too late is written with the value that it has.
                let value = std::fs::read_to_string(file)?;
                let bundle = sysctl(t, name, value.trim()).join(kind, &path);
                bundle.remove("/hostname").refused(name)?;
            }
            Ok(())
        },
    )
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
    Case::new("sysctl/joined-own-user", "the same for user.*", |t| {
        let name = "user.max_net_namespaces";
        let value = std::fs::read_to_string("/proc/sys/user/max_net_namespaces")?;
        let path = format!("/proc/{}/ns/user", std::process::id());
        sysctl(t, name, value.trim()).join("user", &path).refused(name).map(drop)
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("sysctl/many", "all parameters of the list are set", |t| {
        let map = json!({
            "net.ipv4.ip_forward": "1", "kernel.msgmax": "65000", "kernel.shm_rmid_forced": "1",
            "net.core.somaxconn": "999", "fs.mqueue.queues_max": "33",
        });
        let ops = ["read=/proc/sys/net/core/somaxconn", "read=/proc/sys/fs/mqueue/queues_max"];
        let answers = t.bundle().set("/linux/sysctl", map).probe(&ops)?;
        for (op, wanted) in ops.iter().zip(["999", "33"]) {
            let found = answers.value(op)?;
            equal(op, found.as_str().unwrap_or_default().trim(), wanted)?;
        }
        Ok(())
    })
    .rows(&["linux.sysctl"])
    .needs(&[Need::Root]),
];

/// The parameters of an ipc namespace below `kernel.`.
const IPC: &[&str] = &[
    "kernel.auto_msgmni",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
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
