//! Create, start, wait, state and delete.

use std::fs;
use std::time::Duration;

use containerd_shim_protos::api::Status;

use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::shim::code::{
    ALREADY_EXISTS, DEADLINE_EXCEEDED, FAILED_PRECONDITION, NOT_FOUND, UNIMPLEMENTED,
};
use crate::shim::daemon::{created, started, with};
use crate::shim::recent;
use crate::shim::stdio::Stdio;
use crate::shim::task::{Creation, Task};
use crate::shim::wire::LIMIT;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-life/whole", "create, start, wait, delete, each with its event", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle().ops(&["exit=7"]))?;
            let pid = task.create(Creation::default()).ok()?.pid;
            let create = d.event(&task, "create", "")?;
            equal("pid of the event", &create.pid, &pid)?;
            let bundle = task.bundle.display().to_string();
            equal("bundle of the event", &create.origin.first(), &Some(&bundle))?;
            equal("pid of the start", &task.start("").ok()?.pid, &pid)?;
            task.ends("", 7)?;
            let exit = d.event(&task, "exit", "")?;
            equal("pid and status of the exit", &(exit.pid, exit.status), &(pid, 7))?;
            let deleted = task.delete("").ok()?;
            equal("pid and status", &(deleted.pid, deleted.exit_status), &(pid, 7))?;
            recent("the exit", deleted.exited_at.into_option())?;
            let delete = d.event(&task, "delete", "")?;
            equal("pid and status of the delete", &(delete.pid, delete.status), &(pid, 7))?;
            d.story(&task, "create start exit delete")
        })
    })
    .needs(ROOT),
    Case::new("shim-life/create-runs-nothing", "the program runs at start, not at create", |t| {
        with(t, |d| {
            let b = t.bundle().directory("/out").ops(&["create=/out/ran", "sleep"]);
            let mark = b.rootfs("out/ran");
            let task = d.create(b, Stdio::default())?;
            task.is("", Status::CREATED)?;
            std::thread::sleep(Duration::from_millis(50));
            ensure(!mark.exists(), "it ran")?;
            task.start("").ok()?;
            t.until("the program", || mark.exists())
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-life/state",
        "State tells bundle, pid, status and streams in every state",
        |t| {
            with(t, |d| {
                let (stdout, mut tap) = crate::shim::stdio::outlet(t, "out")?;
                let stdio = Stdio { stdout, ..Stdio::default() };
                let stdio = Stdio { stderr: stdio.stdout.clone(), ..stdio };
                let task = d.create(t.bundle().ops(&["term=4"]), stdio.clone())?;
                let pid = d.event(&task, "create", "")?.pid;
                for (step, status) in [("", Status::CREATED), ("start", Status::RUNNING)] {
                    if step == "start" {
                        task.start("").ok()?;
                    }
                    let state = task.state("").ok()?;
                    equal("id", &state.id, &task.id)?;
                    equal("bundle", &state.bundle, &task.bundle.display().to_string())?;
                    equal("pid", &state.pid, &pid)?;
                    equal("status", &state.status.enum_value_or_default(), &status)?;
                    let streams = (state.stdin, state.stdout, state.stderr);
                    equal(
                        "streams",
                        &streams,
                        &(String::new(), stdio.stdout.clone(), stdio.stderr.clone()),
                    )?;
                    ensure(!state.terminal, "a terminal")?;
                }
                tap.until("ready")?;
                task.kill("", 15).ok()?;
                task.ends("", 4)?;
                let state = task.state("").ok()?;
                equal("status", &state.status.enum_value_or_default(), &Status::STOPPED)?;
                equal("exit status", &state.exit_status, &4)?;
                recent("the exit", state.exited_at.into_option())
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-life/create-twice",
        "a second create of an id is refused and changes nothing",
        |t| {
            started(t, &["term=6"], |d, task| {
                let mounts = mounts();
                task.again()?.create(Creation::default()).refused(ALREADY_EXISTS)?;
                equal("mounts", &self::mounts(), &mounts)?;
                task.is("", Status::RUNNING)?;
                d.story(task, "create start")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-life/start-twice", "a second start is refused", |t| {
        started(t, &["sleep"], |d, task| {
            task.start("").refused(FAILED_PRECONDITION)?;
            task.is("", Status::RUNNING)?;
            d.story(task, "create start")
        })
    })
    .needs(ROOT),
    Case::new("shim-life/start-stopped", "a start after the exit is refused", |t| {
        started(t, &["exit=1"], |d, task| {
            task.ends("", 1)?;
            task.start("").refused(FAILED_PRECONDITION)?;
            task.ends("", 1)?;
            d.story(task, "create start exit")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-life/start-missing-program",
        "a program that is not there fails the start",
        |t| {
            with(t, |d| {
                let task = d.launch(t.bundle().args(&["/no/such/program"]))?;
                let reply = task.create(Creation::default());
                let words = if reply.is_ok() { task.start("").fails()? } else { reply.fails()? };
                ensure(words.message.contains("no such"), format!("said {:?}", words.message))?;
                if task.exists() {
                    // It counts as stopped: nothing waits for ever, and it can be deleted.
                    task.wait("").ok()?;
                }
                Ok(())
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-life/create-bad-bundle", "a create that fails leaves nothing", |t| {
        with(t, |d| {
            let bad = t.bundle().set("/process/cwd", "relative");
            let task = d.launch(bad)?;
            task.create(Creation::default()).fails()?;
            task.state("").refused(NOT_FOUND)?;
            task.pids().refused(NOT_FOUND)?;
            d.story(&task, "")
        })
    })
    .needs(ROOT),
    Case::new("shim-life/create-after-failure", "an id whose create failed is free again", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().set("/process/cwd", "relative").ops(&["exit=2"]);
            let task = d.launch_by(&d.invocation(&mut bundle)?)?;
            task.create(Creation::default()).fails()?;
            bundle.set("/process/cwd", "/").write()?;
            task.create(Creation::default()).ok()?;
            task.start("").ok()?;
            task.ends("", 2)
        })
    })
    .needs(ROOT),
    Case::new("shim-life/wait-many", "every waiter gets the exit, before and after it", |t| {
        created(t, &["sleep=150", "exit=9"], |_, task| {
            let waiting: Vec<_> = (0..20).map(|_| task.begin_wait("", LIMIT)).collect();
            task.start("").ok()?;
            for pending in waiting {
                let answer =
                    pending.wait::<containerd_shim_protos::api::WaitResponse>(LIMIT).ok()?;
                equal("exit status", &answer.exit_status, &9)?;
            }
            task.ends("", 9)
        })
    })
    .needs(ROOT),
    Case::new("shim-life/wait-created", "a wait blocks from create on", |t| {
        created(t, &["exit=0"], |_, task| {
            let pending = task.begin_wait("", LIMIT);
            ensure(pending.is_open_after(Duration::from_millis(150)), "it answered too early")
        })
    })
    .needs(ROOT),
    Case::new("shim-life/wait-deadline", "a wait ends at the client's deadline", |t| {
        started(t, &["sleep"], |_, task| {
            let limit = Duration::from_millis(200);
            let reply =
                task.begin_wait("", limit).wait::<containerd_shim_protos::api::Empty>(LIMIT);
            reply.refused(DEADLINE_EXCEEDED)?;
            task.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-life/killed",
        "the status of a process killed by a signal is 128 and the signal",
        |t| {
            started(t, &["sleep"], |_, task| {
                task.kill("", 9).ok()?;
                task.ends("", 137)?;
                equal("status of delete", &task.delete("").ok()?.exit_status, &137)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-life/kill-created", "a container killed before its start is stopped", |t| {
        created(t, &["sleep"], |d, task| {
            task.kill("", 9).ok()?;
            task.ends("", 137)?;
            task.is("", Status::STOPPED)?;
            task.start("").fails()?;
            d.story(task, "create exit")
        })
    })
    .needs(ROOT),
    Case::new("shim-life/delete-running", "a running task cannot be deleted", |t| {
        started(t, &["sleep"], |_, task| {
            task.delete("").refused(FAILED_PRECONDITION)?;
            task.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new("shim-life/delete-paused", "a paused task cannot be deleted", |t| {
        started(t, &["sleep"], |_, task| {
            task.pause().ok()?;
            let reply = task.delete("");
            task.resume().ok()?;
            reply.refused(FAILED_PRECONDITION).map(drop)
        })
    })
    .needs(CGROUP),
    Case::new("shim-life/delete-created", "a task that was never started can be deleted", |t| {
        created(t, &["sleep"], |d, task| {
            task.delete("").ok()?;
            task.state("").refused(NOT_FOUND)?;
            d.event(task, "delete", "").map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-life/delete-twice", "the second delete finds nothing", |t| {
        started(t, &["exit=0"], |d, task| {
            task.ends("", 0)?;
            task.delete("").ok()?;
            task.delete("").refused(NOT_FOUND)?;
            d.story(task, "create start exit delete")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-life/id-used-again",
        "a deleted id can be created again in the same shim",
        |t| {
            started(t, &["exit=0"], |d, task| {
                task.ends("", 0)?;
                task.delete("").ok()?;
                task.create(Creation::default()).ok()?;
                task.start("").ok()?;
                task.ends("", 0)?;
                d.story(task, "create start exit delete create start exit")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-life/unknown-id", "every method says that it does not know the task", |t| {
        started(t, &["sleep"], |d, task| {
            let place = ("nobody", task.bundle.clone());
            let other = Task::connect_to(&task.address, place, task.options.clone())?;
            unknown(&other)?;
            d.story(task, "create start")
        })
    })
    .needs(ROOT),
    Case::new("shim-life/after-delete", "a deleted task is unknown", |t| {
        started(t, &["exit=0"], |_, task| {
            task.ends("", 0)?;
            task.delete("").ok()?;
            unknown(task)
        })
    })
    .needs(ROOT),
    Case::new("shim-life/connect-unknown", "Connect never fails", |t| {
        started(t, &["sleep"], |d, task| {
            let pid = d.event(task, "start", "")?.pid;
            let known = task.connect().ok()?;
            equal("pid of the task", &known.task_pid, &pid)?;
            let place = ("nobody", task.bundle.clone());
            let other = Task::connect_to(&task.address, place, task.options.clone())?;
            let answer = other.connect().ok()?;
            equal("shim", &answer.shim_pid, &known.shim_pid)?;
            equal("task", &answer.task_pid, &0)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-life/unknown-method",
        "what is not there is unimplemented, never not found",
        |t| {
            started(t, &["sleep"], |_, task| task.unknown_method().refused(UNIMPLEMENTED).map(drop))
        },
    )
    .needs(ROOT),
    Case::new("shim-life/shutdown-busy", "Shutdown does nothing while there is a task", |t| {
        started(t, &["sleep"], |_, task| {
            let _ = task.shutdown();
            std::thread::sleep(Duration::from_millis(200));
            task.again()?.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
];

/// What most cases need.
pub(super) const ROOT: &[Need] = &[Need::Root];

/// What cases with limits, freezing and statistics need.
pub(super) const CGROUP: &[Need] = &[Need::Root, Need::Cgroup];

/// Every method must say `NotFound`.
fn unknown(task: &Task) -> Check {
    task.start("").refused(NOT_FOUND)?;
    task.state("").refused(NOT_FOUND)?;
    task.wait("").refused(NOT_FOUND)?;
    task.kill("", 9).refused(NOT_FOUND)?;
    task.delete("").refused(NOT_FOUND)?;
    task.pids().refused(NOT_FOUND)?;
    task.pause().refused(NOT_FOUND)?;
    task.resume().refused(NOT_FOUND)?;
    task.update("{}").refused(NOT_FOUND)?;
    task.stats().refused(NOT_FOUND)?;
    task.close_io("").refused(NOT_FOUND)?;
    task.resize("", (80, 24)).refused(NOT_FOUND)?;
    let process = crate::shim::messages::probe(&["exit=0"]);
    task.exec("e", &process, Stdio::default()).refused(NOT_FOUND)?;
    task.start("e").refused(NOT_FOUND).map(drop)
}

/// How many mounts there are.
pub(super) fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").map_or(0, |text| text.lines().count())
}
