//! Many containers in one shim, and many shims.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::Status;
use serde_json::json;

use super::bootstrap::pointer;
use super::life::ROOT;
use super::races::{GROUP, storm};
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::bootstrap::{Address, Era};
use crate::shim::daemon::{Daemon, with};
use crate::shim::server::Server;
use crate::shim::stdio::{Stdio, outlet};
use crate::shim::task::{Creation, Task};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-pods/twenty", "twenty containers in one shim, each with its own exit", |t| {
        with(t, |d| {
            let group = t.new_id();
            let mut all = Vec::new();
            for index in 0..20_u32 {
                let (stdout, out) = outlet(t, "out")?;
                let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
                let status = index + 1;
                let (word, end) = (format!("echo=member-{index}"), format!("term={status}"));
                let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&[&word, &end]);
                all.push((d.start(b, stdio)?, out, status));
            }
            let shim = |task: &Task| -> Check<u32> { Ok(task.connect().ok()?.shim_pid) };
            let mut shims = std::collections::BTreeSet::new();
            for (task, out, status) in &mut all {
                shims.insert(shim(task)?);
                out.until(&format!("member-{}", *status - 1))?;
                out.until("ready")?;
                task.is("", Status::RUNNING)?;
            }
            equal("shims", &shims.len(), &1)?;
            for (task, out, status) in all.iter_mut().rev() {
                task.kill("", 15).ok()?;
                task.ends("", *status)?;
                out.rest()?;
                task.delete("").ok()?;
                d.story(task, "create start exit delete")?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-pods/last-out", "Shutdown ends the shim only after the last task", |t| {
        with(t, |d| {
            let group = t.new_id();
            let member = || {
                let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["term=0"]);
                d.start(b, Stdio::default())
            };
            let (first, second) = (member()?, member()?);
            first.kill("", 9).ok()?;
            first.ends("", 137)?;
            first.delete("").ok()?;
            first.shutdown().ok()?;
            d.clean_up(&first)?;
            thread::sleep(Duration::from_millis(150));
            second.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-pods/shared-pids",
        "members of one pid namespace end before its first process",
        |t| {
            with(t, |d| {
                let group = t.new_id();
                let pause = d.start(
                    t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]),
                    Stdio::default(),
                )?;
                let pid = d.event(&pause, "start", "")?.pid;
                let b = t
                    .bundle()
                    .set(&pointer(GROUP), group)
                    .join("pid", &format!("/proc/{pid}/ns/pid"));
                let member = d.start(b.ops(&["sleep"]), Stdio::default())?;
                member.run("e", &["sleep"])?;
                // The end of the namespace's first process kills all the others.
                pause.kill("", 9).ok()?;
                pause.ends("", 137)?;
                member.ends("e", 137)?;
                member.ends("", 137)?;
                d.story(&member, "create start exec-added:e exec-started:e exit:e exit")
            })
        },
    )
    .needs(ROOT),
    Case::new(
        "shim-pods/exec-before-init",
        "execs killed with their namespace end before the first process",
        |t| {
            with(t, |d| {
                let group = t.new_id();
                for _ in 0..4 {
                    let b = t.bundle().set(&pointer(GROUP), group.clone()).ops(&["sleep"]);
                    let task = d.start(b, Stdio::default())?;
                    for id in ["a", "b", "c"] {
                        task.run(id, &["sleep"])?;
                    }
                    task.kill("", 9).ok()?;
                    task.ends("", 137)?;
                    // The order of all events is looked at in the end.
                    d.event(&task, "exit", "")?;
                    for id in ["a", "b", "c"] {
                        task.ends(id, 137)?;
                    }
                    task.delete("").ok()?;
                }
                Ok(())
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-pods/joined-by-address", "containerd 2 comes to a pod without a start", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["sleep"]);
            let mut invocation = d.invocation(&mut bundle)?;
            invocation.era = Era::V23;
            let first = d.launch_by(&invocation)?;
            first.create(Creation::default()).ok()?;
            first.start("").ok()?;
            let member = join(t, d, &first.address)?;
            member.start("").ok()?;
            member.ends("", 7)?;
            member.delete("").ok()?;
            // Not every containerd sends it here; it may do no harm.
            member.shutdown().ok()?;
            thread::sleep(Duration::from_millis(100));
            first.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-pods/slow-member",
        "a member that is slow to create does not stop the others",
        |t| with(t, |d| slow_member(t, d)),
    )
    .needs(ROOT),
    Case::new("shim-pods/at-once", "eight creates, starts and deletes at once in one shim", |t| {
        with(t, |d| {
            let group = t.new_id();
            storm(8, |index| {
                let status = u32::try_from(index)? + 1;
                for _ in 0..2 {
                    let b = t.bundle().set(&pointer(GROUP), group.clone());
                    let task = d.start(b.ops(&[&format!("exit={status}")]), Stdio::default())?;
                    task.ends("", status)?;
                    task.delete("").ok()?;
                    d.story(&task, "create start exit delete")?;
                }
                Ok(())
            })
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-pods/churn",
        "tasks that come and go, eight at a time, each in its own shim",
        |t| {
            with(t, |d| {
                let each = if t.is_full() { 125 } else { 6 };
                storm(8, |index| {
                    for round in 0..each {
                        let status = u32::try_from((index * each + round) % 200)?;
                        churned(t, d, status)?;
                    }
                    Ok(())
                })
            })
        },
    )
    .needs(ROOT),
];

/// A member that comes over a connection of its own, without a call of the binary.
fn join(t: &Trial, d: &Daemon<'_>, address: &Address) -> Check<Arc<Task>> {
    let mut bundle = t.bundle().ops(&["exit=7"]);
    bundle.write()?;
    let member = d.attach(address, (bundle.id(), bundle.dir.clone()))?;
    member.create(Creation::default()).ok()?;
    Ok(member)
}

fn slow_member(t: &Trial, d: &Daemon<'_>) -> Check {
    let group = t.new_id();
    let member = |ops: &[&str]| t.bundle().set(&pointer(GROUP), group.clone()).ops(ops);
    let quick = d.start(member(&["sleep"]), Stdio::default())?;
    let hook = json!({ "path": t.probe(), "args": ["probe", "sleep=1500"] });
    let slow = d.launch(member(&["exit=0"]).hook("createRuntime", hook))?;
    let create = slow.begin_create(Creation::default(), crate::shim::wire::LIMIT);
    thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    quick.is("", Status::RUNNING)?;
    quick.pids().ok()?;
    quick.run("e", &["exit=3"])?;
    quick.ends("e", 3)?;
    quick.kill("", 0).ok()?;
    let took = begin.elapsed();
    create
        .wait::<containerd_shim_protos::api::CreateTaskResponse>(crate::shim::wire::LIMIT)
        .ok()?;
    slow.adopt();
    ensure(took < Duration::from_millis(800), format!("the others took {took:?}"))
}

/// The whole life of a task and its shim.
fn churned(t: &Trial, d: &Daemon<'_>, status: u32) -> Check {
    let (stdout, mut out) = outlet(t, "out")?;
    let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
    let b = t.bundle().ops(&["echo=hello", &format!("exit={status}")]);
    let dir = b.dir.clone();
    let task = d.start(b, stdio)?;
    let server = Server(task.connect().ok()?.shim_pid);
    task.ends("", status)?;
    equal("output", &out.rest()?, "hello\n")?;
    equal("status", &task.delete("").ok()?.exit_status, &status)?;
    d.retire(&task)?;
    t.until("the end of the shim", || !server.lives())?;
    d.story(&task, "create start exit delete")?;
    d.drop_task(&task);
    Ok(std::fs::remove_dir_all(dir)?)
}
