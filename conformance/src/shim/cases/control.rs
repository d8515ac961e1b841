//! Kill, pause, resume, pids, update and statistics.

use std::fs;
use std::time::Duration;

use containerd_shim_protos::api::Status;
use containerd_shim_protos::cgroups::metrics::Metrics as MetricsV1;
use containerd_shim_protos::cgroups_v2::metrics::Metrics as MetricsV2;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::ProcessDetails;

use super::life::{CGROUP, ROOT};
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::shim::code::{FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND};
use crate::shim::daemon::{created, started, with};
use crate::shim::stdio::{Stdio, outlet};
use crate::shim::task::Task;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-kill/signals", "every signal arrives, real-time ones too", |t| {
        with(t, |d| {
            let (stdout, mut tap) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let task = d.start(t.bundle().ops(&["signals=3", "exit=5"]), stdio)?;
            tap.until("ready")?;
            task.kill("", 0).ok()?;
            for (signal, name) in [(1, "SIGHUP"), (10, "SIGUSR1"), (15, "SIGTERM")] {
                task.kill("", signal).ok()?;
                tap.until(name)?;
            }
            task.ends("", 5)
        })
    })
    .needs(ROOT),
    Case::new("shim-kill/real-time", "a real-time signal is accepted", |t| {
        started(t, &["sleep"], |_, task| {
            // Pid 1 has no handler for it, so nothing happens.
            task.kill("", 34).ok()?;
            task.kill("", 64).ok()?;
            task.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new("shim-kill/bad-signal", "a signal that is none is an invalid argument", |t| {
        started(t, &["sleep"], |_, task| {
            task.kill("", 200).refused(INVALID_ARGUMENT)?;
            task.kill("", u32::MAX).refused(INVALID_ARGUMENT)?;
            task.is("", Status::RUNNING)
        })
    })
    .needs(ROOT),
    Case::new("shim-kill/stopped", "a kill after the exit finds nothing", |t| {
        started(t, &["exit=0"], |_, task| {
            task.ends("", 0)?;
            task.kill("", 9).refused(NOT_FOUND)?;
            task.kill("", 15).refused(NOT_FOUND).map(drop)
        })
    })
    .needs(ROOT),
    Case::new("shim-kill/all", "`all` reaches the processes that are not the first", |t| {
        with(t, |d| {
            let b = t.bundle().without_namespace("pid").ops(&["fork=3", "sleep"]);
            let task = d.start(b, Stdio::default())?;
            t.until("the children", || pids(&task).is_ok_and(|pids| pids.len() == 4))?;
            let all = pids(&task)?;
            task.kill_all(9).ok()?;
            task.ends("", 137)?;
            t.until("the end of all", || all.iter().all(|pid| ended(*pid)))
        })
    })
    .needs(CGROUP),
    Case::new("shim-kill/paused", "SIGKILL ends a paused container", |t| {
        started(t, &["sleep"], |d, task| {
            task.pause().ok()?;
            task.kill("", 9).ok()?;
            if t.host.v2 {
                task.ends("", 137)?;
            } else {
                // Version 1 freezers hold a killed process until they thaw; a shim may do that itself.
                std::thread::sleep(Duration::from_millis(100));
                let _ = task.resume();
                task.ends("", 137)?;
            }
            d.event(task, "exit", "").map(drop)
        })
    })
    .needs(CGROUP),
    Case::new(
        "shim-pause/pause-resume",
        "pause stops every process, resume lets them go on",
        |t| {
            started(t, &["sleep"], |d, task| {
                task.pause().ok()?;
                task.is("", Status::PAUSED)?;
                task.resume().ok()?;
                task.is("", Status::RUNNING)?;
                d.story(task, "create start paused resumed")
            })
        },
    )
    .needs(CGROUP),
    Case::new("shim-pause/wrong-state", "what is not running cannot be paused, nor resumed", |t| {
        created(t, &["term=0"], |d, task| {
            task.pause().refused(FAILED_PRECONDITION)?;
            task.resume().refused(FAILED_PRECONDITION)?;
            task.start("").ok()?;
            task.resume().refused(FAILED_PRECONDITION)?;
            task.pause().ok()?;
            task.pause().refused(FAILED_PRECONDITION)?;
            task.resume().ok()?;
            task.kill("", 9).ok()?;
            task.ends("", 137)?;
            task.pause().refused(FAILED_PRECONDITION)?;
            task.resume().refused(FAILED_PRECONDITION)?;
            d.story(task, "create start paused resumed exit")
        })
    })
    .needs(CGROUP),
    Case::new("shim-pause/wait", "a wait on a paused task goes on waiting", |t| {
        started(t, &["sleep"], |_, task| {
            task.pause().ok()?;
            let pending = task.begin_wait("", crate::shim::wire::LIMIT);
            let open = pending.is_open_after(Duration::from_millis(150));
            task.resume().ok()?;
            ensure(open, "it answered")
        })
    })
    .needs(CGROUP),
    Case::new("shim-pids/all", "every process of the container, in the host's numbers", |t| {
        started(t, &["fork=2", "sleep"], |d, task| {
            let init = d.event(task, "start", "")?.pid;
            let exec = task.run("e", &["sleep"])?;
            t.until("all four", || pids(task).is_ok_and(|pids| pids.len() == 4))?;
            let answer = task.pids().ok()?;
            let listed = |pid: u32| answer.processes.iter().find(|process| process.pid == pid);
            ensure(listed(init).is_some(), "the first process is not listed")?;
            let info = listed(exec).and_then(|process| process.info.as_ref());
            let Some(info) = info else { return broken("the exec has no details") };
            let details = ProcessDetails::parse_from_bytes(&info.value)?;
            equal("exec id of the details", &details.exec_id, "e")?;
            ensure(
                info.type_url.ends_with("containerd.runc.v1.ProcessDetails"),
                format!("the type is {}", info.type_url),
            )
        })
    })
    .needs(CGROUP),
    Case::new("shim-pids/created", "the first process is listed before its start", |t| {
        created(t, &["sleep"], |d, task| {
            let init = d.event(task, "create", "")?.pid;
            equal("pids", &pids(task)?, &vec![init])
        })
    })
    .needs(ROOT),
    Case::new("shim-pids/paused", "Pids answers for a paused container", |t| {
        started(t, &["sleep"], |_, task| {
            task.pause().ok()?;
            let found = pids(task);
            task.resume().ok()?;
            equal("pids", &found?.len(), &1)
        })
    })
    .needs(CGROUP),
    Case::new(
        "shim-pids/without-cgroup",
        "Pids names the first process while it lives, come what may",
        |t| {
            with(t, |d| {
                let b = t.bundle().remove("/linux/cgroupsPath").ops(&["sleep"]);
                let task = d.start(b, Stdio::default())?;
                let init = d.event(&task, "start", "")?.pid;
                ensure(pids(&task)?.contains(&init), "the first process is not listed")
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-pids/stopped", "a stopped container has no process", |t| {
        started(t, &["exit=0"], |_, task| {
            task.ends("", 0)?;
            equal("pids", &pids(task)?.len(), &0)
        })
    })
    .needs(ROOT),
    Case::new("shim-update/limits", "limits change in every live state; empty ones stay", |t| {
        with(t, |d| {
            let b = t.bundle().set("/linux/resources/pids/limit", 50).ops(&["sleep"]);
            let task = d.create(b, Stdio::default())?;
            let file = t.host.cgroup_dir("pids", &t.host.cgroup_of(&task.id)).join("pids.max");
            let limit = || fs::read_to_string(&file).map(|text| text.trim().to_owned());
            let set =
                |number: u32| task.update(&format!("{{\"pids\":{{\"limit\":{number}}}}}")).ok();
            set(60)?;
            equal("limit", &limit()?, "60")?;
            task.start("").ok()?;
            set(70)?;
            equal("limit", &limit()?, "70")?;
            task.update("{}").ok()?;
            equal("limit", &limit()?, "70")?;
            task.pause().ok()?;
            let paused = set(80);
            task.resume().ok()?;
            paused?;
            equal("limit", &limit()?, "80")
        })
    })
    .needs(&[Need::Root, Need::Cgroup, Need::Controller("pids")]),
    Case::new("shim-update/garbage", "what cannot be read is an invalid argument", |t| {
        started(t, &["sleep"], |_, task| {
            task.update("{").refused(INVALID_ARGUMENT)?;
            task.update("{\"pids\":\"many\"}").refused(INVALID_ARGUMENT)?;
            task.is("", Status::RUNNING)
        })
    })
    .needs(CGROUP),
    Case::new("shim-update/stopped", "a stopped container has no limits to change", |t| {
        started(t, &["exit=0"], |_, task| {
            task.ends("", 0)?;
            task.update("{\"pids\":{\"limit\":9}}").refused(FAILED_PRECONDITION).map(drop)
        })
    })
    .needs(CGROUP),
    Case::new("shim-stats/running", "the statistics of the host's kind of cgroups", |t| {
        started(t, &["fork=1", "sleep"], |_, task| {
            t.until("both processes", || processes(task).is_ok_and(|count| count == 2))
        })
    })
    .needs(&[Need::Root, Need::Cgroup, Need::Controller("pids")]),
    Case::new("shim-stats/stopped", "they can be asked for until Delete", |t| {
        started(t, &["exit=0"], |_, task| {
            task.ends("", 0)?;
            processes(task)?;
            task.delete("").ok()?;
            task.stats().refused(NOT_FOUND).map(drop)
        })
    })
    .needs(CGROUP),
    Case::new("shim-stats/created", "they can be asked for before Start", |t| {
        created(t, &["exit=0"], |_, task| processes(task).map(drop))
    })
    .needs(CGROUP),
    Case::new("shim-oom/before-exit", "the event of the kill comes before the exit", |t| {
        with(t, |d| {
            let b = t
                .bundle()
                .set("/linux/resources/memory/limit", 24 << 20)
                .set("/linux/resources/memory/swap", 24 << 20)
                .ops(&["alloc=100"]);
            let task = d.start(b, Stdio::default())?;
            task.ends("", 137)?;
            d.event(&task, "exit", "")?;
            let names: Vec<_> = d.events(&task).into_iter().map(|event| event.what).collect();
            ensure(names.contains(&"oom".to_owned()), format!("there is no oom in {names:?}"))
        })
    })
    .needs(&[Need::Root, Need::Cgroup, Need::Controller("memory")]),
    Case::new("shim-oom/child", "a kill of another process than the first is told too", |t| {
        with(t, |d| {
            let b = t
                .bundle()
                .set("/linux/resources/memory/limit", 24 << 20)
                .set("/linux/resources/memory/swap", 24 << 20)
                .ops(&["sleep"]);
            let task = d.start(b, Stdio::default())?;
            task.run("e", &["alloc=100"])?;
            task.ends("e", 137)?;
            d.event(&task, "oom", "").map(drop)
        })
    })
    .needs(&[Need::Root, Need::Cgroup, Need::Controller("memory")]),
];

/// The processes that `Pids` lists.
pub(super) fn pids(task: &Task) -> Check<Vec<u32>> {
    Ok(task.pids().ok()?.processes.into_iter().map(|process| process.pid).collect())
}

/// The process is gone, or a zombie.
pub(super) fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().map(str::trim_start).unwrap_or_default();
    state.is_empty() || state.starts_with(['Z', 'X'])
}

/// How many processes the statistics count.
fn processes(task: &Task) -> Check<u64> {
    let any = task.stats().ok()?.stats.unwrap_or_default();
    match any.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics = MetricsV1::parse_from_bytes(&any.value)?;
            ensure(metrics.memory.is_some() && metrics.cpu.is_some(), "no memory or no CPU")?;
            Ok(metrics.pids.unwrap_or_default().current)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics = MetricsV2::parse_from_bytes(&any.value)?;
            Ok(metrics.pids.unwrap_or_default().current)
        }
        other => broken(format!("statistics of the type {other:?}")),
    }
}
