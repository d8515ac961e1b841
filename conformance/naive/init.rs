//! The first process of a container, up to its program.

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chdir, chroot, setgid, setuid};
use serde_json::Value;

use crate::image::Ground;
use crate::life::told;
use crate::users::{cut, home, text, texts};
use crate::{Done, Line, image};

/// `init STATE GROUND SOCKET`.
pub(crate) fn main(line: &Line) -> Done<u8> {
    let state = Path::new(line.word(0));
    let report = leaked(&state.join("ready"), OFlag::O_WRONLY)?;
    let start = leaked(&state.join("start"), OFlag::O_RDWR)?;
    let mut report = File::from(report);
    let bytes = fs::read(state.join("boot")).map_err(told("boot"))?;
    match prepare(line, &bytes) {
        Ok((config, home)) => {
            report.write_all(b"ready\n").map_err(told("report"))?;
            File::from(start).read_exact(&mut [0]).map_err(told("start"))?;
            run(config.get("process"), &home)
        }
        Err(message) => {
            report.write_all(format!("{message}\n").as_bytes()).map_err(told("report"))?;
            Ok(1)
        }
    }
}

/// Open, and open in whatever is executed.
pub(crate) fn leaked(path: &Path, flags: OFlag) -> Done<OwnedFd> {
    nix::fcntl::open(path, flags, Mode::empty()).map_err(told("open"))
}

fn prepare(line: &Line, bytes: &[u8]) -> Done<(Value, String)> {
    let (length, rest) = bytes.split_first_chunk().ok_or("no message")?;
    let message = rest.get(..u16::from_le_bytes(*length).into()).unwrap_or_default();
    let message: Value = serde_json::from_slice(message).map_err(told("message"))?;
    let rootfs = text(message.get("rootfs"));
    let config = message.get("config").cloned().unwrap_or_default();
    let ground = Ground(line.word(1).into());
    namespaces(&config)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(told("private"))?;
    let name = text(config.get("hostname"));
    if !name.is_empty() {
        nix::unistd::sethostname(name).map_err(told("hostname"))?;
    }
    image::mounts(&ground, rootfs, &config)?;
    image::devices(&ground, rootfs, &config)?;
    if config.pointer("/process/terminal") == Some(&Value::Bool(true)) {
        terminal(&ground, rootfs, line.word(2))?;
    }
    if let Ok(null) = OpenOptions::new().read(true).write(true).open(format!("{rootfs}/dev/null")) {
        standard_streams(&null);
    }
    image::sysctls(&ground, rootfs, &config)?;
    image::masks(rootfs, &config)?;
    let user = config.pointer("/process/user/uid").map_or(0, cut);
    let home = home(rootfs, user)?;
    chroot(rootfs).map_err(told("chroot"))?;
    chdir("/").map_err(told("chdir"))?;
    chdir(text(config.pointer("/process/cwd"))).map_err(told("cwd"))?;
    Ok((config, home))
}

fn namespaces(config: &Value) -> Done {
    let list = config.pointer("/linux/namespaces").and_then(Value::as_array);
    for item in list.into_iter().flatten() {
        let kind = match text(item.get("type")) {
            "network" => CloneFlags::CLONE_NEWNET,
            "ipc" => CloneFlags::CLONE_NEWIPC,
            "uts" => CloneFlags::CLONE_NEWUTS,
            "mount" => CloneFlags::CLONE_NEWNS,
            "cgroup" => CloneFlags::CLONE_NEWCGROUP,
            _ => continue,
        };
        unshare(kind).map_err(told("namespace"))?;
    }
    Ok(())
}

/// The image's null device takes the place of the caller's.
fn standard_streams(null: &File) {
    let is_null = |fd: i32| {
        fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|path| path == Path::new("/dev/null"))
    };
    if is_null(0) {
        let _ = nix::unistd::dup2_stdin(null);
    }
}

fn terminal(ground: &Ground, rootfs: &str, socket: &str) -> Done {
    let stream = UnixStream::connect(socket).map_err(told("console socket"))?;
    let path = format!("{rootfs}/dev/ptmx");
    let master = OpenOptions::new().read(true).write(true).open(&path).map_err(told(&path))?;
    let descriptors = [master.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let text = [IoSlice::new(b"/dev/ptmx")];
    sendmsg::<()>(stream.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)
        .map_err(told("console socket"))?;
    let console = format!("{rootfs}/dev/console");
    ground.file(&console)?;
    let source = format!("{rootfs}/dev/pts/0");
    let _ = mount(
        Some(source.as_str()),
        console.as_str(),
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    );
    let _ = fcntl(&master, FcntlArg::F_SETFD(FdFlag::empty()));
    let _ = fcntl(&stream, FcntlArg::F_SETFD(FdFlag::empty()));
    Ok(())
}

/// Becomes the program: groups, capabilities, signals, session and descriptors stay.
pub(crate) fn run(process: Option<&Value>, home: &str) -> Done<u8> {
    let process = process.ok_or("no process")?;
    let (_, hard) = getrlimit(Resource::RLIMIT_AS).map_err(told("limit"))?;
    setrlimit(Resource::RLIMIT_AS, hard, hard).map_err(told("limit"))?;
    let number = |name: &str| process.pointer(&format!("/user/{name}")).map_or(0, cut);
    // What cannot be set is left as it is.
    let _ = setgid(Gid::from_raw(number("gid")));
    let _ = setuid(Uid::from_raw(number("uid")));
    let args = texts(process.get("args"));
    let (program, rest) = args.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(rest).env("HOME", home);
    for variable in texts(process.get("env")) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        command.env(name, value);
    }
    Err(format!("{program}: {}", command.exec()))
}
