//! The image is data: nothing of it is run or believed, and it cannot block or bloat the runtime.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use super::{Trap, alive};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;

/// How long a runtime may take for an image that wants to keep it.
const TIME: Duration = Duration::from_secs(15);

/// The most memory that a runtime may take, in KiB.
const MEMORY: i64 = 96 << 10;

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/passwd-fifo", "CVE-2026-47262: a fifo as passwd and group", |t| {
        with_users(t, |path| nix::unistd::mkfifo(path, Mode::S_IRUSR).map_err(Into::into))
    }),
    Case::new("attacks/passwd-dev-zero", "CVE-2026-47262: an endless device", |t| {
        with_users(t, |path| std::os::unix::fs::symlink("/dev/zero", path))
    }),
    Case::new("attacks/passwd-2gib-line", "CVE-2026-47262: a line of 2 GiB", |t| {
        with_users(t, |path| File::create(path)?.set_len(2 << 30))
    }),
    Case::new("attacks/passwd-1500000-lines", "CVE-2026-47262: 1.5 million lines", |t| {
        with_users(t, |path| {
            let mut text = String::new();
            for index in 0..1_500_000_u32 {
                use std::fmt::Write as _;
                let _ = writeln!(text, "u{index}:x:{index}:1::/home/u:/bin/sh");
            }
            File::create(path)?.write_all(text.as_bytes())
        })
    }),
    Case::new("attacks/passwd-socket", "CVE-2026-47262: a socket as passwd and group", |t| {
        with_users(t, |path| UnixListener::bind(path).map(drop))
    }),
    Case::new("attacks/passwd-directory", "a directory as passwd and group", |t| {
        with_users(t, |path| fs::create_dir(path))
    }),
    Case::new("attacks/passwd-symlink", "CVE-2026-42306: passwd is a link to the host", |t| {
        let trap = Trap::new(t)?;
        let host = trap.path("passwd");
        fs::write(&host, "root:x:0:0::/stolen:/bin/sh\n")?;
        let output = t.bundle().link("etc/passwd", &host).ops(&["report", "echo=alive"]).run()?;
        alive(&output)?;
        ensure(!output.stdout.contains("/stolen"), "HOME comes from the host's file")
    }),
    Case::new("attacks/nss-code-load", "CVE-2019-14271: no library or program of the image", |t| {
        let mut b = t.bundle().file("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        // Opening one of them would wait for ever; running one of the programs would leave a mark.
        for name in LIBRARIES {
            b = b.directory(name).file(&format!("{name}/.x"), "");
            let path = b.rootfs(name);
            fs::remove_dir_all(&path)?;
            nix::unistd::mkfifo(&path, Mode::S_IRUSR)?;
        }
        for name in ["usr/bin/getent", "usr/bin/id", "sbin/ldconfig", "usr/sbin/nologin"] {
            b = b.file(name, "#!/probe mkdir=/stolen\n").mode(name, 0o755);
        }
        let mark = b.rootfs("stolen");
        bounded(b)?;
        ensure(!mark.exists(), "a program of the image was run")
    }),
    Case::new("attacks/hook-container-env", "CVE-2025-23266: a hook is not the image's", |t| {
        let record = t.path("record");
        let hook = json!({
            "path": t.probe(), "args": ["probe", format!("record={},x", record.display())],
        });
        let b = t
            .bundle()
            .set("/process/env", json!(["LD_PRELOAD=/evil.so", "EVIL=1"]))
            .hook("createRuntime", hook);
        let rootfs = b.rootfs("");
        alive(&b.ops(&["echo=alive"]).run()?)?;
        let seen: Value = serde_json::from_str(fs::read_to_string(&record)?.trim())?;
        let env = seen["at"]["env"].to_string();
        ensure(!env.contains("EVIL") && !env.contains("LD_PRELOAD"), format!("env: {env}"))?;
        let cwd = seen["at"]["cwd"].as_str().unwrap_or_default();
        ensure(!std::path::Path::new(cwd).starts_with(rootfs), format!("cwd: {cwd}"))
    }),
    Case::new("attacks/cfg-10mb-annotations", "CVE-2021-43784: 10 MB of annotations", |t| {
        let mut b = t.bundle();
        for index in 0..10 {
            b = b.set(&format!("/annotations/key{index}"), "x".repeat(1_000_000));
        }
        // Not much to do, but much to read; a debug build on a busy machine takes its time.
        bounded_by(b, Duration::from_secs(60), 256 << 10)
    }),
    Case::new("attacks/cfg-mounts-2000", "CVE-2021-43784: 2000 mounts", |t| {
        let source = super::source(t)?.join("file");
        let mut b = t.bundle();
        for index in 0..2000 {
            b = b.bind(&source, &format!("/m/{index}"), &["ro"]);
        }
        let answers = b.probe(&["read=/m/0", "read=/m/1999", "echo=alive"])?;
        for op in ["read=/m/0", "read=/m/1999"] {
            crate::value::equal(op, &answers.value(op)?, &json!("content"))?;
        }
        Ok(())
    }),
    Case::new("attacks/cfg-idmap-400", "CVE-2021-43784: more ids than the kernel takes", |t| {
        let map: Vec<Value> = (0..400)
            .map(|n| json!({ "containerID": n, "hostID": 200_000 + 2 * n, "size": 1 }))
            .collect();
        let b = t.bundle().user_namespace().set("/linux/uidMappings", map);
        b.refused("uidMappings|uid_map|340").map(drop)
    })
    .needs(&[Need::Root, Need::UserNamespace]),
];

/// What a C library opens to look a name up.
const LIBRARIES: [&str; 9] = [
    "etc/nsswitch.conf",
    "etc/ld.so.cache",
    "etc/ld.so.preload",
    "etc/localtime",
    "etc/resolv.conf",
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "lib/libnss_files.so.2",
    "lib64/libnss_files.so.2",
    "usr/lib/locale/locale-archive",
];

/// A container runs by numbers, whatever stands in the place of its lists of users and groups.
fn with_users(t: &Trial, make: fn(&std::path::Path) -> std::io::Result<()>) -> Check {
    let b = t.bundle();
    for name in ["etc/passwd", "etc/group"] {
        make(&b.rootfs(name))?;
    }
    bounded(b)
}

fn bounded(bundle: Bundle<'_>) -> Check {
    bounded_by(bundle, TIME, MEMORY)
}

/// The bundle runs, soon, and the runtime never takes more than so many KiB.
fn bounded_by(mut bundle: Bundle<'_>, time: Duration, most: i64) -> Check {
    bundle = bundle.ops(&["echo=alive"]);
    alive(&bundle.call("run", &[])?.limit(time).run()?)?;
    let taken = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    ensure(taken <= most, format!("it took {taken} KiB of memory, more than {most}"))
}
