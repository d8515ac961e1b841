//! The ends of processes: seen by their descriptors, told in the right order.
//!
//! An end is told only when the start of the process has been told, and that of the init only after
//! those of all further processes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use containerd_shim_protos::events::task::{TaskExit, TaskOOM};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::topics;
use coracle::{Container, ExitStatus, KillTarget, Signal};
use tokio::io::Interest;
use tokio::task::spawn_local;

use super::{Exit, Process, Task};
use crate::message::timestamp;
use crate::readiness::register;
use crate::shim::Shim;
use crate::stats::metrics;
use crate::worker;

/// What a process is said to have ended with that somebody else has reaped: as if it was killed.
const KILLED: u32 = 137;

/// Waits until a process has ended.
async fn ended(pidfd: std::io::Result<OwnedFd>) {
    let registered = pidfd.and_then(|fd| register(fd, Interest::READABLE));
    match registered {
        Ok(pidfd) => {
            if let Err(error) = pidfd.readable().await {
                log::error!("wait for descriptor {}: {error}", pidfd.as_raw_fd());
            }
        }
        Err(error) => log::error!("watch a process: {error}"),
    }
}

fn exit(status: coracle::Result<ExitStatus>) -> Exit {
    let status = status.ok().and_then(|status| u32::try_from(status.code()).ok());
    Exit::now(status.unwrap_or(KILLED))
}

impl Shim {
    /// Watches the init of a container that now exists, and its memory.
    pub(super) fn watch_task(self: &Rc<Self>, task: &Rc<Task>) {
        let Ok(life) = task.life() else { return };
        let watch = life.oom.map(|oom| {
            let (shim, task) = (Rc::clone(self), Rc::downgrade(task));
            spawn_local(async move {
                while oom.changed().await {
                    let Some(task) = task.upgrade() else { return };
                    shim.tell_kills(&task);
                }
            })
        });
        let (shim, task) = (Rc::clone(self), Rc::clone(task));
        spawn_local(async move {
            let container = life.container;
            if let Some(pidfd) = container.pidfd() {
                ended(pidfd.try_clone_to_owned()).await;
            }
            // On cgroup v2 the kernel does not tell of the end of the cgroup. Kills up to here are counted at the exit.
            if let Some(watch) = watch {
                watch.abort();
            }
            // The cgroup is there until the container is deleted.
            let stats = container.stats_at_end().ok();
            *task.last_stats.borrow_mut() = stats.and_then(|stats| metrics(&stats).ok());
            let exit = exit(container.wait());
            shim.end_init(&task, container, exit).await;
        });
    }

    /// Watches a further process that was just started.
    pub(super) fn watch_exec(self: &Rc<Self>, task: &Rc<Task>, process: &Rc<Process>) {
        let (shim, task, process) = (Rc::clone(self), Rc::clone(task), Rc::clone(process));
        spawn_local(async move {
            let Some(handle) = process.handle.borrow().clone() else { return };
            ended(handle.pidfd().try_clone_to_owned()).await;
            process.parked.set(Some(exit(handle.wait())));
            *process.handle.borrow_mut() = None;
            shim.sweep.notify_one();
            shim.settle(&task, &process);
        });
    }

    async fn end_init(self: &Rc<Self>, task: &Rc<Task>, container: Arc<Container>, exit: Exit) {
        self.sweep.notify_one();
        if task.shares_pids() {
            // The others would live on, and containerd expects a stopped task to have none.
            let killed = worker::run(move || container.kill(Signal::KILL, KillTarget::All)).await;
            if let Ok(Err(error)) = killed {
                log::debug!("kill the rest of {}: {error}", task.id);
            }
            self.sweep.notify_one();
        }
        task.init.parked.set(Some(exit));
        self.settle(task, &task.init);
    }

    /// Tells ends that are known and may be told now: that of `process`, and then perhaps that of the
    /// init.
    pub(super) fn settle(&self, task: &Rc<Task>, process: &Rc<Process>) {
        if !process.is_init()
            && process.phase.get().lives()
            && !process.phase.get().parks_end()
            && let Some(exit) = process.parked.take()
        {
            self.tell_exit(task, process, exit);
        }
        let others = task.execs.borrow().values().any(|process| process.phase.get().lives());
        if !others
            && !task.init.phase.get().parks_end()
            && let Some(exit) = task.init.parked.take()
        {
            self.tell_kills(task);
            self.tell_exit(task, &task.init, exit);
        }
    }

    fn tell_exit(&self, task: &Task, process: &Process, exit: Exit) {
        let id = if process.is_init() { &task.id } else { &process.id };
        let event = TaskExit {
            container_id: task.id.clone(),
            id: id.clone(),
            pid: process.pid_for_message(),
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..TaskExit::default()
        };
        self.events.publish(topics::TASK_EXIT_EVENT_TOPIC, &event, !process.is_init());
        process.stop(exit);
    }

    /// Tells of kills for lack of memory since the last time.
    fn tell_kills(&self, task: &Task) {
        let life = task.life.borrow();
        let oom = life.as_ref().and_then(|life| life.oom.as_ref());
        if oom.is_some_and(|oom| oom.kills() > 0) {
            let event = TaskOOM { container_id: task.id.clone(), ..TaskOOM::default() };
            self.events.publish(topics::TASK_OOM_EVENT_TOPIC, &event, false);
        }
    }
}
