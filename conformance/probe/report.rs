//! What a process can see of itself and of its surroundings, as one JSON object.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{major, minor};
use serde_json::{Map, Value, json};

use crate::sys;

const NAMESPACES: [&str; 8] = ["pid", "net", "mnt", "ipc", "uts", "user", "cgroup", "time"];

/// Everything in one object; what cannot be read is null.
pub(crate) fn whole() -> Value {
    let status = status();
    json!({
        "pid": std::process::id(),
        "ppid": nix::unistd::getppid().as_raw(),
        "sid": nix::unistd::getsid(None).ok().map(nix::unistd::Pid::as_raw),
        "pgid": nix::unistd::getpgrp().as_raw(),
        "uid": numbers(&status, "Uid"),
        "gid": numbers(&status, "Gid"),
        "groups": nix::unistd::getgroups().ok()
            .map(|list| list.iter().map(|gid| gid.as_raw()).collect::<Vec<_>>()),
        "status": status,
        "umask": umask(),
        "cwd": text(std::env::current_dir().ok().as_deref()),
        "env": environment(),
        "args": std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "hostname": nix::sys::utsname::uname().ok()
            .map(|name| name.nodename().to_string_lossy().into_owned()),
        "domainname": nix::sys::utsname::uname().ok()
            .map(|name| name.domainname().to_string_lossy().into_owned()),
        "mounts": mounts(),
        "fds": descriptors(),
        "namespaces": namespaces(),
        "rlimits": limits(),
        "tty": terminals(),
        "oom_score_adj": trimmed("/proc/self/oom_score_adj"),
        "personality": trimmed("/proc/self/personality"),
        "cgroup": trimmed("/proc/self/cgroup"),
        "stat": trimmed("/proc/self/stat"),
        "timens_offsets": trimmed("/proc/self/timens_offsets"),
        "exe": text(fs::read_link("/proc/self/exe").ok().as_deref()),
        "scheduler": [
            sys::raw_syscall(libc::SYS_sched_getscheduler, [0; 6]).ok(),
            sys::raw_syscall(libc::SYS_getpriority, [0; 6]).ok().map(|raw| 20 - raw),
        ],
        "ioprio": sys::raw_syscall(libc::SYS_ioprio_get, [1, 0, 0, 0, 0, 0]).ok(),
        "dev": directory(Path::new("/dev")),
    })
}

/// The short form that hooks record.
pub(crate) fn surroundings() -> Value {
    json!({
        "pid": std::process::id(),
        "cwd": text(std::env::current_dir().ok().as_deref()),
        "env": environment(),
        "args": std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "hostname": nix::sys::utsname::uname().ok()
            .map(|name| name.nodename().to_string_lossy().into_owned()),
        "namespaces": namespaces(),
        "fds": descriptors(),
        "root": names(Path::new("/")),
    })
}

/// Name, kind, owner, mode and device number of one inode; symbolic links are not followed.
pub(crate) fn inode(path: &Path) -> std::io::Result<Value> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_symlink() => "link",
        () if kind.is_dir() => "dir",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "file",
    };
    Ok(json!({
        "kind": kind,
        "mode": format!("{:04o}", meta.mode() & 0o7777),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "ino": meta.ino(),
        "dev": format!("{}:{}", major(meta.dev()), minor(meta.dev())),
        "rdev": format!("{}:{}", major(meta.rdev()), minor(meta.rdev())),
        "target": text(fs::read_link(path).ok().as_deref()),
    }))
}

/// The sorted names of a directory.
pub(crate) fn names(path: &Path) -> Option<Vec<String>> {
    let mut list: Vec<String> = fs::read_dir(path)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    list.sort();
    Some(list)
}

fn directory(path: &Path) -> Value {
    let list = names(path).unwrap_or_default();
    let entries: Map<String, Value> = list
        .into_iter()
        .filter_map(|name| inode(&path.join(&name)).ok().map(|value| (name, value)))
        .collect();
    Value::Object(entries)
}

fn text(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.to_string_lossy().into_owned())
}

fn trimmed(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|content| content.trim().to_owned())
}

fn environment() -> Vec<String> {
    std::env::vars_os()
        .map(|(key, value)| {
            let mut line = key.as_bytes().to_vec();
            line.push(b'=');
            line.extend_from_slice(value.as_bytes());
            String::from_utf8_lossy(&line).into_owned()
        })
        .collect()
}

fn umask() -> String {
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(mask);
    format!("{:04o}", mask.bits())
}

fn status() -> BTreeMap<String, String> {
    let content = fs::read_to_string("/proc/self/status").unwrap_or_default();
    content
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

fn numbers(status: &BTreeMap<String, String>, key: &str) -> Option<Vec<u32>> {
    status.get(key)?.split_whitespace().map(|word| word.parse().ok()).collect()
}

fn mounts() -> Option<Vec<Value>> {
    let content = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Some(content.lines().filter_map(mount).collect())
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(json!({
        "id": left.first()?,
        "parent": left.get(1)?,
        "dev": left.get(2)?,
        "root": left.get(3)?,
        "point": left.get(4)?,
        "options": left.get(5)?.split(',').collect::<Vec<_>>(),
        "optional": left.get(6..)?,
        "type": right.first()?,
        "source": right.get(1)?,
        "super": right.get(2)?.split(',').collect::<Vec<_>>(),
    }))
}

fn descriptors() -> Option<Value> {
    let mut found = Map::new();
    for entry in fs::read_dir("/proc/self/fd").ok()?.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        // The descriptor that reads this very directory.
        if target.starts_with("/proc/") && target.ends_with("/fd") {
            continue;
        }
        found.insert(entry.file_name().to_string_lossy().into_owned(), Value::from(target));
    }
    Some(Value::Object(found))
}

fn namespaces() -> Value {
    let links: Map<String, Value> = NAMESPACES
        .iter()
        .filter_map(|name| {
            let link = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
            Some(((*name).to_owned(), Value::from(link.to_string_lossy().into_owned())))
        })
        .collect();
    Value::Object(links)
}

fn limits() -> Value {
    let table = [
        ("RLIMIT_AS", Resource::RLIMIT_AS),
        ("RLIMIT_CORE", Resource::RLIMIT_CORE),
        ("RLIMIT_CPU", Resource::RLIMIT_CPU),
        ("RLIMIT_DATA", Resource::RLIMIT_DATA),
        ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
        ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
        ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
        ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
        ("RLIMIT_NICE", Resource::RLIMIT_NICE),
        ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
        ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
        ("RLIMIT_RSS", Resource::RLIMIT_RSS),
        ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
        ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
        ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
        ("RLIMIT_STACK", Resource::RLIMIT_STACK),
    ];
    let limits: Map<String, Value> = table
        .into_iter()
        .filter_map(|(name, resource)| {
            getrlimit(resource).ok().map(|(soft, hard)| (name.to_owned(), json!([soft, hard])))
        })
        .collect();
    Value::Object(limits)
}

fn terminals() -> Value {
    let sizes: Vec<Option<(u16, u16)>> = (0..3).map(sys::window_size).collect();
    json!({
        "sizes": sizes,
        "names": (0..3).map(|fd| text(fs::read_link(format!("/proc/self/fd/{fd}")).ok().as_deref()))
            .collect::<Vec<_>>(),
    })
}
