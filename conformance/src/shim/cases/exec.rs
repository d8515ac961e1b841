//! Execs: added, started, ended, deleted.

use std::time::{Duration, Instant};

use containerd_shim_protos::api::{Status, WaitResponse};
use serde_json::json;

use super::life::{CGROUP, ROOT};
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::code::{ALREADY_EXISTS, FAILED_PRECONDITION, NOT_FOUND};
use crate::shim::daemon::{created, started, with};
use crate::shim::messages::{probe, process};
use crate::shim::recent;
use crate::shim::stdio::{Stdio, outlet};
use crate::shim::task::Task;
use crate::shim::wire::LIMIT;
use crate::value::{contains, equal};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-exec/whole", "added, started, ended, deleted, each with its event", |t| {
        started(t, &["sleep"], |d, task| {
            task.exec("e", &probe(&["exit=7"]), Stdio::default()).ok()?;
            d.event(task, "exec-added", "e")?;
            let pid = task.start("e").ok()?.pid;
            equal("pid of the event", &d.event(task, "exec-started", "e")?.pid, &pid)?;
            task.ends("e", 7)?;
            let exit = d.event(task, "exit", "e")?;
            equal("pid and status of the exit", &(exit.pid, exit.status), &(pid, 7))?;
            let deleted = task.delete("e").ok()?;
            equal("pid and status", &(deleted.pid, deleted.exit_status), &(pid, 7))?;
            recent("the exit", deleted.exited_at.into_option())?;
            task.state("e").refused(NOT_FOUND)?;
            task.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/output", "the streams of an exec are its own", |t| {
        with(t, |d| {
            let ((out, mut out_tap), (err, mut err_tap)) = (outlet(t, "out")?, outlet(t, "err")?);
            let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
            let stdio = Stdio { stdout: out, stderr: err, ..Stdio::default() };
            task.exec("e", &probe(&["echo=to-out", "stderr=to-err"]), stdio).ok()?;
            task.start("e").ok()?;
            task.ends("e", 0)?;
            equal("output", &out_tap.rest()?, "to-out\n")?;
            equal("errors", &err_tap.rest()?, "to-err\n")
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/state", "State of an exec has its own id, pid and status", |t| {
        started(t, &["sleep"], |_, task| {
            task.exec("e", &probe(&["sleep"]), Stdio::default()).ok()?;
            task.is("e", Status::CREATED)?;
            let pid = task.start("e").ok()?.pid;
            let state = task.state("e").ok()?;
            equal("status", &state.status.enum_value_or_default(), &Status::RUNNING)?;
            equal("pid", &state.pid, &pid)?;
            equal("id", &state.id, "e")?;
            equal("bundle", &state.bundle, &task.bundle.display().to_string())?;
            task.kill("e", 9).ok()?;
            task.ends("e", 137)?;
            task.is("e", Status::STOPPED)
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/state-paused", "a pause shows on the execs", |t| {
        started(t, &["sleep"], |_, task| {
            task.run("e", &["sleep"])?;
            task.pause().ok()?;
            let found = task.is("e", Status::PAUSED);
            task.resume().ok()?;
            found
        })
    })
    .needs(CGROUP),
    Case::new("shim-exec/duplicate", "an id that is in use is refused and the exec goes on", |t| {
        started(t, &["sleep"], |_, task| {
            let pid = task.run("e", &["sleep"])?;
            task.exec("e", &probe(&["exit=0"]), Stdio::default()).refused(ALREADY_EXISTS)?;
            equal("pid", &task.state("e").ok()?.pid, &pid)
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/id-used-again", "a deleted id is free", |t| {
        started(t, &["sleep"], |_, task| {
            for status in [3, 4] {
                task.run("e", &[&format!("exit={status}")])?;
                task.ends("e", status)?;
                task.delete("e").ok()?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/start-twice", "a running exec cannot be started again", |t| {
        started(t, &["sleep"], |d, task| {
            task.run("e", &["sleep"])?;
            task.start("e").refused(FAILED_PRECONDITION)?;
            task.kill("e", 9).ok()?;
            task.ends("e", 137)?;
            task.start("e").refused(FAILED_PRECONDITION)?;
            task.kill("", 9).ok()?;
            task.ends("", 137)?;
            d.event(task, "exit", "")?;
            d.story(task, "create start exec-added:e exec-started:e exit:e exit")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-exec/start-failed",
        "a program that is not there fails the start, and only it",
        |t| {
            started(t, &["sleep"], |_, task| {
                task.exec("e", &process(&["/no/such/program"]), Stdio::default()).ok()?;
                let words = task.start("e").fails()?.message;
                contains("the refusal", &words, "no such file")?;
                task.start("e").refused(FAILED_PRECONDITION)?;
                task.is("", Status::RUNNING)?;
                task.delete("e").ok()?;
                task.run("f", &["exit=0"])?;
                task.ends("f", 0)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-exec/wait-failed", "a wait for an exec whose start failed ends", |t| {
        started(t, &["sleep"], |_, task| {
            task.exec("e", &process(&["/no/such/program"]), Stdio::default()).ok()?;
            task.start("e").fails()?;
            let reply = task.wait("e");
            ensure(!reply.is_lost(), "it does not")?;
            // Zero would say that the program ended well.
            if reply.is_ok() {
                ensure(reply.ok()?.exit_status != 0, "the exit status is 0")?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/created", "an exec of a container that waits for its start", |t| {
        created(t, &["sleep"], |_, task| {
            task.run("e", &["exit=5"])?;
            task.ends("e", 5)?;
            task.delete("e").ok().map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/paused", "no exec can be added to a paused container", |t| {
        started(t, &["sleep"], |_, task| {
            task.pause().ok()?;
            let reply = task.exec("e", &probe(&["exit=0"]), Stdio::default());
            task.resume().ok()?;
            reply.refused(FAILED_PRECONDITION).map(drop)
        })
    })
    .needs(CGROUP),
    Case::new(
        "shim-exec/stopped",
        "no exec can be added to a stopped container, nor started",
        |t| {
            started(t, &["sleep"], |_, task| {
                task.exec("before", &probe(&["exit=0"]), Stdio::default()).ok()?;
                task.kill("", 9).ok()?;
                task.ends("", 137)?;
                task.exec("e", &probe(&["exit=0"]), Stdio::default())
                    .refused(FAILED_PRECONDITION)?;
                task.start("before").refused(FAILED_PRECONDITION).map(drop)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-exec/delete-running", "a running exec cannot be deleted", |t| {
        started(t, &["sleep"], |_, task| {
            task.run("e", &["sleep"])?;
            task.delete("e").refused(FAILED_PRECONDITION)?;
            task.is("e", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/wait-unstarted", "a wait for an exec that never ran ends with it", |t| {
        started(t, &["sleep"], |_, task| {
            for id in ["deleted", "left"] {
                task.exec(id, &probe(&["exit=0"]), Stdio::default()).ok()?;
            }
            let wait = task.begin_wait("deleted", LIMIT);
            let left = task.begin_wait("left", LIMIT);
            ensure(
                wait.is_open_after(Duration::from_millis(100)),
                "it has not run, but has ended",
            )?;
            task.delete("deleted").ok()?;
            equal("status", &wait.wait::<WaitResponse>(LIMIT).ok()?.exit_status, &255)?;
            task.kill("", 9).ok()?;
            task.ends("", 137)?;
            task.delete("").ok()?;
            ensure(!left.wait::<WaitResponse>(LIMIT).is_lost(), "a wait hangs")
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/delete-unstarted", "an exec that was never started can be deleted", |t| {
        started(t, &["sleep"], |_, task| {
            task.exec("e", &probe(&["sleep"]), Stdio::default()).ok()?;
            equal("pid", &task.delete("e").ok()?.pid, &0)?;
            task.state("e").refused(NOT_FOUND).map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/unknown", "every method says that it does not know the exec", |t| {
        started(t, &["sleep"], |_, task| unknown(task)).and_then(|()| {
            started(t, &["sleep"], |_, task| {
                task.run("e", &["exit=0"])?;
                task.ends("e", 0)?;
                task.delete("e").ok()?;
                unknown(task)
            })
        })
    })
    .needs(ROOT),
    Case::new("shim-exec/kill", "before its start, while it runs, after its end", |t| {
        started(t, &["sleep"], |_, task| {
            task.exec("e", &probe(&["sleep"]), Stdio::default()).ok()?;
            task.kill("e", 9).refused(FAILED_PRECONDITION)?;
            task.start("e").ok()?;
            task.kill("e", 0).ok()?;
            task.kill("e", 34).ok()?;
            task.ends("e", 128 + 34)?;
            task.kill("e", 9).refused(NOT_FOUND).map(drop)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-exec/background",
        "a child that keeps the streams does not hold up Delete",
        |t| {
            with(t, |d| {
                let (stdout, _tap) = outlet(t, "out")?;
                let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
                let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
                task.exec("e", &probe(&["fork=1", "exit=0"]), stdio).ok()?;
                task.start("e").ok()?;
                task.ends("e", 0)?;
                let begin = Instant::now();
                task.delete("e").ok()?;
                let took = begin.elapsed();
                ensure(took < Duration::from_secs(5), format!("it took {took:?}"))
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-exec/environment",
        "program, user, directory and environment are the request's",
        |t| {
            with(t, |d| {
                let (stdout, mut tap) = outlet(t, "out")?;
                let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
                let mut spec = probe(&["report"]);
                spec["user"] = json!({ "uid": 12, "gid": 34 });
                spec["cwd"] = json!("/tmp");
                spec["env"] = json!(["GREETING=hello"]);
                let stdio = Stdio { stdout, ..Stdio::default() };
                task.exec("e", &spec, Stdio { stderr: stdio.stdout.clone(), ..stdio }).ok()?;
                task.start("e").ok()?;
                task.ends("e", 0)?;
                let text = {
                    tap.drain(Duration::from_secs(10))?;
                    String::from_utf8_lossy(&tap.seen).into_owned()
                };
                contains("environment", &text, "GREETING")?;
                contains("directory", &text, "\"cwd\":\"/tmp\"")?;
                contains("user", &text, "12")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-exec/bad-spec", "a process that cannot be read is refused", |t| {
        started(t, &["sleep"], |_, task| {
            let reply = task.exec("e", &json!("no process"), Stdio::default());
            // Whether at once or at the start: the container goes on.
            if reply.is_ok() {
                task.start("e").fails()?;
            }
            task.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
];

fn unknown(task: &Task) -> Check {
    task.start("e").refused(NOT_FOUND)?;
    task.state("e").refused(NOT_FOUND)?;
    task.wait("e").refused(NOT_FOUND)?;
    task.kill("e", 9).refused(NOT_FOUND)?;
    task.delete("e").refused(NOT_FOUND)?;
    task.close_io("e").refused(NOT_FOUND)?;
    task.resize("e", (80, 24)).refused(NOT_FOUND).map(drop)
}
