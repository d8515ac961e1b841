//! The ends of processes: seen by their descriptors, told in the right order.
//!
//! An end is told only when the start of the process has been told, and that of the init only after
//! those of all further processes.

use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::events::task::{TaskExit, TaskOOM};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::topics;
use coracle::{Container, ExitStatus, KillTarget, Signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::task::spawn_local;
use tokio::time;

use super::{Exit, Process, Task};
use crate::message::timestamp;
use crate::readiness::register;
use crate::shim::Shim;
use crate::stats::metrics;
use crate::worker;

/// What a process is said to have ended with that somebody else has reaped: as if it was killed.
const KILLED: u32 = 137;

/// How often to look at a process that cannot be watched, for lack of descriptors say.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until a process has ended: reaping it holds nobody up from then on.
async fn ended(pidfd: BorrowedFd<'_>) {
    let mut logged = false;
    loop {
        let registered = pidfd.try_clone_to_owned().and_then(|fd| register(fd, Interest::READABLE));
        let error = match registered {
            Ok(watched) => match watched.readable().await {
                Ok(_) => return,
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !logged {
            log::error!("watch a process: {error}; it is looked at from time to time");
            logged = true;
        }
        time::sleep(LOOK).await;
        let mut polled = [PollFd::new(pidfd, PollFlags::POLLIN)];
        if poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            return;
        }
    }
}

/// Waits for the init without holding the loop, and reaps it.
async fn reap(container: &Arc<Container>) -> Exit {
    match container.pidfd() {
        Some(pidfd) => ended(pidfd).await,
        // Without a descriptor only a thread can wait for it.
        None => {
            let container = Arc::clone(container);
            let waited = worker::run(move || exit(container.wait())).await;
            return waited.unwrap_or_else(|failure| {
                log::error!("wait for the init: {failure}");
                Exit::now(KILLED)
            });
        }
    }
    exit(container.wait())
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
            let exit = reap(&container).await;
            // On cgroup v2 the kernel does not tell of the end of the cgroup. Kills up to here are counted at the exit.
            if let Some(watch) = watch {
                watch.abort();
            }
            // The cgroup is there until the container is deleted.
            let stats = container.stats_at_end().ok();
            *task.last_stats.borrow_mut() = stats.and_then(|stats| metrics(&stats).ok());
            shim.end_init(&task, container, exit).await;
        });
    }

    /// Watches a further process that was just started.
    pub(super) fn watch_exec(self: &Rc<Self>, task: &Rc<Task>, process: &Rc<Process>) {
        let (shim, task, process) = (Rc::clone(self), Rc::clone(task), Rc::clone(process));
        spawn_local(async move {
            let Some(handle) = process.handle.borrow().clone() else { return };
            ended(handle.pidfd()).await;
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
            if let Err(failure) = killed.and_then(|killed| Ok(killed?)) {
                log::error!("kill the rest of {}: {failure}", task.id);
            }
            self.sweep.notify_one();
        }
        task.init.parked.set(Some(exit));
        // One can have left the cgroup. The end of the init is told after theirs, so they have to end.
        for exec in task.execs.borrow().values() {
            exec.end_with_init(task);
        }
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

impl Process {
    /// Kills a further process whose init has ended; one that has ended too is left alone.
    pub(super) fn end_with_init(&self, task: &Task) {
        if task.init.parked.get().is_none() && task.init.exit.get().is_none() {
            return;
        }
        let handle = self.handle.borrow();
        let Some(handle) = handle.as_ref() else { return };
        match handle.kill(Signal::KILL) {
            Err(error) if error.errno() != Some(libc::ESRCH) => {
                log::error!("kill process {} of {}: {error}", self.id, task.id);
            }
            _ => {}
        }
    }
}
