//! The order of the set-up, as far as hooks and programs can observe it.

use std::fs;

use serde_json::json;

use super::hook_programs::shell;
use crate::bundle::Answers;
use crate::case::{Case, Need};
use crate::failure::ensure;
use crate::value::{contains, equal, text};

/// The pid of the state document on standard input.
const PID: &str = r#"pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/')"#;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("order/hooks-after-namespaces", "config.md#prestart: the namespaces exist", |t| {
        let file = t.path("namespaces");
        let script = format!(
            "{PID}; for kind in net uts ipc mnt; do readlink /proc/$pid/ns/$kind; done >> {}",
            file.display()
        );
        let bundle = t.bundle().ops(&["sleep"]);
        let bundle = bundle.hook("prestart", shell(&script)).hook("createRuntime", shell(&script));
        let c = bundle.create()?;
        let pid = c.pid()?;
        let wanted: Vec<String> = ["net", "uts", "ipc", "mnt"]
            .iter()
            .map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")))
            .map(|link| link.map(|link| link.display().to_string()))
            .collect::<Result<_, _>>()?;
        let seen = fs::read_to_string(&file)?;
        let seen: Vec<&str> = seen.lines().collect();
        equal(
            "of prestart",
            &seen.get(..4),
            &Some(&*wanted.iter().map(|one| &**one).collect::<Vec<_>>()),
        )?;
        equal("of createRuntime", &seen.get(4..), &seen.get(..4))
    })
    .rows(&["order of set-up", "hooks.prestart"])
    .needs(&[Need::Root]),
    Case::new(
        "order/hooks-after-mounts",
        "config.md#createruntime-hooks: mounted, not pivoted",
        |t| {
            let bundle = t.bundle().ops(&["sleep"]);
            let inside = bundle.rootfs("proc/uptime").display().to_string();
            // The mount namespace still has the host's paths, and the mounts are below the rootfs.
            let script = format!("{PID}; nsenter --mount=/proc/$pid/ns/mnt test -e {inside}");
            let bundle =
                bundle.hook("prestart", shell(&script)).hook("createRuntime", shell(&script));
            bundle.create()?;
            Ok(())
        },
    )
    .rows(&["order of set-up", "hooks.createRuntime"])
    .needs(&[Need::Root]),
    Case::new("order/create-container-before-pivot", "config.md#createcontainer-hooks", |t| {
        let bundle = t.bundle().ops(&["read=/etc/mark"]).file("etc/mark", "of the image");
        let source = t.path("mark");
        fs::write(&source, "of the hook")?;
        let target = bundle.rootfs("etc/mark");
        // A mount that it makes on the host's path is in the container, and nowhere else.
        let script = format!("mount --bind {} {}", source.display(), target.display());
        let mut bundle = bundle.hook("createContainer", shell(&script));
        let output = bundle.call("run", &[])?.run()?.ok()?;
        let answers = Answers::of(&output.stdout)?;
        equal("inside", &answers.value("read=/etc/mark")?, &json!("of the hook"))?;
        equal("on the host", &fs::read_to_string(&target)?, "of the image")
    })
    .rows(&["order of set-up", "hooks.createContainer"])
    .needs(&[Need::Root]),
    Case::new("order/hooks-before-look-up", "the program is looked up after the hooks", |t| {
        let bundle = t.bundle().args(&["/late", "exit=4"]);
        let script = format!("cp {} {}", t.probe().display(), bundle.rootfs("late").display());
        bundle.hook("createRuntime", shell(&script)).run()?.code(4).map(drop)
    })
    .rows(&["order of set-up"]),
    Case::new(
        "order/look-up-at-create",
        "runtime.md#create: a missing program is its error",
        |t| {
            let output =
                t.bundle().args(&["no-such-program"]).refused("executable file not found")?;
            contains("error", &output.stderr, "no-such-program")
        },
    )
    .rows(&["order of set-up", "create"]),
    Case::new(
        "order/hooks-after-host-name",
        "the host name is the container's at startContainer",
        |t| {
            let hook = json!({ "path": "/probe", "args": ["probe", "record=/hooks.log,x"] });
            let bundle = t.bundle().set("/hostname", "of-the-container").ops(&["exit=0"]);
            let dir = bundle.dir.clone();
            bundle.hook("startContainer", hook).run()?.ok()?;
            let record = super::hooks::records(t, &dir)?.pop().unwrap_or_default();
            equal("host name", text(&record, "/at/hostname")?, "of-the-container")
        },
    )
    .rows(&["order of set-up", "hooks.startContainer"]),
    Case::new(
        "order/start-container-first",
        "config.md#startcontainer-hooks: before the program",
        |t| {
            let hook = json!({ "path": "/probe", "args": ["probe", "sleep=300", "create=/first"] });
            let answers = t.bundle().hook("startContainer", hook).probe(&["stat=/first"])?;
            answers.value("stat=/first").map(drop)
        },
    )
    .rows(&["order of set-up", "hooks.startContainer"]),
    Case::new(
        "order/sysctl-before-read-only",
        "sysctl is set before /proc/sys is read-only",
        |t| {
            let answers = t
                .bundle()
                .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
                .set("/linux/readonlyPaths", json!(["/proc/sys"]))
                .probe(&[
                    "read=/proc/sys/net/ipv4/ip_forward",
                    "write=/proc/sys/net/ipv4/ip_forward",
                ])?;
            equal("value", &answers.value("read=/proc/sys/net/ipv4/ip_forward")?, &json!("1\n"))?;
            // In a user namespace the kernel looks at the mode first.
            let wanted = if t.host.root { "EROFS" } else { "EACCES" };
            answers.fails("write=/proc/sys/net/ipv4/ip_forward", wanted)
        },
    )
    .rows(&["order of set-up"]),
    Case::new("order/sysctl-before-masks", "sysctl is set before /proc/sys is hidden", |t| {
        let answers = t
            .bundle()
            .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
            .set("/linux/maskedPaths", json!(["/proc/sys/net"]))
            .probe(&["list=/proc/sys/net", "report"])?;
        equal("hidden", &answers.value("list=/proc/sys/net")?, &json!([]))
    })
    .rows(&["order of set-up"]),
    Case::new(
        "order/mounts-before-read-only-root",
        "mount points are made in a read-only root",
        |t| {
            let answers = t
                .bundle()
                .set("/root/readonly", true)
                .mount("/made/for/it", "tmpfs", "tmpfs", &["size=64k"])
                .probe(&["create=/made/for/it/file", "create=/file"])?;
            answers.value("create=/made/for/it/file")?;
            answers.fails("create=/file", "EROFS")
        },
    )
    .rows(&["order of set-up"]),
    Case::new("order/limits-last", "low limits do not disturb the set-up", |t| {
        // Fewer than the mounts of a container take while they are made.
        let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 8, "hard": 8 }]);
        let report = t.bundle().set("/process/rlimits", limits).report()?;
        equal("NOFILE", &report["rlimits"]["RLIMIT_NOFILE"], &json!([8, 8]))
    })
    .rows(&["order of set-up"]),
    Case::new(
        "order/user-after-set-up",
        "an ordinary user's container is set up with all rights",
        |t| {
            let bundle = t
                .bundle()
                .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
                .set("/process/capabilities", json!({}))
                .set("/process/noNewPrivileges", true)
                .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
                .set("/process/cwd", "/closed")
                .directory("closed")
                .mode("closed", 0o755);
            let report = bundle.report()?;
            equal("uid", &report["uid"][0], &json!(1000))?;
            ensure(text(&report, "/cwd")? == "/closed", "the working directory")
        },
    )
    .rows(&["order of set-up"])
    .needs(&[Need::Root]),
];
