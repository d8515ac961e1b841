//! Paths of the image that lead to the host: where mounts, devices and the console are put.

use serde_json::json;

use super::{Trap, answers, bare_dev, source, untouched};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::console::Console;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal};

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new(
        "attacks/dest-symlink-abs",
        "CVE-2019-18837: a mount through an absolute link",
        |t| {
            let trap = Trap::new(t)?;
            let b =
                t.bundle().link("evil", &trap.path("")).bind(&source(t)?, "/evil/new/deep", &[]);
            untouched(b, &trap)
        },
    ),
    Case::new("attacks/dest-symlink-rel", "CVE-2026-87766: a mount through a relative link", |t| {
        let trap = Trap::new(t)?;
        let b = t.bundle().link("evil", &up(&trap)).mount("/evil/new", "tmpfs", "tmpfs", &[]);
        untouched(b, &trap)
    }),
    Case::new("attacks/dest-dotdot", "CVE-2015-1335: a destination that climbs out", |t| {
        let trap = Trap::new(t)?;
        let b = t.bundle().bind(&source(t)?, &format!("/{}/new", up(&trap)), &[]);
        untouched(b, &trap)
    }),
    Case::new("attacks/dest-mkdir-on-host", "CVE-2024-45310: a file made on the host", |t| {
        let trap = Trap::new(t)?;
        let file = source(t)?.join("file");
        let b = t.bundle().link("evil", &trap.path("made")).bind(&file, "/evil", &[]);
        untouched(b, &trap)
    }),
    Case::new("attacks/proc-symlink", "CVE-2019-19921: /proc is a link to the host", |t| {
        let trap = Trap::with(t, &["kcore", "sys/file"])?;
        // The same folder inside, so that the link leads somewhere there too.
        let b = t.bundle().directory(&trap.path("sys")).link("proc", &trap.path(""));
        real_proc(b)?;
        trap.holds()
    }),
    Case::new("attacks/proc-symlink-rel", "CVE-2023-28642: /proc is a relative link", |t| {
        let trap = Trap::with(t, &["kcore", "sys/file"])?;
        real_proc(t.bundle().link("proc", &up(&trap)))?;
        trap.holds()
    }),
    Case::new("attacks/proc-symlink-dangling", "CVE-2023-28642: /proc links to nothing", |t| {
        let trap = Trap::new(t)?;
        real_proc(t.bundle().link("proc", &trap.path("made/proc")))?;
        trap.holds()
    }),
    Case::new("attacks/sys-symlink", "CVE-2023-27561: /sys of the image is a link", |t| {
        let trap = Trap::new(t)?;
        let b = t.bundle().directory(&trap.path("")).link("sys", &trap.path(""));
        if let Some(answers) = answers(b, &["statfs=/sys"])? {
            let kind = answers.value("statfs=/sys")?;
            equal("/sys", &kind, &json!({ "type": "0x62656572" }))?;
        }
        trap.holds()
    }),
    Case::new("attacks/dev-symlink-abs", "CVE-2026-41579: /dev is a link to the host", |t| {
        dev_link(t, |trap| trap.path(""))
    }),
    Case::new("attacks/dev-symlink-rel", "CVE-2026-47766: the same with a relative link", |t| {
        dev_link(t, up)
    }),
    Case::new("attacks/dev-symlink-mounted", "CVE-2026-41579: the same with a mount there", |t| {
        let trap = Trap::with(t, &["ptmx", "pts/ptmx"])?;
        let b = t.bundle().directory(&trap.path("")).link("dev", &trap.path(""));
        if let Some(answers) = answers(b, &["stat=/dev/null"])? {
            let found = answers.value("stat=/dev/null")?;
            equal("null", &json!([found["kind"], found["rdev"]]), &json!(["char", "1:3"]))?;
        }
        trap.holds()
    }),
    Case::new("attacks/device-symlink", "a configured device through a link of the image", |t| {
        let trap = Trap::new(t)?;
        let b = t.bundle().link("evil", &trap.path("")).set(
            "/linux/devices/-",
            json!({ "path": "/evil/node", "type": "c", "major": 1, "minor": 3 }),
        );
        untouched(b, &trap)
    })
    .needs(&[Need::Root]),
    Case::new("attacks/console-symlink-host", "CVE-2026-88264: a console on the host", |t| {
        let trap = Trap::new(t)?;
        untouched(
            terminal(t, &Console::listen(t, "")?).link("dev/console", &trap.path("made")),
            &trap,
        )
    }),
    Case::new("attacks/console-symlink", "CVE-2025-52565: /dev/console is a link inside", |t| {
        let console = Console::listen(t, "")?;
        let mut b = terminal(t, &console)
            .file("etc/target", "inside")
            .link("dev/console", "../etc/target")
            .ops(&["sleep"]);
        let output = b.call("create", &[])?.run()?;
        if output.code != 0 {
            return output.ran_or_refused();
        }
        let c = b.adopt(output)?;
        c.start()?.ok()?;
        // The terminal must not take the place of what the link names.
        let found = c.exec_probe(&[], &["stat=/etc/target"])?.value("stat=/etc/target")?;
        equal("the linked file", &found["kind"], &json!("file"))
    }),
    Case::new("attacks/ptmx-fake", "CVE-2025-52565: /dev/pts/ptmx is a file of the image", |t| {
        let console = Console::listen(t, "")?;
        let b = terminal(t, &console)
            .unmount("/dev/pts")
            .file("dev/pts/ptmx", "fake")
            .file("dev/pts/0", "fake")
            .ops(&["echo=alive"]);
        is_terminal(b, console)
    }),
    Case::new("attacks/ptmx-symlink", "CVE-2026-41579: /dev/ptmx is a link to the host", |t| {
        let trap = Trap::new(t)?;
        let console = Console::listen(t, "")?;
        let b = terminal(t, &console)
            .unmount("/dev/pts")
            .directory("dev/pts")
            .link("dev/pts/ptmx", &trap.path("precious"))
            .ops(&["echo=alive"]);
        is_terminal(b, console)?;
        trap.holds()
    }),
    Case::new("attacks/stdio-devnull-symlink", "CVE-2026-88265: /dev/null is a host file", |t| {
        let trap = Trap::new(t)?;
        let b = bare_dev(t).link("dev/null", &trap.path("precious")).ops(&["stdin", "echo=alive"]);
        // The caller's standard input is /dev/null, which a runtime may open again inside.
        let output = b.run()?;
        output.ran_or_refused()?;
        ensure(!output.stdout.contains("precious"), "standard input is the host's file")?;
        trap.holds()
    }),
];

/// A path that climbs from the rootfs, wherever it is, to the trap.
fn up(trap: &Trap) -> String {
    format!("../../../../../../../../../../../..{}", trap.path(""))
}

/// If it runs, /proc is the kernel's and its masks are where they belong.
fn real_proc(bundle: Bundle<'_>) -> Check {
    let ops = ["statfs=/proc", "read=/proc/kcore", "write=/proc/sys/kernel/domainname"];
    let Some(answers) = answers(bundle, &ops)? else { return Ok(()) };
    equal("/proc", &answers.value("statfs=/proc")?, &json!({ "type": "0x9fa0" }))?;
    let empty = answers.value("read=/proc/kcore").is_ok_and(|text| text == json!(""));
    ensure(empty || answers.errno("read=/proc/kcore").is_ok(), "kcore is readable")?;
    answers.errno("write=/proc/sys/kernel/domainname").map(drop)
}

fn dev_link(t: &Trial, target: fn(&Trap) -> String) -> Check {
    let trap = Trap::with(t, &["ptmx", "pts/ptmx"])?;
    untouched(bare_dev(t).link("dev", &target(&trap)), &trap)
}

/// A bundle with a terminal, whose /dev is the image's.
fn terminal<'t>(t: &'t Trial, console: &Console<'_>) -> Bundle<'t> {
    t.bundle()
        .unmount("/dev")
        .unmount("/dev/shm")
        .unmount("/dev/mqueue")
        .directory("dev/pts")
        .set("/process/terminal", true)
        .option(&["--console-socket", &console.argument()])
}

/// If a container is made, its console is a terminal which shows what the program prints.
fn is_terminal(mut bundle: Bundle<'_>, console: Console<'_>) -> Check {
    let output = bundle.call("create", &[])?.run()?;
    if output.code != 0 {
        return output.ran_or_refused();
    }
    let container = bundle.adopt(output)?;
    container.start()?.ok()?;
    let seen = console.finish()?;
    equal("a terminal", &seen["terminal"], &json!(true))?;
    contains("the terminal", seen["output"].as_str().unwrap_or_default(), "alive")
}
