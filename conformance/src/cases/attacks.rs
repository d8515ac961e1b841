//! Hostile images: nothing of the host is read, written or shown.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::{Answers, Bundle};
use crate::call::Output;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, strings};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "attacks/destination-link",
        "CVE-2019-18837: a mount through an absolute link",
        |t| {
            let trap = trap(t)?;
            let b = t.bundle().link("evil", &trap.display().to_string()).bind(
                &source(t)?,
                "/evil/new/deep",
                &[],
            );
            untouched(b, &trap)
        },
    )
    .rows(&["mounts: inside the root"]),
    Case::new("attacks/destination-link-file", "CVE-2024-45310: a file made on the host", |t| {
        let trap = trap(t)?;
        let b = t.bundle().link("evil", &trap.join("made").display().to_string()).bind(
            &source(t)?.join("file"),
            "/evil",
            &[],
        );
        untouched(b, &trap)
    })
    .rows(&["mounts: inside the root"]),
    Case::new("attacks/proc-link", "CVE-2019-19921: /proc of the image is a link", |t| {
        let trap = trap(t)?;
        untouched(t.bundle().link("proc", &trap.display().to_string()), &trap)
    }),
    Case::new("attacks/proc-link-inside", "CVE-2023-28642: /proc links to elsewhere inside", |t| {
        let b = t.bundle().directory("elsewhere").link("proc", "/elsewhere");
        let output = b.ops(&["report", "read=/elsewhere/kcore"]).run()?;
        if output.code != 0 {
            return Ok(());
        }
        // Accepted only when the masks are really there.
        let answers = Answers::of(&output.stdout)?;
        let empty = answers.value("read=/elsewhere/kcore").is_ok_and(|text| text == json!(""));
        ensure(empty || answers.errno("read=/elsewhere/kcore").is_ok(), "kcore is readable")
    }),
    Case::new("attacks/sys-link", "/sys of the image is a link", |t| {
        let trap = trap(t)?;
        untouched(t.bundle().link("sys", &trap.display().to_string()), &trap)
    }),
    Case::new("attacks/dev-link", "CVE-2026-41579: /dev of the image is a link", |t| {
        let trap = trap(t)?;
        untouched(t.bundle().link("dev", &trap.display().to_string()), &trap)
    }),
    Case::new(
        "attacks/dev-link-unmounted",
        "CVE-2026-47766: no mount at /dev, and it is a link",
        |t| {
            let trap = trap(t)?;
            untouched(bare_dev(t).link("dev", &trap.display().to_string()), &trap)
        },
    ),
    Case::new("attacks/dev-link-relative", "CVE-2026-47766: the same with a relative link", |t| {
        let trap = trap(t)?;
        let up = format!("../../../../../../../..{}", trap.display());
        untouched(bare_dev(t).link("dev", &up), &trap)
    }),
    Case::new("attacks/mask-null-link", "CVE-2025-31133: the image's /dev/null is a link", |t| {
        let b = bare_dev(t)
            .link("dev/null", "/etc/secret")
            .file("etc/secret", "secret")
            .file("etc/masked", "masked")
            .set("/linux/maskedPaths", json!(["/etc/masked"]));
        let output = b.ops(&["read=/etc/masked"]).run()?;
        let shown =
            output.stdout.contains(r#"ok":"secret"#) || output.stdout.contains(r#"ok":"masked"#);
        ensure(!shown, format!("the mask shows {}", output.stdout))
    }),
    Case::new("attacks/mask-null-file", "the image's /dev/null is a plain file", |t| {
        let b = bare_dev(t)
            .file("dev/null", "writable")
            .file("etc/masked", "masked")
            .set("/linux/maskedPaths", json!(["/etc/masked"]));
        let output = b.ops(&["read=/etc/masked"]).run()?;
        ensure(!output.stdout.contains(r#""ok":"masked""#), "the path is not masked")
    }),
    Case::new("attacks/mask-link", "a masked path that is a link to the host's file", |t| {
        let trap = trap(t)?;
        let b = t
            .bundle()
            .link("etc/masked", &trap.join("precious").display().to_string())
            .set("/linux/maskedPaths", json!(["/etc/masked"]));
        untouched(b, &trap)
    }),
    Case::new(
        "attacks/cwd-descriptor",
        "CVE-2024-21626: cwd is a descriptor of the runtime",
        |t| {
            for number in 3..12 {
                let b = t.bundle().set("/process/cwd", format!("/proc/self/fd/{number}"));
                host_hidden(&b.ops(&["list=.", "list=../../../.."]).run()?, number)?;
            }
            Ok(())
        },
    )
    .rows(&["process.cwd inside"]),
    Case::new("attacks/cwd-descriptor-link", "CVE-2024-21626: through a link of the image", |t| {
        for number in 3..12 {
            let b = t
                .bundle()
                .link("work", &format!("/proc/self/fd/{number}"))
                .set("/process/cwd", "/work");
            host_hidden(&b.ops(&["list=.", "list=../../../.."]).run()?, number)?;
        }
        Ok(())
    })
    .rows(&["process.cwd inside"]),
    Case::new("attacks/exec-cwd-descriptor", "CVE-2024-21626: exec --cwd", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for number in 3..12 {
            let cwd = format!("/proc/self/fd/{number}");
            let output = c.exec(&["--cwd", &cwd], &["/probe", "list=.", "list=../../../.."])?;
            host_hidden(&output, number)?;
        }
        Ok(())
    })
    .rows(&["process.cwd inside"]),
    Case::new("attacks/exe-interpreter", "CVE-2019-5736: the interpreter is /proc/self/exe", |t| {
        let before = fs::read(t.runtime())?.len();
        let b = t.bundle().file("run", "#!/proc/self/exe\n").mode("run", 0o755).args(&["/run"]);
        let output = b.run()?;
        ensure(!output.stdout.to_lowercase().contains("usage"), "the host's runtime ran inside")?;
        equal("size of the runtime", &fs::read(t.runtime())?.len(), &before)
    }),
    Case::new("attacks/exe-overwrite", "CVE-2019-5736: exec of /proc/self/exe", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let output = c.exec(&[], &["/proc/self/exe", "write=/proc/self/exe"])?;
        ensure(!output.stdout.contains("\"ok\":true"), "the executable could be written")
    }),
    Case::new(
        "attacks/proc-fake-bind",
        "CVE-2019-16884: a directory of the host over /proc",
        |t| t.bundle().unmount("/proc").bind(&source(t)?, "/proc", &[]).refused("/proc").map(drop),
    )
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/proc-fake-tmpfs", "CVE-2019-16884: a tmpfs as /proc", |t| {
        t.bundle().unmount("/proc").mount("/proc", "tmpfs", "tmpfs", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-inside-proc", "CVE-2025-52881: a mount below /proc is refused", |t| {
        t.bundle()
            .bind(&source(t)?.join("file"), "/proc/sys/kernel/hostname", &[])
            .refused("/proc")
            .map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-inside-proc-self", "CVE-2025-52881: a mount over /proc/self", |t| {
        t.bundle().mount("/proc/self/attr", "tmpfs", "tmpfs", &[]).refused("/proc").map(drop)
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/mount-proc-allowed", "the files that engines emulate may be bound", |t| {
        let answers = t
            .bundle()
            .bind(&source(t)?.join("file"), "/proc/uptime", &[])
            .probe(&["read=/proc/uptime"])?;
        equal("uptime", &answers.value("read=/proc/uptime")?, &json!("content"))
    })
    .rows(&["mounts: over /proc"]),
    Case::new("attacks/sysctl-redirect", "CVE-2025-52881: a sysctl through a faked /proc", |t| {
        let trap = trap(t)?;
        let b = t
            .bundle()
            .link("proc", &trap.display().to_string())
            .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        untouched(b, &trap)
    }),
    Case::new("attacks/env-leak", "no variable of the runtime is in the container", |t| {
        let env = strings(&t.bundle().set("/process/env", json!([])).report()?, "/env")?;
        let foreign = env.iter().filter(|line| !line.starts_with("HOME=")).count();
        equal("variables", &foreign, &0)
    }),
    Case::new("attacks/passwd-fifo", "a fifo as /etc/passwd does not block", |t| {
        let mut b = t.bundle().ops(&["echo=alive"]);
        nix::unistd::mkfifo(
            &b.rootfs("etc/passwd"),
            nix::sys::stat::Mode::from_bits_truncate(0o644),
        )?;
        b.call("run", &[])?.limit(std::time::Duration::from_secs(4)).run()?.ran_or_refused()
    }),
    Case::new("attacks/passwd-device", "an endless device as /etc/passwd does not block", |t| {
        t.bundle().link("etc/passwd", "/dev/zero").ran_or_refused()
    }),
    Case::new("attacks/passwd-link", "a link as /etc/passwd never reads the host's", |t| {
        let trap = trap(t)?;
        fs::write(trap.join("precious"), "root:x:0:0::/stolen:/bin/sh\n")?;
        let b = t.bundle().link("etc/passwd", &trap.join("precious").display().to_string());
        let output = b.ops(&["report"]).run()?;
        ensure(!output.stdout.contains("/stolen"), "HOME comes from the host's file")
    }),
    Case::new("attacks/console-link", "CVE-2025-52565: /dev/console is a link of the image", |t| {
        let trap = trap(t)?;
        let console = crate::console::Console::listen(t, "")?;
        let target = trap.join("made").display().to_string();
        let b = t
            .bundle()
            .unmount("/dev")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue")
            .set("/process/terminal", true)
            .directory("dev/pts")
            .link("dev/console", &target)
            .option(&["--console-socket", &console.argument()]);
        untouched(b, &trap)
    }),
    Case::new("attacks/ptmx-link", "CVE-2026-41579: /dev/ptmx of the image is a link", |t| {
        let trap = trap(t)?;
        let b = t
            .bundle()
            .unmount("/dev")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue")
            .directory("dev/pts")
            .link("dev/ptmx", &trap.join("precious").display().to_string());
        untouched(b, &trap)
    }),
    Case::new("attacks/device-link", "a device through a link of the image", |t| {
        let trap = trap(t)?;
        let b = t.bundle().link("evil", &trap.display().to_string()).set(
            "/linux/devices/-",
            json!({ "path": "/evil/node", "type": "c", "major": 1, "minor": 3 }),
        );
        untouched(b, &trap)
    })
    .needs(&[Need::Root]),
    Case::new("attacks/exec-peek", "CVE-2016-9962: exec shows no file of the host", |t| {
        let caps = json!(["CAP_SYS_PTRACE"]);
        let c = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({ "bounding": caps, "effective": caps, "permitted": caps }),
            )
            .ops(&["sleep"])
            .start()?;
        let watcher = t.call(&["exec", &c.id, "/probe", "watch=400"]).spawn()?;
        for _ in 0..5 {
            c.exec(&[], &["/probe", "exit=0"])?.ok()?;
        }
        let seen = Answers::of(&watcher.wait()?.ok()?.stdout)?.value("watch=400")?.to_string();
        ensure(!seen.contains("/state/") && !seen.contains("cgroup"), format!("seen: {seen}"))
    }),
    Case::new("attacks/id-traversal", "an id never leaves the state directory", |t| {
        let trap = trap(t)?;
        for id in ["../trap", "../../trap", "a/../../trap", "/trap"] {
            t.run(&["delete", "--force", id])?;
            t.run(&["state", id])?.fails()?;
        }
        ensure(trap.join("precious").exists(), "a file outside the state directory is gone")
    }),
];

/// A bundle that mounts nothing at /dev.
fn bare_dev(t: &Trial) -> Bundle<'_> {
    t.bundle().unmount("/dev").unmount("/dev/pts").unmount("/dev/shm").unmount("/dev/mqueue")
}

/// A directory of the host that must not change.
fn trap(t: &Trial) -> Check<PathBuf> {
    let dir = t.path("trap");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("precious"), "precious")?;
    Ok(dir)
}

fn source(t: &Trial) -> Check<PathBuf> {
    let dir = t.path("src");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("file"), "content")?;
    Ok(dir)
}

/// What a process prints does not come from the host's root, state or cgroups.
fn host_hidden(output: &Output, number: i32) -> Check {
    let ran = output.stdout.contains("list=");
    ensure(ran || !output.stderr.trim().is_empty(), "neither run nor refused")?;
    let signs = ["\"lost+found\"", "\"root\"", "cgroup.procs", "\"state\"", "conf-"];
    let shown = signs.iter().find(|sign| output.stdout.contains(**sign));
    ensure(shown.is_none(), format!("descriptor {number} shows {shown:?} of the host"))
}

/// The bundle runs or is refused; the trap is as before.
fn untouched(bundle: Bundle<'_>, trap: &Path) -> Check {
    attempt(bundle.ops(&["echo=alive"]))?;
    let names: Vec<String> = fs::read_dir(trap)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    equal("the host's directory", &names, &["precious"])?;
    let meta = fs::symlink_metadata(trap.join("precious"))?;
    ensure(meta.is_file() && meta.len() == 8, "the host's file changed")
}

/// `run`, or `create` where a console socket is used.
fn attempt(mut bundle: Bundle<'_>) -> Check {
    if bundle.config.pointer("/process/terminal") != Some(&json!(true)) {
        return bundle.run()?.ran_or_refused();
    }
    let output = bundle.call("create", &[])?.run()?;
    if output.code != 0 {
        return output.ran_or_refused();
    }
    bundle.adopt(output)?.delete_force()?.ok().map(drop)
}
