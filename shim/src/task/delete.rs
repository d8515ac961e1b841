//! Delete: what a process or a container leaves is removed, and it is forgotten.

use std::rc::Rc;
use std::time::Duration;

use containerd_shim_protos::api::{DeleteRequest, DeleteResponse};
use containerd_shim_protos::events::task::TaskDelete;
use containerd_shim_protos::topics;
use coracle::{ErrorKind, KillTarget, Signal};

use super::start::NOT_STARTED;
use super::{Exit, Phase, Process, Task};
use crate::failure::Failure;
use crate::message::timestamp;
use crate::shim::Shim;
use crate::worker;

/// How long output that is still coming is waited for.
const DRAIN: Duration = Duration::from_secs(5);

impl Shim {
    /// Delete: forgets a process that is created or stopped.
    ///
    /// # Errors
    /// It is running; what the removal answers, and then the task stays.
    pub(crate) async fn delete(
        self: &Rc<Self>,
        request: &DeleteRequest,
    ) -> Result<DeleteResponse, Failure> {
        if request.exec_id.is_empty() {
            // The client has heard of no task, and asks for the removal of what may have become of one.
            self.abandon(&request.id);
        }
        let task = self.task(&request.id)?;
        let process = task.process(&request.exec_id)?;
        let before = process.phase.get();
        process.pass(&[Phase::Created, Phase::Stopped], Phase::Deleting, "delete")?;
        if process.is_init() {
            if let Err(failure) = self.delete_task(&task, before).await {
                // It can have ended on the way.
                let ended = process.exit.get().is_some();
                process.phase.set(if ended { Phase::Stopped } else { before });
                return Err(failure);
            }
        } else {
            drain(&process).await;
            task.execs.borrow_mut().remove(&process.id);
        }
        let answer = answer(&process);
        process.release_waiters();
        self.tell_deletion(&task, &process, &answer);
        if process.is_init() {
            self.forget(&task.id);
        }
        Ok(answer)
    }

    async fn delete_task(self: &Rc<Self>, task: &Rc<Task>, before: Phase) -> Result<(), Failure> {
        if before == Phase::Created
            && let Ok(container) = task.container()
        {
            // Its end is told like any other.
            let killed =
                worker::run(move || container.kill(Signal::KILL, KillTarget::Init)).await?;
            match killed {
                Err(error) if error.kind() != ErrorKind::WrongStatus => return Err(error.into()),
                _ => task.init.ended().await,
            };
        }
        let (runtime, id) = (task.runtime.clone(), task.name.clone());
        let rootfs = task.rootfs.clone();
        let removed = worker::run(move || {
            runtime.delete(&id, true)?;
            rootfs.unmount();
            Ok::<(), Failure>(())
        });
        let execs: Vec<_> = task.execs.borrow().values().map(Rc::clone).collect();
        let drained = async {
            drain(&task.init).await;
            for exec in &execs {
                exec.relay.borrow_mut().take();
            }
        };
        let (removed, ()) = tokio::join!(removed, drained);
        self.sweep.notify_one();
        removed??;
        for exec in &execs {
            exec.release_waiters();
        }
        Ok(())
    }

    fn tell_deletion(&self, task: &Task, process: &Process, answer: &DeleteResponse) {
        let event = TaskDelete {
            container_id: task.id.clone(),
            pid: answer.pid,
            exit_status: answer.exit_status,
            exited_at: answer.exited_at.clone(),
            id: process.id.clone(),
            ..TaskDelete::default()
        };
        self.events.publish(topics::TASK_DELETE_EVENT_TOPIC, &event, !process.is_init());
    }
}

impl Process {
    /// Whoever waits for the end of a process that never ran is not left waiting; nobody else is told.
    fn release_waiters(&self) {
        if self.exit.get().is_none() {
            self.stop(Exit::now(NOT_STARTED));
        }
    }
}

async fn drain(process: &Process) {
    let relay = process.relay.borrow_mut().take();
    if let Some(relay) = relay {
        relay.drain(DRAIN).await;
    }
}

fn answer(process: &Process) -> DeleteResponse {
    let exit = process.exit.get();
    DeleteResponse {
        pid: process.pid_for_message(),
        exit_status: exit.map_or(0, |exit| exit.status),
        exited_at: exit.map(|exit| timestamp(exit.at)).into(),
        ..DeleteResponse::default()
    }
}
