//! A task as its client sees it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest,
    Mount, PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest,
    ShutdownRequest, StartRequest, StartResponse, StateRequest, StateResponse, StatsRequest,
    StatsResponse, Status, UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde_json::Value;

use super::bootstrap::Address;
use super::messages;
use super::stdio::Stdio;
use super::wire::{Connection, LIMIT, Pending, Reply};
use crate::failure::Check;
use crate::value::equal;

/// One task, over a connection of its own.
#[derive(Debug)]
pub(crate) struct Task {
    /// The id.
    pub(crate) id: String,
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// Where its shim serves.
    pub(crate) address: Address,
    /// The connection.
    pub(crate) connection: Connection,
    /// The runtime options.
    pub(crate) options: Any,
    exists: AtomicBool,
    was: AtomicBool,
}

/// Everything a create can say besides id, bundle and options.
#[derive(Debug, Default)]
pub(crate) struct Creation {
    /// The streams.
    pub(crate) stdio: Stdio,
    /// What to mount as the root file system.
    pub(crate) rootfs: Vec<Mount>,
    /// The image of a checkpoint.
    pub(crate) checkpoint: String,
}

/// The name of the task service.
pub(crate) fn service(version: i32) -> String {
    format!("containerd.task.v{version}.Task")
}

impl Task {
    /// Connects to the shim of a bundle; nothing is created yet.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn connect_to(
        address: &Address,
        (id, bundle): (&str, PathBuf),
        options: Any,
    ) -> Check<Self> {
        let connection = Connection::open(&address.socket, &service(address.version))
            .map_err(|error| format!("{}: {error}", address.socket.display()))?;
        let (id, address) = (id.to_owned(), address.clone());
        let (exists, was) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { id, bundle, address, connection, options, exists, was })
    }

    /// The same task over a new connection, as after a restart of containerd.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn again(&self) -> Check<Self> {
        let place = (self.id.as_str(), self.bundle.clone());
        Self::connect_to(&self.address, place, self.options.clone())
    }

    /// Whether the task was created and not deleted.
    pub(crate) fn exists(&self) -> bool {
        self.exists.load(Ordering::SeqCst)
    }

    /// Whether the task was ever created.
    pub(crate) fn was_created(&self) -> bool {
        self.was.load(Ordering::SeqCst)
    }

    /// Notes that the task is gone by other means than `Delete`.
    pub(crate) fn forget(&self) {
        self.exists.store(false, Ordering::SeqCst);
    }

    fn call<A: containerd_shim_protos::protobuf::Message>(
        &self,
        method: &str,
        request: &impl containerd_shim_protos::protobuf::Message,
    ) -> Reply<A> {
        self.connection.call(method, request)
    }

    fn creation(&self, creation: Creation) -> CreateTaskRequest {
        CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.bundle.display().to_string(),
            rootfs: creation.rootfs,
            terminal: creation.stdio.terminal,
            stdin: creation.stdio.stdin,
            stdout: creation.stdio.stdout,
            stderr: creation.stdio.stderr,
            checkpoint: creation.checkpoint,
            options: Some(self.options.clone()).into(),
            ..Default::default()
        }
    }

    /// `Create`.
    pub(crate) fn create(&self, creation: Creation) -> Reply<CreateTaskResponse> {
        let reply = self.call("Create", &self.creation(creation));
        if reply.is_ok() {
            self.adopt();
        }
        reply
    }

    /// Notes that the task is there by other means than `create`.
    pub(crate) fn adopt(&self) {
        self.exists.store(true, Ordering::SeqCst);
        self.was.store(true, Ordering::SeqCst);
    }

    /// `Create`, not waited for, with a time limit that the shim is told.
    pub(crate) fn begin_create(&self, creation: Creation, limit: Duration) -> Pending {
        self.connection.begin("Create", &self.creation(creation), limit)
    }

    /// `Start` of the init process (empty) or of an exec.
    pub(crate) fn start(&self, exec: &str) -> Reply<StartResponse> {
        self.call("Start", &self.start_request(exec))
    }

    /// `Start`, not waited for.
    pub(crate) fn begin_start(&self, exec: &str) -> Pending {
        self.connection.begin("Start", &self.start_request(exec), LIMIT)
    }

    fn start_request(&self, exec: &str) -> StartRequest {
        StartRequest { id: self.id.clone(), exec_id: exec.to_owned(), ..Default::default() }
    }

    /// `Exec`.
    pub(crate) fn exec(&self, exec: &str, process: &Value, stdio: Stdio) -> Reply<Empty> {
        let request = ExecProcessRequest {
            id: self.id.clone(),
            exec_id: exec.to_owned(),
            terminal: stdio.terminal,
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            spec: Some(messages::process_any(process)).into(),
            ..Default::default()
        };
        self.call("Exec", &request)
    }

    /// `Exec` and `Start` of the probe; its pid.
    ///
    /// # Errors
    /// One of them fails.
    pub(crate) fn run(&self, exec: &str, ops: &[&str]) -> Check<u32> {
        self.exec(exec, &messages::probe(ops), Stdio::default()).ok()?;
        Ok(self.start(exec).ok()?.pid)
    }

    /// `Wait`.
    pub(crate) fn wait(&self, exec: &str) -> Reply<WaitResponse> {
        self.call("Wait", &self.wait_request(exec))
    }

    /// `Wait`, not waited for, with a time limit that the shim is told.
    pub(crate) fn begin_wait(&self, exec: &str, limit: Duration) -> Pending {
        self.connection.begin("Wait", &self.wait_request(exec), limit)
    }

    fn wait_request(&self, exec: &str) -> WaitRequest {
        WaitRequest { id: self.id.clone(), exec_id: exec.to_owned(), ..Default::default() }
    }

    /// `Wait` must answer with this exit status and the time of the exit.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn ends(&self, exec: &str, status: u32) -> Check {
        let answer = self.wait(exec).ok()?;
        equal("exit status", &answer.exit_status, &status)?;
        super::recent("the exit", answer.exited_at.into_option())
    }

    /// `Kill`.
    pub(crate) fn kill(&self, exec: &str, signal: u32) -> Reply<Empty> {
        self.call("Kill", &self.kill_request(exec, signal, false))
    }

    /// `Kill` of all processes.
    pub(crate) fn kill_all(&self, signal: u32) -> Reply<Empty> {
        self.call("Kill", &self.kill_request("", signal, true))
    }

    fn kill_request(&self, exec: &str, signal: u32, all: bool) -> KillRequest {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        KillRequest { id, exec_id, signal, all, ..Default::default() }
    }

    /// `Delete` of the task (empty) or of an exec.
    pub(crate) fn delete(&self, exec: &str) -> Reply<DeleteResponse> {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        let reply = self.call("Delete", &DeleteRequest { id, exec_id, ..Default::default() });
        if exec.is_empty() && reply.is_ok() {
            self.forget();
        }
        reply
    }

    /// `State`.
    pub(crate) fn state(&self, exec: &str) -> Reply<StateResponse> {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        self.call("State", &StateRequest { id, exec_id, ..Default::default() })
    }

    /// The status must be this one.
    ///
    /// # Errors
    /// It is another one.
    pub(crate) fn is(&self, exec: &str, status: Status) -> Check {
        let found = self.state(exec).ok()?.status.enum_value_or_default();
        equal("status", &found, &status)
    }

    /// `Pids`.
    pub(crate) fn pids(&self) -> Reply<PidsResponse> {
        self.call("Pids", &PidsRequest { id: self.id.clone(), ..Default::default() })
    }

    /// `Pause`.
    pub(crate) fn pause(&self) -> Reply<Empty> {
        self.call("Pause", &PauseRequest { id: self.id.clone(), ..Default::default() })
    }

    /// `Resume`.
    pub(crate) fn resume(&self) -> Reply<Empty> {
        self.call("Resume", &ResumeRequest { id: self.id.clone(), ..Default::default() })
    }

    /// `Update` with the text of the limits.
    pub(crate) fn update(&self, resources: &str) -> Reply<Empty> {
        let resources = Some(messages::resources_any(resources)).into();
        self.call(
            "Update",
            &UpdateTaskRequest { id: self.id.clone(), resources, ..Default::default() },
        )
    }

    /// `Stats`.
    pub(crate) fn stats(&self) -> Reply<StatsResponse> {
        self.call("Stats", &StatsRequest { id: self.id.clone(), ..Default::default() })
    }

    /// `CloseIO` of standard input.
    pub(crate) fn close_io(&self, exec: &str) -> Reply<Empty> {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        self.call("CloseIO", &CloseIORequest { id, exec_id, stdin: true, ..Default::default() })
    }

    /// `ResizePty`.
    pub(crate) fn resize(&self, exec: &str, (width, height): (u32, u32)) -> Reply<Empty> {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        self.call("ResizePty", &ResizePtyRequest { id, exec_id, width, height, ..<_>::default() })
    }

    /// `Checkpoint`.
    pub(crate) fn checkpoint(&self, path: &str, options: Option<Any>) -> Reply<Empty> {
        let (id, path, options) = (self.id.clone(), path.to_owned(), options.into());
        self.call("Checkpoint", &CheckpointTaskRequest { id, path, options, ..Default::default() })
    }

    /// `Connect`.
    pub(crate) fn connect(&self) -> Reply<ConnectResponse> {
        self.begin_connect().wait(LIMIT)
    }

    /// `Connect`, not waited for.
    pub(crate) fn begin_connect(&self) -> Pending {
        let request = ConnectRequest { id: self.id.clone(), ..Default::default() };
        self.connection.begin("Connect", &request, LIMIT)
    }

    /// `Shutdown`.
    pub(crate) fn shutdown(&self) -> Reply<Empty> {
        self.call("Shutdown", &ShutdownRequest { id: self.id.clone(), ..Default::default() })
    }

    /// A method that no shim has.
    pub(crate) fn unknown_method(&self) -> Reply<Empty> {
        self.call("NoSuchMethod", &StateRequest { id: self.id.clone(), ..Default::default() })
    }
}
