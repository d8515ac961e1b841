//! The command `delete`, and what happens after a crash.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::control::ended;
use super::life::{ROOT, mounts};
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::shim::daemon::{Daemon, started, with};
use crate::shim::recent;
use crate::shim::server::Server;
use crate::shim::task::Task;
use crate::value::equal;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-cleanup/after-clean", "`delete` after everything is gone, twice", |t| {
        started(t, &["exit=0"], |d, task| {
            let pid = d.event(task, "start", "")?.pid;
            task.ends("", 0)?;
            task.delete("").ok()?;
            d.shut_down(task)?;
            for _ in 0..2 {
                let answer = d.clean_up(task)?;
                equal("status", &answer.exit_status, &137)?;
                // Where the number is no longer known it may be left out.
                ensure(answer.pid == pid || answer.pid == 0, format!("pid {}", answer.pid))?;
                recent("the exit", answer.exited_at.into_option())?;
            }
            Ok(())
        })
    })
    .needs(ROOT),
    Case::new("shim-cleanup/killed-shim", "`delete` ends what a killed shim left", |t| {
        started(t, &["fork=2", "sleep"], |d, task| {
            let pid = d.event(task, "start", "")?.pid;
            kill_shim(d, task)?;
            let begin = Instant::now();
            let answer = d.clean_up(task)?;
            ensure(
                begin.elapsed() < Duration::from_secs(5),
                "it took longer than containerd waits",
            )?;
            equal("pid and status", &(answer.pid, answer.exit_status), &(pid, 137))?;
            recent("the exit", answer.exited_at.into_option())?;
            t.until("the end of the container", || ended(pid))?;
            equal("cgroups", &crate::leftovers::cgroups(&task.id).len(), &0)
        })
    })
    .needs(ROOT),
    Case::new("shim-cleanup/killed-socket", "`delete` removes the socket of a killed shim", |t| {
        started(t, &["sleep"], |d, task| {
            kill_shim(d, task)?;
            d.clean_up(task)?;
            ensure(!task.address.socket.exists(), "it is still there")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-cleanup/killed-created",
        "the same for a container that was not started",
        |t| {
            crate::shim::daemon::created(t, &["sleep"], |d, task| {
                let pid = d.event(task, "create", "")?.pid;
                kill_shim(d, task)?;
                d.clean_up(task)?;
                t.until("the end of the container", || ended(pid))
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-cleanup/killed-mounts", "the root file system is unmounted", |t| {
        with(t, |d| {
            let before = mounts();
            let task = super::mounts::mounted(d, &["sleep"])?;
            task.start("").ok()?;
            kill_shim(d, &task)?;
            d.clean_up(&task)?;
            equal("mounts", &mounts(), &before)
        })
    })
    .needs(ROOT),
    Case::new("shim-cleanup/never-created", "`delete` for a bundle that was never created", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle())?;
            let answer = d.clean_up(&task)?;
            d.shut_down(&task)?;
            equal("status", &answer.exit_status, &137)
        })
    })
    .needs(ROOT),
];

/// SIGKILL to the shim of a task, and its end.
pub(super) fn kill_shim(d: &Daemon<'_>, task: &Task) -> Check {
    let pid = task.connect().ok()?.shim_pid;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    d.trial.until("the end of the shim", || task.connection.is_closed() && !Server(pid).lives())?;
    task.forget();
    d.expect_stale(&task.address.socket);
    Ok(())
}
