//! What changes a running container: signals, pausing, limits, its terminal and input.

use std::rc::Rc;

use containerd_shim_protos::api::{
    CloseIORequest, Empty, KillRequest, PauseRequest, ResizePtyRequest, ResumeRequest,
    UpdateTaskRequest,
};
use containerd_shim_protos::events::task::{TaskPaused, TaskResumed};
use containerd_shim_protos::topics;
use coracle::spec::Resources;
use coracle::{ErrorKind, KillTarget, Signal};

use super::{Phase, Process, Task};
use crate::failure::Failure;
use crate::shim::Shim;
use crate::worker;

impl Shim {
    /// Kill: sends a signal to a process, or to all of the container.
    ///
    /// # Errors
    /// It has ended, or was not started; the signal does not exist.
    pub(crate) async fn kill(&self, request: &KillRequest) -> Result<Empty, Failure> {
        let task = self.task(&request.id)?;
        let process = task.process(&request.exec_id)?;
        let signal = i32::try_from(request.signal).ok().and_then(Signal::from_number);
        let signal = signal
            .ok_or_else(|| Failure::invalid(format!("there is no signal {}", request.signal)))?;
        if process.is_init() {
            kill_task(&task, signal, request.all).await?;
        } else {
            kill_exec(&process, signal)?;
        }
        Ok(Empty::new())
    }

    /// Pause: all processes stand when this has answered.
    ///
    /// # Errors
    /// The container is not running.
    pub(crate) async fn pause(&self, request: &PauseRequest) -> Result<Empty, Failure> {
        let task = self.task(&request.id)?;
        let container = task.container()?;
        task.init.pass(&[Phase::Running], Phase::Pausing, "pause")?;
        let paused = worker::run(move || container.pause()).await.and_then(|done| Ok(done?));
        let stands = task.settle_freeze(Phase::Pausing, &paused, Phase::Paused, Phase::Running);
        paused?;
        if !stands {
            return Ok(Empty::new());
        }
        let event = TaskPaused { container_id: task.id.clone(), ..TaskPaused::default() };
        self.events.publish(topics::TASK_PAUSED_EVENT_TOPIC, &event, false);
        Ok(Empty::new())
    }

    /// Resume: lets the processes of a paused container go on.
    ///
    /// # Errors
    /// The container is not paused.
    pub(crate) async fn resume(&self, request: &ResumeRequest) -> Result<Empty, Failure> {
        let task = self.task(&request.id)?;
        let container = task.container()?;
        task.init.pass(&[Phase::Paused], Phase::Resuming, "resume")?;
        let resumed = worker::run(move || container.resume()).await.and_then(|done| Ok(done?));
        let goes_on = task.settle_freeze(Phase::Resuming, &resumed, Phase::Running, Phase::Paused);
        resumed?;
        if !goes_on {
            return Ok(Empty::new());
        }
        let event = TaskResumed { container_id: task.id.clone(), ..TaskResumed::default() };
        self.events.publish(topics::TASK_RESUMED_EVENT_TOPIC, &event, false);
        Ok(Empty::new())
    }

    /// Update: sets the limits that are given.
    ///
    /// # Errors
    /// They cannot be read or held; the container has ended.
    pub(crate) async fn update(&self, request: &UpdateTaskRequest) -> Result<Empty, Failure> {
        let task = self.task(&request.id)?;
        if matches!(task.init.phase.get(), Phase::Stopped | Phase::Deleting) {
            let phase = task.init.phase.get();
            return Err(Failure::precondition(format!(
                "cannot update a container that is {phase}"
            )));
        }
        let text = request.resources.as_ref().map(|any| any.value.as_slice());
        let resources = Resources::parse(text.unwrap_or_default())
            .map_err(|error| Failure::invalid(error.to_string()))?;
        let container = task.container()?;
        worker::run(move || container.update(&resources)).await??;
        Ok(Empty::new())
    }

    /// `CloseIO`: gives up the hold on standard input.
    ///
    /// # Errors
    /// No such process.
    pub(crate) fn close_io(&self, request: &CloseIORequest) -> Result<Empty, Failure> {
        let process = self.task(&request.id)?.process(&request.exec_id)?;
        if request.stdin {
            process.close_stdin();
        }
        Ok(Empty::new())
    }

    /// `ResizePty`: sets the size of the terminal; without one nothing happens.
    ///
    /// # Errors
    /// No such process; the size does not fit.
    pub(crate) fn resize_pty(&self, request: &ResizePtyRequest) -> Result<Empty, Failure> {
        let process = self.task(&request.id)?.process(&request.exec_id)?;
        let side = |length| {
            u16::try_from(length)
                .map_err(|_| Failure::invalid(format!("{length} is no size of a terminal")))
        };
        let (columns, rows) = (side(request.width)?, side(request.height)?);
        if let Some(relay) = process.relay.borrow().as_ref() {
            relay.resize(columns, rows)?;
        }
        Ok(Empty::new())
    }
}

impl Task {
    /// Ends pausing or resuming. Returns `false` if the init has ended meanwhile: its end was told, and
    /// nothing may follow that.
    fn settle_freeze(
        &self,
        during: Phase,
        done: &Result<(), Failure>,
        success: Phase,
        failure: Phase,
    ) -> bool {
        let lives = self.init.phase.get() == during;
        if lives {
            self.init.phase.set(if done.is_ok() { success } else { failure });
        }
        lives
    }
}

async fn kill_task(task: &Rc<Task>, signal: Signal, all: bool) -> Result<(), Failure> {
    let finished = || Failure::not_found(format!("process of {} already finished", task.id));
    if matches!(task.init.phase.get(), Phase::Stopped | Phase::Deleting) {
        return Err(finished());
    }
    let killed = if all || (task.shares_pids() && signal == Signal::KILL) {
        // Reading and signalling a large cgroup takes its time.
        let container = task.container()?;
        let target = if all { KillTarget::All } else { KillTarget::Init };
        worker::run(move || container.kill(signal, target)).await?
    } else {
        task.container()?.kill(signal, KillTarget::Init)
    };
    killed.map_err(|error| match error.kind() {
        ErrorKind::WrongStatus => finished(),
        _ => error.into(),
    })
}

fn kill_exec(process: &Process, signal: Signal) -> Result<(), Failure> {
    let handle = process.handle.borrow();
    match (process.phase.get(), handle.as_ref()) {
        (Phase::Created | Phase::Starting, _) => {
            Err(Failure::precondition(format!("process {} is not running", process.id)))
        }
        (_, Some(handle)) => match handle.kill(signal) {
            Err(error) if error.errno() == Some(libc::ESRCH) => Err(finished(process)),
            killed => Ok(killed?),
        },
        (_, None) => Err(finished(process)),
    }
}

fn finished(process: &Process) -> Failure {
    Failure::not_found(format!("process {} already finished", process.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Streams;
    use crate::rootfs::Rootfs;
    use crate::task::Exit;

    fn task() -> Task {
        let runtime = coracle::Runtime::new(std::path::PathBuf::from("/nowhere"));
        let init = Process::new(String::new(), Streams::default());
        let name = "t".parse().unwrap();
        Task::new((name, runtime), std::path::PathBuf::new(), init, Rootfs::default())
    }

    #[test]
    fn a_pause_settles_unless_the_init_has_ended() {
        let task = task();
        task.init.phase.set(Phase::Pausing);
        assert!(task.settle_freeze(Phase::Pausing, &Ok(()), Phase::Paused, Phase::Running));
        assert_eq!(task.init.phase.get(), Phase::Paused);

        task.init.phase.set(Phase::Resuming);
        let failed = Err(Failure::unknown(""));
        assert!(task.settle_freeze(Phase::Resuming, &failed, Phase::Running, Phase::Paused));
        assert_eq!(task.init.phase.get(), Phase::Paused);

        task.init.phase.set(Phase::Pausing);
        task.init.stop(Exit::now(137));
        assert!(!task.settle_freeze(Phase::Pausing, &Ok(()), Phase::Paused, Phase::Running));
        assert_eq!(task.init.phase.get(), Phase::Stopped);
    }
}
