//! Exec: a further process is described; [`Shim::start`] makes it.

use std::rc::Rc;

use containerd_shim_protos::api::{Empty, ExecProcessRequest};
use containerd_shim_protos::events::task::TaskExecAdded;
use containerd_shim_protos::topics;
use containerd_shim_protos::ttrpc::Code;

use super::{Phase, Process};
use crate::failure::Failure;
use crate::io::Streams;
use crate::shim::Shim;

impl Shim {
    /// Exec: adds a process.
    ///
    /// # Errors
    /// The id is taken; the container is paused or stopped; the description is at fault.
    pub(crate) fn exec(&self, request: ExecProcessRequest) -> Result<Empty, Failure> {
        let task = self.task(&request.id)?;
        if request.exec_id.is_empty() {
            return Err(Failure::invalid("the exec id is empty"));
        }
        if task.execs.borrow().contains_key(&request.exec_id) {
            let message = format!("process {} of {} already exists", request.exec_id, task.id);
            return Err(Failure::new(Code::ALREADY_EXISTS, message));
        }
        let phase = task.init.phase.get();
        if !phase.takes_execs() {
            return Err(Failure::precondition(format!(
                "cannot add a process to a container that is {phase}"
            )));
        }
        let spec = request.spec.as_ref().map(|spec| spec.value.as_slice()).unwrap_or_default();
        let mut program = coracle::spec::Process::parse(spec)?.value;
        program.terminal = request.terminal;
        let streams = Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let process = Process::new(request.exec_id.clone(), streams);
        *process.program.borrow_mut() = Some(Box::new(program));
        task.execs.borrow_mut().insert(request.exec_id.clone(), Rc::new(process));
        let event = TaskExecAdded {
            container_id: task.id.clone(),
            exec_id: request.exec_id,
            ..TaskExecAdded::default()
        };
        self.events.publish(topics::TASK_EXEC_ADDED_EVENT_TOPIC, &event, true);
        Ok(Empty::new())
    }
}

impl Phase {
    /// Whether further processes may be added and started.
    pub(super) fn takes_execs(self) -> bool {
        matches!(self, Self::Created | Self::Starting | Self::Running)
    }
}
