//! Restarts of containerd, and signals to the shim.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use containerd_shim_protos::api::Status;

use super::bootstrap::pointer;
use super::control::{ended, pids};
use super::life::ROOT;
use super::races::GROUP;
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::daemon::{Daemon, started, with};
use crate::shim::server::Server;
use crate::shim::stdio::{Stdio, Tap, outlet};
use crate::shim::task::Task;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-crash/reconnect", "containerd comes back: Connect, Pids, Wait", |t| {
        started(t, &["fork=1", "sleep=700", "exit=8"], |d, task| {
            let pid = d.event(task, "start", "")?.pid;
            d.stop_listening();
            task.connection.close();
            thread::sleep(Duration::from_millis(100));
            d.listen_again()?;
            let task = task.again()?;
            equal("pid of the task", &task.connect().ok()?.task_pid, &pid)?;
            ensure(pids(&task)?.contains(&pid), "Pids does not list the first process")?;
            task.is("", Status::RUNNING)?;
            task.ends("", 8)?;
            equal("status of the exit", &d.event(&task, "exit", "")?.status, &8)?;
            task.delete("").ok()?;
            d.replace(task);
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-crash/events-later",
        "events of a time without containerd come later, in order",
        |t| {
            with(t, |d| {
                let group = t.new_id();
                let start = |ops: &[&str]| {
                    d.start(
                        t.bundle().set(&pointer(GROUP), group.clone()).ops(ops),
                        Stdio::default(),
                    )
                };
                let (task, other) = (start(&["sleep"])?, start(&["sleep"])?);
                d.event(&other, "start", "")?;
                d.stop_listening();
                task.kill("", 9).ok()?;
                task.ends("", 137)?;
                task.delete("").ok()?;
                thread::sleep(Duration::from_millis(300));
                d.listen_again()?;
                other.kill("", 9).ok()?;
                other.ends("", 137)?;
                d.event(&other, "exit", "")?;
                d.story(&task, "create start exit delete")?;
                d.story(&other, "create start exit")
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-crash/calls-meanwhile",
        "calls do not wait for events that nobody takes",
        |t| {
            with(t, |d| {
                let task = d.launch(t.bundle().ops(&["exit=2"]))?;
                d.stop_listening();
                let begin = std::time::Instant::now();
                task.create(crate::shim::task::Creation::default()).ok()?;
                task.start("").ok()?;
                task.ends("", 2)?;
                task.delete("").ok()?;
                let took = begin.elapsed();
                d.listen_again()?;
                ensure(took < Duration::from_secs(3), format!("they took {took:?}"))?;
                d.event(&task, "delete", "")?;
                d.story(&task, "create start exit delete")
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-crash/shutdown-without-sink",
        "Shutdown ends a shim whose events nobody takes",
        |t| {
            with(t, |d| {
                let task = d.start(t.bundle().ops(&["exit=0"]), Stdio::default())?;
                let server = Server(task.connect().ok()?.shim_pid);
                task.ends("", 0)?;
                d.stop_listening();
                task.delete("").ok()?;
                d.shut_down(&task)?;
                let gone = t.until("the end of the shim", || !server.lives());
                d.listen_again()?;
                gone
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-crash/log-reader", "a log that nobody reads any more stops nothing", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["exit=2"]);
            let mut invocation = d.invocation(&mut bundle)?;
            invocation.flags = vec!["-debug".into()];
            let task = d.launch_by(&invocation)?;
            d.close_logs();
            task.create(crate::shim::task::Creation::default()).ok()?;
            task.start("").ok()?;
            task.ends("", 2)
        })
    })
    .needs(ROOT),
    Case::new("shim-crash/terminate", "SIGTERM does not leave a running container alone", |t| {
        started(t, &["sleep"], |_, task| {
            let shim = task.connect().ok()?.shim_pid;
            signal(shim, Signal::SIGTERM)?;
            signal(shim, Signal::SIGINT)?;
            thread::sleep(Duration::from_millis(300));
            task.again()?.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-crash/terminate-idle",
        "SIGTERM ends a shim without a task, with its socket",
        |t| {
            with(t, |d| {
                let task = d.launch(t.bundle())?;
                let server = Server(task.connect().ok()?.shim_pid);
                signal(server.0, Signal::SIGTERM)?;
                t.until("the end of the shim", || !server.lives())?;
                ensure(!task.address.socket.exists(), "the socket is still there")
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-crash/other-signals",
        "SIGPIPE, SIGUSR1 and SIGCHLD do not end the shim",
        |t| {
            started(t, &["sleep"], |_, task| {
                let shim = task.connect().ok()?.shim_pid;
                for number in [Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGCHLD] {
                    signal(shim, number)?;
                    thread::sleep(Duration::from_millis(30));
                    task.again()?
                        .is("", Status::RUNNING)
                        .map_err(|_| format!("{number} ends it"))?;
                }
                Ok(())
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-crash/killed-pod",
        "`delete` for each member of a pod whose shim was killed",
        |t| {
            with(t, |d| {
                let group = t.new_id();
                let member = || {
                    d.start(
                        t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]),
                        <_>::default(),
                    )
                };
                let all = (0..3).map(|_| member()).collect::<Check<Vec<_>>>()?;
                let mut first = Vec::new();
                for task in &all {
                    first.push(d.event(task, "start", "")?.pid);
                }
                let shim =
                    all.first().map_or(Ok(0), |task| task.connect().ok().map(|a| a.shim_pid))?;
                signal(shim, Signal::SIGKILL)?;
                t.until("the end of the shim", || !Server(shim).lives())?;
                for (task, pid) in all.iter().zip(&first) {
                    task.forget();
                    d.expect_stale(&task.address.socket);
                    equal("pid", &d.clean_up(task)?.pid, pid)?;
                    t.until("the end of the container", || ended(*pid))?;
                }
                Ok(())
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-crash/output-survives", "output goes on to a reader that comes back", |t| {
        with(t, output_survives)
    })
    .needs(ROOT),
    Case::new(
        "shim-crash/worker-killed",
        "a container killed from outside ends as any other",
        |t| {
            started(t, &["sleep"], |d, task| {
                signal(d.event(task, "start", "")?.pid, Signal::SIGKILL)?;
                task.ends("", 137)?;
                d.story(task, "create start exit")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-crash/log", "what goes wrong is in the log, in lines with a level", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["exit=0"]);
            let mut invocation = d.invocation(&mut bundle)?;
            invocation.flags = vec!["-debug".into()];
            let task = d.launch_by(&invocation)?;
            let shim = task.connect().ok()?.shim_pid;
            // Neither known shim stays silent about this signal.
            signal(shim, Signal::SIGUSR1)?;
            t.until("a line", || d.log(&task).contains("level="))?;
            let log = d.log(&task);
            let bad = log.lines().find(|line| !line.is_empty() && !line.contains("msg="));
            ensure(bad.is_none(), format!("a line without a message: {bad:?}"))
        })
    })
    .needs(ROOT),
    Case::new("shim-crash/never-used", "a shim that nobody ever uses ends", |t| {
        if !t.is_full() {
            return crate::failure::skip("takes a minute: --full");
        }
        with(t, |d| {
            let task = d.launch(t.bundle())?;
            let server = Server(task.connect().ok()?.shim_pid);
            task.connection.close();
            for _ in 0..8 {
                if t.until("the end of the shim", || !server.lives()).is_ok() {
                    return Ok(());
                }
            }
            crate::failure::broken("it is still there after 80 seconds")
        })
    })
    .needs(ROOT),
];

fn output_survives(d: &Daemon<'_>) -> Check {
    let t = d.trial;
    let (stdout, out) = outlet(t, "out")?;
    let path = std::path::PathBuf::from(&stdout);
    let b = t.bundle().ops(&["waitfile=/go", "echo=after", "exit=0"]);
    let mark = b.rootfs("go");
    let task: std::sync::Arc<Task> =
        d.start(b, Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() })?;
    drop(out);
    thread::sleep(Duration::from_millis(30));
    let mut out = Tap::open(&path)?;
    fs::write(mark, "")?;
    task.ends("", 0)?;
    out.until("after")
}

fn signal(pid: u32, signal: Signal) -> Check {
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
}
