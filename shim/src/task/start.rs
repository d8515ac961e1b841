//! Start: the programs of the init and of further processes.

use std::rc::Rc;
use std::sync::Arc;

use containerd_shim_protos::api::{StartRequest, StartResponse};
use containerd_shim_protos::events::task::{TaskExecStarted, TaskStart};
use containerd_shim_protos::topics;
use coracle::{ConsoleTarget, Container, ExecOptions, ExecProcess};

use super::birth::Recipe;
use super::{Exit, Phase, Process, Task};
use crate::children::Claim;
use crate::failure::Failure;
use crate::io::{self, Opened, Owner, Streams};
use crate::shim::Shim;
use crate::worker;

/// How a process is said to have ended whose program was never executed.
pub(super) const NOT_STARTED: u32 = 255;

impl Shim {
    /// Start: lets the program of the init run, or starts a further process.
    ///
    /// # Errors
    /// It was started before; the program cannot be executed.
    pub(crate) async fn start(
        self: &Rc<Self>,
        request: &StartRequest,
    ) -> Result<StartResponse, Failure> {
        let task = self.task(&request.id)?;
        let process = task.process(&request.exec_id)?;
        if !process.is_init() {
            // One that is not restored yet has nothing to start a process in.
            task.life()?;
        }
        if !process.is_init() && task.init.parked.get().is_some() {
            return Err(Failure::precondition(
                "cannot start a process in a container that is stopped",
            ));
        }
        if !process.is_init() && !task.init.phase.get().takes_execs() {
            let phase = task.init.phase.get();
            return Err(Failure::precondition(format!(
                "cannot start a process in a container that is {phase}"
            )));
        }
        process.pass(&[Phase::Created], Phase::Starting, "start")?;
        let started = if process.is_init() {
            self.start_init(&task).await
        } else {
            self.start_exec(&task, &process).await
        };
        self.sweep.notify_one();
        self.settle(&task, &process);
        started?;
        Ok(StartResponse { pid: process.pid_for_message(), ..StartResponse::default() })
    }

    async fn start_init(self: &Rc<Self>, task: &Rc<Task>) -> Result<(), Failure> {
        let recipe = task.recipe.borrow_mut().take();
        let started = match (recipe, task.container()) {
            (Some(recipe), _) => self.restore(task, recipe).await,
            (None, Ok(container)) => release(container).await,
            (None, Err(failure)) => Err(failure),
        };
        match started {
            Ok(()) => {
                task.init.phase.set(Phase::Running);
                let event = TaskStart {
                    container_id: task.id.clone(),
                    pid: task.init.pid_for_message(),
                    ..TaskStart::default()
                };
                self.events.publish(topics::TASK_START_EVENT_TOPIC, &event, false);
                Ok(())
            }
            // If its process has ended with this, that is seen by its descriptor.
            Err(failure) => {
                match task.life() {
                    Ok(_) => task.init.phase.set(Phase::Created),
                    Err(_) => task.init.stop(Exit::now(NOT_STARTED)),
                }
                Err(failure)
            }
        }
    }

    async fn restore(self: &Rc<Self>, task: &Rc<Task>, recipe: Box<Recipe>) -> Result<(), Failure> {
        let born = worker::run(move || recipe.make()).await?;
        self.adopt(task, born.map_err(|failure| failure.context("OCI runtime restore failed"))?)
            .await?;
        self.watch_task(task);
        Ok(())
    }

    async fn start_exec(
        self: &Rc<Self>,
        task: &Rc<Task>,
        process: &Rc<Process>,
    ) -> Result<(), Failure> {
        let made = match Order::new(self, task, process) {
            Ok(order) => worker::run(move || order.make()).await.and_then(|made| made),
            Err(failure) => Err(failure),
        };
        let made = made.and_then(|mut made| {
            let console = made.process.take_console();
            process.take_relay(made.opened.relay(console)?);
            Ok((made.process, made.claim))
        });
        match made {
            Ok((handle, claim)) => {
                process.pid.set(handle.pid());
                *process.claim.borrow_mut() = Some(claim);
                *process.handle.borrow_mut() = Some(Arc::new(handle));
                process.phase.set(Phase::Running);
                let event = TaskExecStarted {
                    container_id: task.id.clone(),
                    exec_id: process.id.clone(),
                    pid: process.pid_for_message(),
                    ..TaskExecStarted::default()
                };
                self.events.publish(topics::TASK_EXEC_STARTED_EVENT_TOPIC, &event, true);
                self.watch_exec(task, process);
                process.end_with_init(task);
                Ok(())
            }
            Err(failure) => {
                // It has never run: nobody is told of an exit, but whoever waits is not left waiting.
                process.stop(Exit::now(NOT_STARTED));
                Err(failure.context("OCI runtime exec failed"))
            }
        }
    }
}

async fn release(container: Arc<Container>) -> Result<(), Failure> {
    let started = worker::run(move || container.start()).await?;
    started.map_err(|error| Failure::from(error).context("OCI runtime start failed"))
}

/// What the thread needs to start a further process.
struct Order {
    container: Arc<Container>,
    program: Box<coracle::spec::Process>,
    streams: Streams,
    owner: Owner,
}

/// What it has made.
struct Made {
    process: ExecProcess,
    claim: Claim,
    opened: Opened,
}

impl Order {
    fn new(shim: &Shim, task: &Task, process: &Process) -> Result<Self, Failure> {
        let life = task.life()?;
        let program = process.program.borrow_mut().take();
        Ok(Self {
            container: life.container,
            program: program.ok_or_else(|| Failure::precondition("it was started before"))?,
            streams: process.streams.clone(),
            owner: Owner {
                namespace: shim.settings.namespace.clone(),
                container: task.id.clone(),
                ids: life.io_ids,
            },
        })
    }

    fn make(self) -> Result<Made, Failure> {
        let mut opened = io::open(&self.streams, &self.owner)
            .map_err(|error| Failure::from(error).context("open the standard streams"))?;
        let mut options = ExecOptions::default();
        options.console = ConsoleTarget::Keep;
        options.stdio = opened.take_child_ends();
        let process = self.container.exec(&self.program, &options)?;
        Ok(Made { claim: Claim::new(process.pid()), process, opened })
    }
}
