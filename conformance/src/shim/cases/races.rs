//! Races: what ends while something else goes on.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use containerd_shim_protos::api::{CreateTaskResponse, StartResponse, WaitResponse};
use serde_json::json;

use super::bootstrap::pointer;
use super::life::ROOT;
use crate::case::Case;
use crate::failure::{Check, Failure, broken, ensure};
use crate::shim::code::NOT_FOUND;
use crate::shim::daemon::{Daemon, started, with};
use crate::shim::messages::probe;
use crate::shim::server::Server;
use crate::shim::stdio::Stdio;
use crate::shim::task::{Creation, Task};
use crate::shim::wire::LIMIT;
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "shim-races/exit-before-start",
        "a program that ends before Start has answered",
        |t| {
            with(t, |d| {
                let group = t.new_id();
                for _ in 0..rounds(t, 30) {
                    let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["exit=5"]);
                    let task = d.create(b, Stdio::default())?;
                    let start = task.begin_start("");
                    let wait = task.begin_wait("", LIMIT);
                    start.wait::<StartResponse>(LIMIT).ok()?;
                    equal("status", &wait.wait::<WaitResponse>(LIMIT).ok()?.exit_status, &5)?;
                    d.story(&task, "create start exit")?;
                    task.delete("").ok()?;
                }
                Ok(())
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-races/exec-exit-before-start", "the same for execs", |t| {
        started(t, &["sleep"], |d, task| {
            for index in 0..rounds(t, 60) {
                let id = format!("e{index}");
                task.exec(&id, &probe(&["exit=5"]), Stdio::default()).ok()?;
                let (start, wait) = (task.begin_start(&id), task.begin_wait(&id, LIMIT));
                start.wait::<StartResponse>(LIMIT).ok()?;
                equal("status", &wait.wait::<WaitResponse>(LIMIT).ok()?.exit_status, &5)?;
                d.event(task, "exit", &id)?;
                task.delete(&id).ok()?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-races/exec-storm", "execs from four clients at once", |t| {
        started(t, &["sleep"], |d, task| {
            let each = rounds(t, 25);
            storm(4, |client| {
                let task = task.again()?;
                for index in 0..each {
                    let id = format!("e{client}-{index}");
                    task.run(&id, &["exit=6"])?;
                    task.ends(&id, 6)?;
                    task.delete(&id).ok()?;
                }
                Ok(())
            })?;
            let exits = || d.events(task).iter().filter(|event| event.what == "exit").count();
            t.until("all exits", || exits() >= 4 * each)?;
            equal("exits", &exits(), &(4 * each))
        })
    })
    .needs(ROOT),
    Case::new("shim-races/execs-and-exit", "execs that start while the container ends", |t| {
        with(t, |d| {
            let group = t.new_id();
            for round in 0..rounds(t, 8) {
                let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]);
                let task = d.start(b, Stdio::default())?;
                let wait = task.begin_wait("", LIMIT);
                storm(3, |client| {
                    if client == 0 {
                        let pause = 4 * u64::try_from(round).unwrap_or(0);
                        thread::sleep(Duration::from_millis(pause));
                        return task.kill("", 9).ok().map(drop);
                    }
                    let task = task.again()?;
                    for index in 0..4 {
                        let id = format!("e{client}-{index}");
                        if task.exec(&id, &probe(&["sleep"]), Stdio::default()).is_ok()
                            && task.start(&id).is_ok()
                        {
                            ensure(!task.wait(&id).is_lost(), "a wait for an exec hangs")?;
                        }
                    }
                    Ok(())
                })?;
                equal("status", &wait.wait::<WaitResponse>(LIMIT).ok()?.exit_status, &137)?;
                d.event(&task, "exit", "")?;
                task.delete("").ok()?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-races/kill-during-start", "a kill that meets the start", |t| {
        with(t, |d| {
            let group = t.new_id();
            for _ in 0..rounds(t, 10) {
                let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]);
                let task = d.create(b, Stdio::default())?;
                let start = task.begin_start("");
                task.kill("", 9).ok()?;
                // Whichever came first, it ends.
                ensure(!start.wait::<StartResponse>(LIMIT).is_lost(), "Start hangs")?;
                task.ends("", 137)?;
                task.delete("").ok()?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-races/create-deadline",
        "a create whose client gives up is finished or undone",
        |t| {
            with(t, |d| {
                let task = d.launch(t.bundle().ops(&["exit=0"]))?;
                for millis in [1, 5, 10, 20] {
                    let limit = Duration::from_millis(millis);
                    let reply = task
                        .begin_create(Creation::default(), limit)
                        .wait::<CreateTaskResponse>(LIMIT);
                    ensure(!reply.is_lost(), "there is no answer at all")?;
                    settle(t, &task)?;
                }
                Ok(())
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-races/create-abandoned",
        "a create that outlives its client leaves neither container nor shim",
        |t| with(t, |d| abandoned(t, d)),
    )
    .needs(ROOT),
    Case::new("shim-races/create-hang-up", "the same for a client that goes away", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle().ops(&["exit=0"]))?;
            for millis in [0, 3, 8, 15] {
                let client = task.again()?;
                drop(client.begin_create(Creation::default(), LIMIT));
                thread::sleep(Duration::from_millis(millis));
                drop(client);
                settle(t, &task)?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-races/create-twice-at-once",
        "of creates of one id at once, one succeeds",
        |t| {
            with(t, |d| {
                let task = d.launch(t.bundle().ops(&["exit=3"]))?;
                let clients = (0..4).map(|_| task.again()).collect::<Check<Vec<_>>>()?;
                let calls: Vec<_> = clients
                    .iter()
                    .map(|client| client.begin_create(Creation::default(), LIMIT))
                    .collect();
                let done: Vec<_> = calls
                    .into_iter()
                    .map(|call| call.wait::<CreateTaskResponse>(LIMIT).is_ok())
                    .collect();
                equal("creates that succeed", &done.iter().filter(|ok| **ok).count(), &1)?;
                task.adopt();
                task.start("").ok()?;
                task.ends("", 3)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-races/delete-twice-at-once", "of deletes at once, one succeeds", |t| {
        started(t, &["exit=0"], |d, task| {
            task.ends("", 0)?;
            let clients = (0..4).map(|_| task.again()).collect::<Check<Vec<_>>>()?;
            let done = thread::scope(|scope| {
                let threads: Vec<_> =
                    clients.iter().map(|c| scope.spawn(|| c.delete("").is_ok())).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|ok| *ok).count()
            });
            equal("deletes that succeed", &done, &1)?;
            task.forget();
            d.event(task, "delete", "").map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-races/start-twice-at-once", "of starts at once, one succeeds", |t| {
        crate::shim::daemon::created(t, &["sleep=100", "exit=3"], |d, task| {
            let clients = (0..4).map(|_| task.again()).collect::<Check<Vec<_>>>()?;
            let calls: Vec<_> = clients.iter().map(|client| client.begin_start("")).collect();
            let done: Vec<_> =
                calls.into_iter().map(|call| call.wait::<StartResponse>(LIMIT).is_ok()).collect();
            equal("starts that succeed", &done.iter().filter(|ok| **ok).count(), &1)?;
            task.ends("", 3)?;
            d.story(task, "create start exit")
        })
    })
    .needs(ROOT),
];

/// The annotation of a group.
pub(super) const GROUP: &str = "io.containerd.runc.v2.group";

/// So many rounds, or ten times as many.
pub(super) fn rounds(t: &Trial, few: usize) -> usize {
    if t.is_full() { few * 10 } else { few }
}

/// Runs the steps on several threads, each with its number.
pub(super) fn storm(count: usize, steps: impl Fn(usize) -> Check + Sync) -> Check {
    let steps = &steps;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || steps(index))).collect();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => return broken("a client panicked"),
            }
        }
        Ok(())
    })
}

/// What containerd does when its time is over: it deletes a task that it has never got, and then has the
/// shim go.
fn abandoned(t: &Trial, d: &Daemon<'_>) -> Check {
    let hook = json!({ "path": t.probe(), "args": ["probe", "sleep=1000"] });
    let task = d.launch(t.bundle().ops(&["sleep"]).hook("createRuntime", hook))?;
    let server = Server(task.connect().ok()?.shim_pid);
    let limit = Duration::from_millis(300);
    task.begin_create(Creation::default(), limit).wait::<CreateTaskResponse>(LIMIT).fails()?;
    task.delete("").refused(NOT_FOUND)?;
    let _ = task.shutdown();
    thread::sleep(Duration::from_millis(1500));
    ensure(!task.state("").is_ok(), "there is a task that nobody has heard of")?;
    let _ = task.shutdown();
    t.until("the end of the shim", || !server.lives())
}

/// After a create that nobody waited for: the task is there, or the id is free. Then it is gone.
fn settle(t: &Trial, task: &Arc<Task>) -> Check {
    // A create that still goes on refuses a second one; one that was undone lets it through.
    let mut last = String::new();
    let made = t.until("the id", || {
        let reply = task.create(Creation::default());
        if reply.is_ok() {
            return true;
        }
        if let Err(Failure::Broken(text)) = reply.ok() {
            last = text;
        }
        task.state("").is_ok()
    });
    if made.is_err() {
        return broken(format!("neither is the task there nor the id free: {last}"));
    }
    task.adopt();
    task.kill("", 9).ok()?;
    task.wait("").ok()?;
    task.delete("").ok().map(drop)
}
