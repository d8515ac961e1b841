//! Standard streams: fifos, files, loggers, terminals, in any combination.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::life::ROOT;
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::daemon::{Daemon, started, with};
use crate::shim::messages::probe;
use crate::shim::server::Server;
use crate::shim::stdio::{Stdio, feed, fifo, outlet, put};
use crate::trial::Trial;
use crate::value::{contains, equal};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-stdio/fifos", "each stream to its fifo, all of it", |t| {
        with(t, |d| {
            let ((stdout, mut out), (stderr, mut err)) = (outlet(t, "out")?, outlet(t, "err")?);
            let stdio = Stdio { stdout, stderr, ..Stdio::default() };
            let task = d.start(t.bundle().ops(TALK), stdio)?;
            task.ends("", 0)?;
            equal("output", &out.rest()?, "to-out\n")?;
            equal("errors", &err.rest()?, "to-err\n")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/fifo-scheme", "fifo:// is a fifo too", |t| {
        with(t, |d| {
            let (path, mut out) = outlet(t, "out")?;
            let stdout = format!("fifo://{path}");
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let task = d.start(t.bundle().ops(&["echo=to-out"]), stdio)?;
            task.ends("", 0)?;
            equal("output", &out.rest()?, "to-out\n")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/only-output", "standard output without the others", |t| {
        with(t, |d| {
            let (stdout, mut out) = outlet(t, "out")?;
            let task = d.start(t.bundle().ops(TALK), Stdio { stdout, ..Stdio::default() })?;
            task.ends("", 0)?;
            equal("output", &out.rest()?, "to-out\n")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/only-errors", "standard error without the others", |t| {
        with(t, |d| {
            let (stderr, mut err) = outlet(t, "err")?;
            let task = d.start(t.bundle().ops(TALK), Stdio { stderr, ..Stdio::default() })?;
            task.ends("", 0)?;
            equal("errors", &err.rest()?, "to-err\n")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/only-input", "standard input without the others", |t| {
        with(t, |d| {
            let stdin = fifo(t, "in")?.display().to_string();
            let stdio = Stdio { stdin: stdin.clone(), ..Stdio::default() };
            let task = d.create(t.bundle().ops(&["stdin", "exit=4"]), stdio)?;
            let client = feed(t, &stdin)?;
            task.start("").ok()?;
            put(&client, "text")?;
            drop(client);
            task.close_io("").ok()?;
            task.ends("", 4)
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/none", "no stream at all is /dev/null", |t| {
        with(t, |d| {
            let task = d.start(t.bundle().ops(&["echo=x", "stdin", "exit=0"]), Stdio::default())?;
            task.ends("", 0)
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/input", "input arrives, and ends only by CloseIO", |t| {
        with(t, |d| {
            let stdin = fifo(t, "in")?.display().to_string();
            let (stdout, mut out) = outlet(t, "out")?;
            let stdio =
                Stdio { stdin: stdin.clone(), stderr: stdout.clone(), stdout, terminal: false };
            let task = d.create(t.bundle().ops(&["stdin"]), stdio)?;
            let client = feed(t, &stdin)?;
            task.start("").ok()?;
            put(&client, "one ")?;
            drop(client);
            // The client may come back: the end of its connection is not the end of the input.
            let pending = task.begin_wait("", crate::shim::wire::LIMIT);
            ensure(pending.is_open_after(Duration::from_millis(150)), "the input ended too early")?;
            let client = feed(t, &stdin)?;
            put(&client, "two")?;
            drop(client);
            task.close_io("").ok()?;
            task.ends("", 0)?;
            contains("what was read", &out.rest()?, "one two")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/close-io-none", "CloseIO without standard input is no error", |t| {
        started(t, &["sleep"], |_, task| {
            task.close_io("").ok()?;
            task.close_io("").ok().map(drop)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-stdio/all-before-end",
        "1 MiB written just before the exit is all there",
        |t| {
            with(t, |d| {
                let (stdout, mut out) = outlet(t, "out")?;
                let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
                let task = d.start(t.bundle().ops(&["pour=1"]), stdio)?;
                let reader = std::thread::spawn(move || {
                    // A reader that is slower than the writer.
                    std::thread::sleep(Duration::from_millis(100));
                    out.drain(Duration::from_secs(10)).ok()
                });
                task.ends("", 0)?;
                task.delete("").ok()?;
                let count = reader.join().ok().flatten();
                equal("bytes", &count, &Some(1 << 20))
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-stdio/reader-gone", "a reader that goes does not end the program", |t| {
        with(t, |d| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let b = t.bundle().ops(&["echo=one", "waitfile=/go", "echo=two", "exit=3"]);
            let mark = b.rootfs("go");
            let task = d.start(b, stdio)?;
            out.until("one")?;
            drop(out);
            std::thread::sleep(Duration::from_millis(50));
            fs::write(mark, "")?;
            // What nobody reads may be lost; the program may not.
            task.ends("", 3)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-stdio/file",
        "file:// appends to a file that is made with its directory",
        |t| {
            with(t, |d| {
                let path = t.path("logs").join("deep").join("all.log");
                let stdout = format!("file://{}", path.display());
                let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
                for _ in 0..2 {
                    let task = d.start(t.bundle().ops(TALK), stdio.clone())?;
                    task.ends("", 0)?;
                    task.delete("").ok()?;
                }
                let mut lines: Vec<String> =
                    fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
                lines.sort();
                equal("lines", &lines, &["to-err", "to-err", "to-out", "to-out"])?;
                equal("mode", &(fs::metadata(&path)?.permissions().mode() & 0o777), &0o644)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-stdio/file-and-fifo", "one stream to a file, the other to a fifo", |t| {
        with(t, |d| {
            let path = t.path("out.log");
            let (stderr, mut err) = outlet(t, "err")?;
            let stdout = format!("file://{}", path.display());
            let task =
                d.start(t.bundle().ops(TALK), Stdio { stdout, stderr, ..Stdio::default() })?;
            task.ends("", 0)?;
            equal("errors", &err.rest()?, "to-err\n")?;
            task.delete("").ok()?;
            equal("output", &fs::read_to_string(path)?, "to-out\n")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/bad-scheme", "a scheme that nobody knows is refused", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle().ops(TALK))?;
            let stdout = "nosuch://host/path".to_owned();
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            task.create(crate::shim::task::Creation { stdio, ..<_>::default() }).fails()?;
            d.story(&task, "")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/terminal", "a terminal has one stream for all, and a size", |t| {
        with(t, |d| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdin = fifo(t, "in")?.display().to_string();
            let stdio = Stdio { stdin: stdin.clone(), stdout, terminal: true, ..Stdio::default() };
            let b = t.bundle().set("/process/terminal", true).ops(&[
                "waitfile=/go",
                "report",
                "exit=2",
            ]);
            let mark = b.rootfs("go");
            let task = d.create(b, stdio)?;
            task.resize("", (123, 45)).ok()?;
            let _client = feed(t, &stdin)?;
            task.start("").ok()?;
            ensure(task.state("").ok()?.terminal, "State tells of no terminal")?;
            task.resize("", (132, 43)).ok()?;
            fs::write(mark, "")?;
            task.ends("", 2)?;
            out.drain(Duration::from_secs(10))?;
            let text = String::from_utf8_lossy(&out.seen).into_owned();
            contains("report", &text, "132")?;
            contains("report", &text, "43")
        })
    })
    .needs(ROOT),
    Case::new("shim-stdio/terminal-input", "what is typed arrives", |t| {
        with(t, |d| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdin = fifo(t, "in")?.display().to_string();
            let stdio = Stdio { stdin: stdin.clone(), stdout, terminal: true, ..Stdio::default() };
            let task = d.start(t.bundle().set("/process/terminal", true).ops(&["stdin"]), stdio)?;
            let client = feed(t, &stdin)?;
            put(&client, "typed\n\u{4}")?;
            task.ends("", 0)?;
            contains("output", &out.rest()?, "\"ok\":\"typed\\n\"")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-stdio/terminal-exec",
        "an exec with a terminal, whatever its process says",
        |t| {
            with(t, |d| {
                let b = t.bundle().ops(&["sleep"]);
                let mark = b.rootfs("go");
                let task = d.start(b, Stdio::default())?;
                let (stdout, mut out) = outlet(t, "out")?;
                // The field of the request decides.
                let mut spec = probe(&["stat=/proc/self/fd/0", "waitfile=/go", "echo=seen"]);
                spec["terminal"] = false.into();
                task.exec("e", &spec, Stdio { stdout, terminal: true, ..Stdio::default() }).ok()?;
                task.start("e").ok()?;
                task.resize("e", (90, 30)).ok()?;
                fs::write(mark, "")?;
                task.ends("e", 0)?;
                contains("output", &out.rest()?, "seen\r\n")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-stdio/resize-none", "ResizePty without a terminal is no error", |t| {
        started(t, &["sleep"], |_, task| task.resize("", (80, 24)).ok().map(drop))
    })
    .needs(ROOT),
    Case::new("shim-stdio/terminal-closed", "the terminal is closed by Delete", |t| {
        with(t, |d| {
            let holder = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
            let server = Server(holder.connect().ok()?.shim_pid);
            let terminals = || -> Check<usize> {
                let held = server.descriptors()?;
                Ok(held
                    .iter()
                    .filter(|name| name.contains("ptmx") || name.contains("/pts"))
                    .count())
            };
            for index in 0..3 {
                let (stdout, mut out) = outlet(t, "out")?;
                let id = format!("e{index}");
                let stdio = Stdio { stdout, terminal: true, ..Stdio::default() };
                holder.exec(&id, &probe(&["echo=seen"]), stdio).ok()?;
                holder.start(&id).ok()?;
                holder.ends(&id, 0)?;
                out.until("seen")?;
                holder.delete(&id).ok()?;
            }
            t.until("the end of the terminals", || terminals().is_ok_and(|count| count == 0))
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-stdio/background",
        "a child that keeps the streams does not hold up Delete",
        |t| {
            with(t, |d| {
                let (stdout, _out) = outlet(t, "out")?;
                let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
                // Without a pid namespace of its own the container's child survives its first process.
                let b = t.bundle().without_namespace("pid").ops(&["fork=1", "exit=0"]);
                let task = d.start(b, stdio)?;
                task.ends("", 0)?;
                let begin = Instant::now();
                task.delete("").ok()?;
                let took = begin.elapsed();
                ensure(took < Duration::from_secs(5), format!("it took {took:?}"))
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-stdio/relay", "much output comes through, and fast", |t| {
        with(t, |d| relay(t, d, if t.is_full() { 1024 } else { 128 }))
    })
    .needs(ROOT),
];

const TALK: &[&str] = &["echo=to-out", "stderr=to-err"];

/// Pours so many MiB through the shim.
fn relay(t: &Trial, d: &Daemon<'_>, size: usize) -> Check {
    let (stdout, mut out) = outlet(t, "out")?;
    let stdio = Stdio { stdout: stdout.clone(), stderr: stdout, ..Stdio::default() };
    let task = d.create(t.bundle().ops(&[&format!("pour={size}")]), stdio)?;
    let reader = std::thread::spawn(move || out.pour(Duration::from_secs(100)).ok());
    let begin = Instant::now();
    task.start("").ok()?;
    let limit = Duration::from_secs(60);
    task.begin_wait("", limit).wait::<containerd_shim_protos::api::WaitResponse>(limit).ok()?;
    task.delete("").ok()?;
    let count = reader.join().ok().flatten();
    equal("bytes", &count, &Some(size << 20))?;
    let rate = f64::from(u32::try_from(size)?) / begin.elapsed().as_secs_f64();
    t.tell(format!("{rate:.0} MiB/s"));
    ensure(rate > 40.0, format!("{rate:.0} MiB/s is slow"))
}
