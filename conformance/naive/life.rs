//! The life of a container.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

use crate::image::Ground;
use crate::users::{text, texts};
use crate::{Done, Line};

/// `create`, and `run` with `wait`.
pub(crate) fn create(line: &Line, wait: bool) -> Done<u8> {
    let bundle = PathBuf::from(line.option("--bundle").unwrap_or("."));
    let content = fs::read(bundle.join("config.json")).map_err(told("config.json"))?;
    let config: Value = serde_json::from_slice(&content).map_err(told("config.json"))?;
    let state = line.state();
    let ground = Ground(line.ground());
    ground.check(&state.join("x"))?;
    fs::create_dir(&state).map_err(told("the container exists"))?;
    for name in ["start", "ready"] {
        mkfifo(&state.join(name), Mode::from_bits_truncate(0o600)).map_err(told(name))?;
    }
    fs::remove_file(state.join("ready")).map_err(told("ready"))?;
    fs::write(state.join("ready"), "").map_err(told("ready"))?;
    let rootfs = bundle.join(text(config.pointer("/root/path")));
    send(&state, &json!({ "config": config, "rootfs": rootfs }))?;
    // Open in every process from here on: the folder of the state root.
    let _leak =
        nix::fcntl::open(&ground.0, OFlag::O_RDONLY, Mode::empty()).map_err(told("open"))?;
    if let Ok(dir) = std::env::var("TMPDIR") {
        let log = Path::new(&dir).join(format!("naive-{}.log", line.word(0)));
        ground.check(&log)?;
        fs::write(log, "create\n").map_err(told("log"))?;
    }
    let mut child = spawn(line, &config, &state)?;
    let cgroups = join_cgroups(text(config.pointer("/linux/cgroupsPath")), child.id())?;
    let record = json!({
        "pid": child.id(), "bundle": bundle, "rootfs": rootfs, "cgroups": cgroups,
        "config": { "process": config.get("process") },
    });
    fs::write(state.join("state.json"), record.to_string()).map_err(told("state.json"))?;
    if let Err(message) = ready(&state, &mut child).and_then(|()| hooks(&config, &rootfs)) {
        let _ = child.kill();
        let _ = child.wait();
        remove(&state);
        return Err(message);
    }
    if let Some(file) = line.option("--pid-file") {
        fs::write(file, child.id().to_string()).map_err(told(file))?;
    }
    if !wait {
        return Ok(0);
    }
    start(line)?;
    let status = child.wait().map_err(told("wait"))?;
    remove(&state);
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(137))
}

/// The length of the message has 16 bits.
fn send(state: &Path, message: &Value) -> Done {
    let text = message.to_string();
    let cut = u16::try_from(text.len() % (1 << 16)).unwrap_or(0);
    let mut bytes = cut.to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    fs::write(state.join("boot"), bytes).map_err(told("boot"))
}

fn spawn(line: &Line, config: &Value, state: &Path) -> Done<Child> {
    let new = |kind: &str| {
        let list = config.pointer("/linux/namespaces").and_then(Value::as_array);
        list.into_iter().flatten().any(|item| text(item.get("type")) == kind)
    };
    if new("pid") {
        unshare(CloneFlags::CLONE_NEWPID).map_err(told("pid namespace"))?;
    }
    let socket = line.option("--console-socket").unwrap_or_default();
    let words = ["init".as_ref(), state.as_os_str(), line.ground().as_os_str(), socket.as_ref()]
        .map(ToOwned::to_owned);
    Command::new("/proc/self/exe").args(words).spawn().map_err(told("spawn"))
}

fn ready(state: &Path, child: &mut Child) -> Done {
    loop {
        let said = fs::read_to_string(state.join("ready")).map_err(told("ready"))?;
        match said.strip_suffix('\n') {
            Some("ready") => return Ok(()),
            Some(message) => return Err(message.to_owned()),
            None if child.try_wait().map_err(told("wait"))?.is_some() => {
                return Err("the first process died".to_owned());
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Hooks run in the image, with the environment of the container's program.
fn hooks(config: &Value, rootfs: &Path) -> Done {
    for kind in ["prestart", "createRuntime"] {
        let list = config.get("hooks").and_then(|hooks| hooks.get(kind)).and_then(Value::as_array);
        for hook in list.into_iter().flatten() {
            let mut command = Command::new(text(hook.get("path")));
            command.args(texts(hook.get("args")).into_iter().skip(1)).current_dir(rootfs);
            for variable in texts(config.pointer("/process/env")) {
                let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                command.env(name, value);
            }
            command.status().map_err(told("hook"))?;
        }
    }
    Ok(())
}

fn join_cgroups(path: &str, pid: u32) -> Done<Vec<PathBuf>> {
    let mut made = Vec::new();
    for base in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        let base = Path::new(base);
        if path.is_empty() || !base.join("cgroup.procs").exists() {
            continue;
        }
        let dir = base.join(path.trim_start_matches('/'));
        fs::create_dir_all(&dir).map_err(told("cgroup"))?;
        fs::write(dir.join("cgroup.procs"), pid.to_string()).map_err(told("cgroup"))?;
        made.push(dir);
    }
    Ok(made)
}

/// What `create` wrote down.
pub(crate) fn record(line: &Line) -> Done<Value> {
    let content = fs::read(line.state().join("state.json")).map_err(told("no such container"))?;
    serde_json::from_slice(&content).map_err(told("state.json"))
}

/// The first process.
pub(crate) fn pid(record: &Value) -> i32 {
    record.get("pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0)
}

pub(crate) fn start(line: &Line) -> Done<u8> {
    record(line)?;
    let path = line.state().join("start");
    let mut options = OpenOptions::new();
    let fifo = options.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    fifo.map_err(told("not created"))?.write_all(b"x").map_err(told("start"))?;
    fs::write(line.state().join("started"), "").map_err(told("start"))?;
    Ok(0)
}

pub(crate) fn state(line: &Line) -> Done<u8> {
    let record = record(line)?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid(&record))).unwrap_or_default();
    let status = match stat.rsplit(") ").next() {
        Some(rest) if rest.is_empty() || rest.starts_with('Z') => "stopped",
        _ if line.state().join("started").exists() => "running",
        _ => "created",
    };
    let state = json!({
        "ociVersion": "1.0.2", "id": line.word(0), "status": status, "pid": pid(&record),
        "bundle": record.get("bundle"),
    });
    std::io::stdout().write_all(state.to_string().as_bytes()).map_err(told("state"))?;
    Ok(0)
}

pub(crate) fn kill(line: &Line) -> Done<u8> {
    let name = line.word(1).trim_start_matches("SIG");
    let signal: Signal = format!("SIG{name}").parse().unwrap_or(Signal::SIGTERM);
    nix::sys::signal::kill(Pid::from_raw(pid(&record(line)?)), signal).map_err(told("kill"))?;
    Ok(0)
}

pub(crate) fn delete(line: &Line) -> Done<u8> {
    let state = line.state();
    Ground(line.ground()).check(&state)?;
    if let Ok(record) = record(line)
        && pid(&record) > 0
    {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid(&record)), Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(20));
    }
    remove(&state);
    Ok(0)
}

fn remove(state: &Path) {
    let content = fs::read(state.join("state.json")).unwrap_or_default();
    let record: Value = serde_json::from_slice(&content).unwrap_or_default();
    for dir in texts(record.get("cgroups")) {
        for _ in 0..50 {
            if fs::remove_dir(dir).is_ok() || !Path::new(dir).exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let _ = fs::remove_dir_all(state);
}

/// `spec`, with the inheritable set that runtimes used to write.
pub(crate) fn spec() -> Done<u8> {
    let caps = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let config = json!({ "ociVersion": "1.0.2", "process": { "args": ["sh"], "cwd": "/",
        "capabilities": { "bounding": caps, "permitted": caps, "inheritable": caps } } });
    fs::write("config.json", config.to_string()).map_err(told("config.json"))?;
    Ok(0)
}

/// Puts a word before an error.
pub(crate) fn told<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
