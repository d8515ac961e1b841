//! A further process in a container.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{chdir, chroot};
use serde_json::{Value, json};

use crate::life::{pid, record, told};
use crate::users::{home, parse, text};
use crate::{Done, Line, init};

/// `exec`: enters the pid namespace first, and everything else afterwards, in the container's sight.
pub(crate) fn exec(line: &Line) -> Done<u8> {
    let record = record(line)?;
    let pid = pid(&record);
    let _leak = init::leaked(&line.ground(), OFlag::O_RDONLY)?;
    let mut process = record.pointer("/config/process").cloned().unwrap_or_default();
    if let (Some(map), words) = (process.as_object_mut(), &line.words) {
        map.insert("args".into(), json!(words.iter().skip(1).collect::<Vec<_>>()));
        if let Some(cwd) = line.option("--cwd") {
            map.insert("cwd".into(), json!(cwd));
        }
        if let Some(user) = line.option("--user") {
            let (uid, gid) = parse(text(record.get("rootfs")), user)?;
            map.insert("user".into(), json!({ "uid": uid, "gid": gid }));
        }
    }
    let space = File::open(format!("/proc/{pid}/ns/pid")).map_err(told("pid namespace"))?;
    setns(space, CloneFlags::CLONE_NEWPID).map_err(told("pid namespace"))?;
    let words = ["exec-init".to_owned(), pid.to_string(), process.to_string()];
    let mut child = Command::new("/proc/self/exe").args(words).spawn().map_err(told("spawn"))?;
    for dir in record.get("cgroups").and_then(Value::as_array).into_iter().flatten() {
        let dir = Path::new(text(Some(dir))).join(line.option("--cgroup").unwrap_or_default());
        fs::write(dir.join("cgroup.procs"), child.id().to_string()).map_err(told("cgroup"))?;
    }
    if let Some(file) = line.option("--pid-file") {
        fs::write(file, child.id().to_string()).map_err(told(file))?;
    }
    if line.option("--detach").is_some() {
        return Ok(0);
    }
    let status = child.wait().map_err(told("wait"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(137))
}

/// `exec-init PID PROCESS`.
pub(crate) fn main(line: &Line) -> Done<u8> {
    let pid = line.word(0);
    let process: Value = serde_json::from_str(line.word(1)).map_err(told("process"))?;
    let root = format!("/proc/{pid}/root");
    for (name, kind) in [
        ("net", CloneFlags::CLONE_NEWNET),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ] {
        let space = File::open(format!("/proc/{pid}/ns/{name}")).map_err(told(name))?;
        setns(space, kind).map_err(told(name))?;
    }
    let home = home(&root, 0)?;
    chroot(root.as_str()).map_err(told("chroot"))?;
    chdir("/").map_err(told("chdir"))?;
    chdir(text(process.get("cwd"))).map_err(told("cwd"))?;
    init::run(Some(&process), &home)
}
