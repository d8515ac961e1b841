//! One task of a shim, driven as containerd drives it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::types::mount::Mount;
use nix::libc::O_NONBLOCK;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

use super::wire::Connection;
use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::{Bundle, Payload};
use crate::host::check_interrupt;
use crate::runtime::Runtime;

const NAMESPACE: &str = "coracle-bench";

/// A shim ends soon after it is told to.
const LIMIT: Duration = Duration::from_secs(20);

/// A task, and the connection to its shim. Dropping it ends both, however far they are.
#[derive(Debug)]
pub(super) struct Task {
    bundle: Bundle,
    program: PathBuf,
    events: PathBuf,
    options: Any,
    connection: Connection,
    /// The server; 0 when it has ended.
    pub(super) shim: i32,
    /// The fifos of the bundle, open as the ends of containerd and of a client.
    _ends: Vec<File>,
}

impl Task {
    /// Writes a bundle and starts a shim for it, or joins that of the pod.
    pub(super) fn launch(
        bench: &Bench,
        shim: &Runtime,
        (name, payload): (&str, Payload),
        pod: Option<&str>,
    ) -> Outcome<Self> {
        let mut bundle = bench.bundle(shim, name, payload, None)?;
        let lower = std::mem::replace(&mut bundle.rootfs, PathBuf::from("rootfs"));
        bundle.write()?;
        prepare(&bundle, &lower, pod.map(|pod| format!("{}-{pod}", shim.name)))?;
        let mut ends = Vec::new();
        for fifo in ["log", "out", "err"] {
            ends.push(make_fifo(&bundle.directory.join(fifo))?);
        }
        let options = Options { root: shim.root.display().to_string(), ..Default::default() };
        let options = any("containerd.runc.v1.Options", options.write_to_bytes()?);
        let events = bench.workspace.directory.join("containerd.sock.ttrpc");
        let mut command = command(&shim.path, &events, &bundle);
        let (messages, program) = (bench.messages(), shim.path.clone());
        let socket = start(command.arg("start"), &options, &messages)?;
        let mut connection = Connection::open(&socket)?;
        let request = api::ConnectRequest { id: bundle.id.clone(), ..Default::default() };
        let connected: api::ConnectResponse = connection.call("Connect", &request)?;
        let shim = i32::try_from(connected.shim_pid)?;
        Ok(Self { bundle, program, events, options, connection, shim, _ends: ends })
    }

    /// Creates the container on an overlay and starts it.
    pub(super) fn run(&mut self) -> Outcome<()> {
        let directory = self.bundle.directory.clone();
        let path = |name: &str| directory.join(name).display().to_string();
        let layers = fs::read_to_string(path("lower"))?;
        let rootfs = Mount {
            type_: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: vec![
                format!("lowerdir={layers}"),
                format!("upperdir={}", path("upper")),
                format!("workdir={}", path("scratch")),
            ],
            ..Default::default()
        };
        let request = api::CreateTaskRequest {
            id: self.bundle.id.clone(),
            bundle: directory.display().to_string(),
            rootfs: vec![rootfs],
            stdout: path("out"),
            stderr: path("err"),
            options: Some(self.options.clone()).into(),
            ..Default::default()
        };
        let _: api::CreateTaskResponse = self.connection.call("Create", &request)?;
        self.start("")
    }

    /// Starts the init process, or an exec.
    pub(super) fn start(&mut self, exec: &str) -> Outcome<()> {
        let (id, exec_id) = (self.bundle.id.clone(), exec.to_owned());
        let request = api::StartRequest { id, exec_id, ..Default::default() };
        self.connection.call::<api::StartResponse>("Start", &request).map(drop)
    }

    /// Waits for the end of a process; its exit status.
    pub(super) fn wait(&mut self, exec: &str) -> Outcome<u32> {
        let (id, exec_id) = (self.bundle.id.clone(), exec.to_owned());
        let request = api::WaitRequest { id, exec_id, ..Default::default() };
        Ok(self.connection.call::<api::WaitResponse>("Wait", &request)?.exit_status)
    }

    /// Deletes a process that has ended.
    pub(super) fn delete(&mut self, exec: &str) -> Outcome<()> {
        let (id, exec_id) = (self.bundle.id.clone(), exec.to_owned());
        let request = api::DeleteRequest { id, exec_id, ..Default::default() };
        self.connection.call::<api::DeleteResponse>("Delete", &request).map(drop)
    }

    /// Sends a signal to the init process.
    pub(super) fn kill(&mut self, signal: u32) -> Outcome<()> {
        let request = api::KillRequest { id: self.bundle.id.clone(), signal, ..Default::default() };
        self.connection.call::<api::Empty>("Kill", &request).map(drop)
    }

    /// Pids, Pause or Resume.
    pub(super) fn call(&mut self, method: &str) -> Outcome<()> {
        let id = self.bundle.id.clone();
        match method {
            "Pids" => {
                let request = api::PidsRequest { id, ..Default::default() };
                let answer: api::PidsResponse = self.connection.call(method, &request)?;
                if answer.processes.is_empty() { Err("Pids: no process".into()) } else { Ok(()) }
            }
            "Pause" => {
                let request = api::PauseRequest { id, ..Default::default() };
                self.connection.call::<api::Empty>(method, &request).map(drop)
            }
            _ => {
                let request = api::ResumeRequest { id, ..Default::default() };
                self.connection.call::<api::Empty>(method, &request).map(drop)
            }
        }
    }

    /// One more process in the container, to its end.
    pub(super) fn exec(&mut self, name: &str) -> Outcome<()> {
        let spec = any(
            "types.containerd.io/opencontainers/runtime-spec/1/Process",
            process().to_string().into_bytes(),
        );
        let request = api::ExecProcessRequest {
            id: self.bundle.id.clone(),
            exec_id: name.to_owned(),
            spec: Some(spec).into(),
            ..Default::default()
        };
        let _: api::Empty = self.connection.call("Exec", &request)?;
        self.start(name)?;
        if self.wait(name)? != 0 {
            return Err("the process of an exec failed".into());
        }
        self.delete(name)
    }

    /// Ends the container, and with the last one of a pod the shim, as containerd does.
    pub(super) fn end(mut self) -> Outcome<()> {
        self.kill(9)?;
        self.wait("")?;
        self.retire()
    }

    /// Deletes a container that has ended, and with the last one of a pod its shim.
    pub(super) fn retire(mut self) -> Outcome<()> {
        self.delete("")?;
        let request = api::ShutdownRequest { id: self.bundle.id.clone(), ..Default::default() };
        // It may be gone before it has answered.
        let _ = self.connection.call::<api::Empty>("Shutdown", &request);
        Ok(())
    }

    /// Where its standard output is to be read.
    pub(super) fn output(&self) -> PathBuf {
        self.bundle.directory.join("out")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut command = command(&self.program, &self.events, &self.bundle);
        command.arg("-bundle").arg(&self.bundle.directory).arg("delete");
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.bundle.directory);
    }
}

/// Waits until a shim has ended and been reaped. One that stays is killed, and that is an error.
pub(super) fn wait_for_end(shim: i32) -> Outcome<()> {
    let (pid, end) = (Pid::from_raw(shim), Instant::now() + LIMIT);
    while waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive) {
        if Instant::now() > end || check_interrupt().is_err() {
            kill(pid, Signal::SIGKILL)?;
            waitpid(pid, None)?;
            return Err("the shim stayed after Shutdown and was killed".into());
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn any(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: name.to_owned(), value, ..Default::default() }
}

/// The process of an exec.
fn process() -> Value {
    json!({
        "terminal": false,
        "user": {"uid": 0, "gid": 0},
        "args": [Payload::True.path()],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "noNewPrivileges": true,
    })
}

/// Adds to a written bundle what containerd would: directories of the overlay, and the pod.
fn prepare(bundle: &Bundle, lower: &Path, pod: Option<String>) -> Outcome<()> {
    for name in ["rootfs", "upper", "scratch"] {
        fs::create_dir_all(bundle.directory.join(name))?;
    }
    fs::write(bundle.directory.join("lower"), lower.display().to_string())?;
    let path = bundle.directory.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    if let (Some(fields), Some(pod)) = (config.as_object_mut(), pod) {
        fields.insert("annotations".into(), json!({"io.kubernetes.cri.sandbox-id": pod}));
    }
    Ok(fs::write(path, config.to_string())?)
}

/// Makes a fifo and opens it for both, so that nobody waits for the other end.
fn make_fifo(path: &Path) -> Outcome<File> {
    mkfifo(path, Mode::S_IRWXU)?;
    Ok(OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path)?)
}

fn command(program: &Path, events: &Path, bundle: &Bundle) -> Command {
    let mut command = Command::new(program);
    let address = events.with_extension("");
    command.current_dir(&bundle.directory);
    command.args(["-namespace", NAMESPACE, "-address"]).arg(address);
    command.args(["-publish-binary", "/bin/false", "-id", &bundle.id]);
    command.env("TTRPC_ADDRESS", events).env("GOMAXPROCS", "4");
    command
}

/// Runs `start`; the socket that it names, alone or in JSON.
fn start(command: &mut Command, options: &Any, messages: &Path) -> Outcome<PathBuf> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(messages)?);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input has what it needs.
        let _ = stdin.write_all(&options.write_to_bytes()?);
    }
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    crate::measure::succeed(command, child.wait()?, messages)?;
    let address = text.split_once("unix://").map(|(_, rest)| rest);
    let path = address.and_then(|rest| rest.split(['"', '\n']).next());
    path.map(PathBuf::from).ok_or(format!("start answered {text:?}").into())
}
