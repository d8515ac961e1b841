//! What only asks: the state of a process, the pids and the figures of a container, and the end.

use containerd_shim_protos::api::{
    PidsRequest, PidsResponse, ProcessInfo, StateRequest, StateResponse, StatsRequest,
    StatsResponse, Status, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::shim::oci::ProcessDetails;

use super::{Phase, Task};
use crate::failure::Failure;
use crate::message::{any, timestamp};
use crate::shim::Shim;
use crate::stats::metrics;

impl Shim {
    /// State: what is known of a process.
    ///
    /// # Errors
    /// No such process.
    pub(crate) fn state(&self, request: &StateRequest) -> Result<StateResponse, Failure> {
        let task = self.task(&request.id)?;
        let process = task.process(&request.exec_id)?;
        let exit = process.exit.get();
        let mut status = process.phase.get().status();
        let of_init = task.init.phase.get().status();
        if matches!(of_init, Status::PAUSED | Status::PAUSING) && status == Status::RUNNING {
            status = of_init;
        }
        let id = if process.is_init() { &task.id } else { &process.id };
        Ok(StateResponse {
            id: id.clone(),
            bundle: task.bundle.display().to_string(),
            pid: process.pid_for_message(),
            status: status.into(),
            stdin: process.streams.stdin.clone(),
            stdout: process.streams.stdout.clone(),
            stderr: process.streams.stderr.clone(),
            terminal: process.streams.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            exec_id: process.id.clone(),
            ..StateResponse::default()
        })
    }

    /// Wait: answers once the process has ended.
    ///
    /// # Errors
    /// No such process.
    pub(crate) async fn wait(&self, request: &WaitRequest) -> Result<WaitResponse, Failure> {
        let process = self.task(&request.id)?.process(&request.exec_id)?;
        let exit = process.ended().await;
        Ok(WaitResponse {
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..WaitResponse::default()
        })
    }

    /// Pids: the processes of a container.
    ///
    /// A client takes a failure for the container's end, so while its init lives there is always an
    /// answer.
    ///
    /// # Errors
    /// No such task.
    pub(crate) fn pids(&self, request: &PidsRequest) -> Result<PidsResponse, Failure> {
        let task = self.task(&request.id)?;
        let mut pids = match task.init.phase.get() {
            Phase::Stopped | Phase::Deleting => Vec::new(),
            _ => task.container().and_then(|container| Ok(container.processes()?)).unwrap_or_else(
                |failure| {
                    log::warn!("the processes of {}: {failure}", task.id);
                    task.known_pids()
                },
            ),
        };
        if pids.is_empty() && task.init.exit.get().is_none() {
            pids = task.known_pids();
        }
        let processes = pids.into_iter().filter_map(|pid| task.describe(pid)).collect();
        Ok(PidsResponse { processes, ..PidsResponse::default() })
    }

    /// Stats: the figures of the container's cgroup; after its end, those of its end.
    ///
    /// # Errors
    /// No such task; the figures cannot be read.
    pub(crate) fn stats(&self, request: &StatsRequest) -> Result<StatsResponse, Failure> {
        let task = self.task(&request.id)?;
        let last = task.last_stats.borrow().clone();
        let stats = match last {
            Some(last) => last,
            None => metrics(&task.container()?.stats()?)
                .map_err(|error| Failure::unknown(format!("encode the figures: {error}")))?,
        };
        Ok(StatsResponse { stats: MessageField::some(stats), ..StatsResponse::default() })
    }
}

impl Task {
    /// Init and further processes, as far as they run.
    fn known_pids(&self) -> Vec<i32> {
        let execs = self.execs.borrow();
        let execs = execs.values().filter(|exec| exec.phase.get().lives());
        let pids = execs.map(|exec| exec.pid.get());
        std::iter::once(self.init.pid.get()).chain(pids).filter(|pid| *pid > 0).collect()
    }

    fn describe(&self, pid: i32) -> Option<ProcessInfo> {
        let execs = self.execs.borrow();
        let exec = execs.values().find(|exec| exec.phase.get().lives() && exec.pid.get() == pid);
        let details = exec.map(|exec| {
            let details = ProcessDetails { exec_id: exec.id.clone(), ..ProcessDetails::default() };
            any("containerd.runc.v1", &details)
        });
        Some(ProcessInfo {
            pid: u32::try_from(pid).ok()?,
            info: details.into(),
            ..ProcessInfo::default()
        })
    }
}
