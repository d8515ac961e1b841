//! What the server holds after its work: descriptors, threads, children.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bootstrap::pointer;
use super::control::{ended, pids};
use super::life::{CGROUP, ROOT, mounts};
use super::races::GROUP;
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::daemon::{Daemon, with};
use crate::shim::messages::{probe, process};
use crate::shim::server::Server;
use crate::shim::stdio::{Stdio, feed, fifo, outlet};
use crate::shim::task::Task;
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-leaks/execs", "execs with streams leave no descriptor", |t| {
        steady(t, 12, |t, _, task, round| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdin = fifo(t, "in")?.display().to_string();
            let stdio =
                Stdio { stdin: stdin.clone(), stderr: stdout.clone(), stdout, terminal: false };
            let id = format!("e{round}");
            task.exec(&id, &probe(&["echo=x"]), stdio).ok()?;
            task.start(&id).ok()?;
            drop(feed(t, &stdin));
            task.ends(&id, 0)?;
            out.rest()?;
            task.delete(&id).ok().map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-leaks/terminals", "execs with terminals leave no descriptor", |t| {
        steady(t, 12, |t, _, task, round| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdin = fifo(t, "in")?.display().to_string();
            let stdio = Stdio { stdin: stdin.clone(), stdout, terminal: true, ..Stdio::default() };
            let id = format!("e{round}");
            task.exec(&id, &probe(&["echo=x"]), stdio).ok()?;
            task.start(&id).ok()?;
            drop(feed(t, &stdin));
            task.ends(&id, 0)?;
            out.until("x")?;
            task.delete(&id).ok().map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-leaks/failed-execs", "execs that cannot start leave no descriptor", |t| {
        steady(t, 12, |t, _, task, round| {
            let (stdout, _out) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let id = format!("e{round}");
            task.exec(&id, &process(&["/no/such/program"]), stdio).ok()?;
            task.start(&id).fails()?;
            task.delete(&id).ok().map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-leaks/tasks", "tasks that come and go in a pod leave nothing", |t| {
        steady(t, 8, |t, d, first, _| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let b = t.bundle().set(&pointer(GROUP), first.id.clone()).ops(&["echo=x"]);
            let task = d.start(b, stdio)?;
            equal("shim", &task.connect().ok()?.shim_pid, &first.connect().ok()?.shim_pid)?;
            task.ends("", 0)?;
            out.rest()?;
            task.delete("").ok()?;
            task.connection.close();
            d.clean_up(&task)?;
            d.drop_task(&task);
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-leaks/clients", "clients that go leave no descriptor and no thread", |t| {
        steady(t, 30, |_, _, task, _| {
            let client = task.again()?;
            client.connect().ok()?;
            drop(client.begin_wait("", Duration::from_secs(100)));
            client.state("").ok().map(drop)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-leaks/descriptors",
        "no more than twelve descriptors for a further container",
        |t| {
            with(t, |d| {
                let group = t.new_id();
                let mut held = Vec::new();
                let mut taps = Vec::new();
                for _ in 0..4 {
                    let ((stdout, out), (stderr, err)) = (outlet(t, "out")?, outlet(t, "err")?);
                    taps.push((out, err));
                    let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]);
                    let task = d.start(b, Stdio { stdout, stderr, ..Stdio::default() })?;
                    thread::sleep(Duration::from_millis(50));
                    held.push(Server(task.connect().ok()?.shim_pid).descriptors()?.len());
                }
                let steps = held.iter().zip(held.iter().skip(1));
                let small =
                    steps.map(|(before, after)| after.saturating_sub(*before)).all(|n| n <= 12);
                ensure(small, format!("descriptors: {held:?}"))
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-leaks/threads", "one thread at rest", |t| {
        with(t, |d| {
            let group = t.new_id();
            let mut server = None;
            for _ in 0..3 {
                let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]);
                let task = d.start(b, Stdio::default())?;
                let _ = task.begin_wait("", Duration::from_secs(60));
                server = Some(Server(task.connect().ok()?.shim_pid));
            }
            let count = || server.map_or(0, |server| server.threads().unwrap_or(0));
            let _ = t.until("rest", || count() == 1);
            equal("threads", &count(), &1)
        })
    })
    .needs(ROOT),
    Case::new("shim-leaks/zombies", "orphans of containers are reaped", |t| {
        with(t, |d| {
            let b = t.bundle().without_namespace("pid").ops(&["sleep"]);
            let task = d.start(b, Stdio::default())?;
            let server = Server(task.connect().ok()?.shim_pid);
            // The parent of these ends at once: they become children of the shim.
            task.run("e", &["fork=8", "exit=0"])?;
            task.ends("e", 0)?;
            let init = d.event(&task, "start", "")?.pid;
            t.until("the orphans", || pids(&task).is_ok_and(|pids| pids.len() == 9))?;
            let orphans: Vec<u32> = pids(&task)?.into_iter().filter(|pid| *pid != init).collect();
            for pid in &orphans {
                kill(Pid::from_raw(i32::try_from(*pid)?), Signal::SIGKILL)?;
            }
            t.until("their end", || orphans.iter().all(|pid| ended(*pid)))?;
            t.until("an end without zombies", || server.zombies().is_empty())
        })
    })
    .needs(CGROUP),
    Case::new("shim-leaks/mounts", "mounts of many tasks are all undone", |t| {
        with(t, |d| {
            let before = mounts();
            for _ in 0..4 {
                let task = super::mounts::mounted(d, &["exit=0"])?;
                task.start("").ok()?;
                task.ends("", 0)?;
                task.delete("").ok()?;
                d.retire(&task)?;
                d.drop_task(&task);
            }
            equal("mounts", &mounts(), &before)
        })
    })
    .needs(ROOT),
    Case::new("shim-leaks/shims", "a shim that is shut down is gone, with its socket", |t| {
        with(t, |d| {
            for _ in 0..4 {
                let task = d.start(t.bundle().ops(&["exit=0"]), Stdio::default())?;
                let server = Server(task.connect().ok()?.shim_pid);
                task.ends("", 0)?;
                task.delete("").ok()?;
                task.shutdown().ok()?;
                t.until("the end of the shim", || !server.lives())?;
                ensure(!task.address.socket.exists(), "the socket is still there")?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
];

/// Repeats the steps: after the first rounds, the shim may hold no more than before.
fn steady(
    t: &Trial,
    rounds: usize,
    steps: impl Fn(&Trial, &Daemon<'_>, &Task, usize) -> Check,
) -> Check {
    with(t, |d| {
        let b = t.bundle();
        let id = b.id().to_owned();
        let task = d.start(b.set(&pointer(GROUP), id).ops(&["sleep"]), Stdio::default())?;
        let server = Server(task.connect().ok()?.shim_pid);
        // What is made once and kept does not count.
        for round in 0..2 {
            steps(t, d, &task, round)?;
        }
        let held = || -> Check<(usize, usize, usize)> {
            let children = crate::leftovers::children(server.0).len();
            Ok((server.descriptors()?.len(), server.threads()?, children))
        };
        thread::sleep(Duration::from_millis(50));
        let before = held()?;
        for round in 2..rounds + 2 {
            steps(t, d, &task, round)?;
        }
        // A thread or two more are a pool of the language, a dozen are a leak.
        let same = |now: (usize, usize, usize)| {
            now.0 <= before.0 + 1 && now.1 <= before.1 + 4 && now.2 <= before.2
        };
        let done = t.until("rest", || held().is_ok_and(same));
        if done.is_err() {
            let now = held()?;
            let list = server.descriptors()?.join(" ");
            let text = "descriptors, threads, children";
            return crate::failure::broken(format!(
                "{text}: {before:?} before, {now:?} after {rounds} rounds: {list}"
            ));
        }
        Ok(())
    })
}
