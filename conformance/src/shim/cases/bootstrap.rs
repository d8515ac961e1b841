//! How the binary is called and what it answers, for every version of containerd.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::types::introspection::RuntimeInfo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::shim::bootstrap::{Era, recorded};
use crate::shim::daemon::{Daemon, with};
use crate::shim::server::Server;
use crate::shim::stdio::Stdio;
use crate::shim::task::{Creation, Task};
use crate::shim::wire::Connection;
use crate::value::{contains, equal};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-bootstrap/version", "-v prints the version as text", |t| {
        with(t, |d| {
            for flag in ["-v", "-version"] {
                let ended = flags_only(d, flag)?;
                equal("exit status", &ended.code, &0)?;
                contains(flag, &String::from_utf8_lossy(&ended.stdout), "ersion")?;
            }
            Ok(())
        })
    }),
    Case::new(
        "shim-bootstrap/info",
        "-info answers with a RuntimeInfo, without and with options",
        |t| {
            with(t, |d| {
                for options in [false, true] {
                    let info = info(d, options)?;
                    ensure(!info.name.is_empty(), "the name is empty")?;
                    let version = info.version.into_option().unwrap_or_default();
                    ensure(!version.version.is_empty(), "the version is empty")?;
                }
                Ok(())
            })
        },
    )
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/info-features", "RuntimeInfo carries the runtime's features", |t| {
        with(t, |d| {
            let any = info(d, true)?.features.unwrap_or_default();
            let name = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
            equal("type", &any.type_url.as_str(), &name)?;
            let features: Value = serde_json::from_slice(&any.value)?;
            ensure(features["ociVersionMin"].is_string(), format!("no versions in {features}"))?;
            ensure(features["mountOptions"].is_array(), format!("no mount options in {features}"))
        })
    })
    .needs(&[Need::Root]),
    Case::new(
        "shim-bootstrap/containerd-1-6",
        "an address as plain text, also in the bundle",
        |t| life(t, Era::V16, |task| equal("form", &task.address.form, &"plain")),
    )
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/containerd-1-7", "plain or JSON of at most version 2", |t| {
        life(t, Era::V17, |task| {
            ensure(task.address.form != "message", "a message is not understood")?;
            equal("version", &task.address.version, &2)
        })
    })
    .needs(&[Need::Root]),
    Case::new(
        "shim-bootstrap/containerd-2-3",
        "parameters as a message, an answer of version 3",
        |t| life(t, Era::V23, |task| equal("version", &task.address.version, &3)),
    )
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/socket-directory", "the socket is where 2.3 wants it", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["exit=0"]);
            let mut invocation = d.invocation(&mut bundle)?;
            let dir = tempfile::Builder::new().prefix("s").rand_bytes(6).tempdir_in("/tmp")?;
            invocation.era = Era::V23;
            invocation.sockets = Some(dir.path().to_owned());
            let task = d.launch_by(&invocation)?;
            let socket = task.address.socket.clone();
            ensure(socket.starts_with(dir.path()), format!("it is {}", socket.display()))?;
            d.retire(&task)?;
            t.until("the end of the socket", || !socket.exists())
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/both-services", "the task services v2 and v3 on one socket", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle())?;
            for version in [2, 3] {
                let mut address = task.address.clone();
                address.version = version;
                let place = (task.id.as_str(), task.bundle.clone());
                let other = Task::connect_to(&address, place, task.options.clone())?;
                let answer = other.connect().ok()?;
                ensure(answer.shim_pid > 1, "no pid of the shim")?;
            }
            Ok(())
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/socket-mode", "the socket is for the owner alone", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle())?;
            let meta = fs::metadata(&task.address.socket)?;
            equal("mode", &format!("{:o}", meta.permissions().mode() & 0o077), "0")?;
            equal("owner", &meta.uid(), &nix::unistd::geteuid().as_raw())
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/group", "one group, one shim, by either annotation", |t| {
        for key in ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"] {
            let group = t.new_id();
            with(t, |d| {
                let member =
                    || d.launch(t.bundle().set(&pointer(key), group.clone()).ops(&["exit=0"]));
                let (first, second) = (member()?, member()?);
                equal("sockets", &second.address.socket, &first.address.socket)?;
                let stranger = d.launch(t.bundle())?;
                ensure(stranger.address.socket != first.address.socket, "a stranger got in")
            })?;
        }
        Ok(())
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/stale-socket", "a socket whose shim was killed is taken over", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["exit=0"]);
            let invocation = d.invocation(&mut bundle)?;
            let dead = d.launch_by(&invocation)?;
            let pid = dead.connect().ok()?.shim_pid;
            kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
            t.until("the end of the shim", || dead.connection.is_closed())?;
            d.drop_task(&dead);
            let task = d.launch_by(&invocation)?;
            task.create(Creation::default()).ok()?;
            task.start("").ok()?;
            task.ends("", 0)
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/flags", "values after `=`, and flags that are not known yet", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["exit=0"]);
            let mut invocation = d.invocation(&mut bundle)?;
            invocation.flags =
                vec![format!("-id={}", invocation.id), "-debug".into(), "-debug-socket=".into()];
            let address = invocation.start()?;
            invocation.flags = vec!["-not-known-yet=1".into()];
            let again = invocation.start()?;
            equal("address", &again.socket, &address.socket)?;
            d.attach(&again, (&invocation.id, invocation.bundle.clone())).map(drop)
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/equals", "values after `=`, and -debug", |t| {
        with(t, |d| {
            let mut bundle = t.bundle().ops(&["exit=0"]);
            let mut invocation = d.invocation(&mut bundle)?;
            invocation.flags = vec![format!("-id={}", invocation.id), "-debug".into()];
            d.launch_by(&invocation)?.connect().ok().map(drop)
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/oom-score", "the server is killed before its caller", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle())?;
            let pid = task.connect().ok()?.shim_pid;
            let score = |pid: &str| -> Check<i64> {
                Ok(fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?.trim().parse()?)
            };
            let own = score("self")?;
            equal("oom_score_adj", &score(&pid.to_string())?, &(own + 1).min(1000))
        })
    })
    .needs(&[Need::Root]),
    Case::new("shim-bootstrap/alone", "the server is in nobody's process group", |t| {
        with(t, |d| {
            let task = d.launch(t.bundle())?;
            let pid = i32::try_from(task.connect().ok()?.shim_pid)?;
            let group = nix::unistd::getpgid(Some(Pid::from_raw(pid)))?;
            ensure(group != nix::unistd::getpgrp(), "it is in the group of its caller")?;
            let held = Server(task.connect().ok()?.shim_pid).descriptors()?;
            let pipes: Vec<_> = held.iter().filter(|name| name.contains(".ttrpc")).collect();
            ensure(pipes.is_empty(), format!("it holds {pipes:?}"))
        })
    })
    .needs(&[Need::Root]),
    Case::new(
        "shim-bootstrap/bad-frames",
        "what is no request ends its connection and nothing else",
        |t| {
            with(t, |d| {
                let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
                let service = crate::shim::task::service(task.address.version);
                for bytes in [
                    &b"\xff\xff\xff\xff\0\0\0\x01\x01\0"[..],
                    &b"\0\0\0\x04\0\0\0\x01\x01\0\xff\xff\xff\xff"[..],
                    &b"\0\0\0\0\0\0\0\x02\x63\0"[..],
                    &b"GET / HTTP/1.1\r\n\r\n"[..],
                    &b"\0\0\0\x40\0\0\0\x01\x01\0half"[..],
                ] {
                    let stranger = Connection::open(&task.address.socket, &service)?;
                    stranger.raw(bytes)?;
                    task.connect().ok()?;
                }
                task.again()?.connect().ok().map(drop)
            })
        },
    )
    .needs(&[Need::Root]),
];

/// The pointer of an annotation.
pub(super) fn pointer(key: &str) -> String {
    format!("/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn flags_only(d: &Daemon<'_>, flag: &str) -> Check<crate::shim::bootstrap::Ended> {
    let mut invocation = d.invocation_for("none", d.trial.dir());
    invocation.options = containerd_shim_protos::protobuf::well_known_types::any::Any::new();
    invocation.flags = vec![flag.to_owned()];
    invocation.other("")
}

fn info(d: &Daemon<'_>, options: bool) -> Check<RuntimeInfo> {
    let mut invocation = d.invocation_for("", d.trial.dir());
    invocation.flags = vec!["-info".to_owned()];
    if !options {
        invocation.options = containerd_shim_protos::protobuf::well_known_types::any::Any::new();
    }
    let ended = invocation.other("")?;
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure(ended.code == 0, format!("-info ended with {}: {words}", ended.code))?;
    RuntimeInfo::parse_from_bytes(&ended.stdout)
        .map_err(|error| format!("the answer of -info: {error}").into())
}

/// A whole life with a containerd of this time, with `check` after the start.
fn life(t: &crate::trial::Trial, era: Era, check: fn(&Task) -> Check) -> Check {
    with(t, |d| {
        let mut bundle = t.bundle().ops(&["exit=3"]);
        let mut invocation = d.invocation(&mut bundle)?;
        invocation.era = era;
        let task = d.launch_by(&invocation)?;
        check(&task)?;
        if era != Era::V23 {
            equal("address in the bundle", &recorded(&task.bundle)?, &task.address.socket)?;
        }
        let pid = task.connect().ok()?.shim_pid;
        if pid == std::process::id() || pid < 2 {
            return broken(format!("{pid} is not the pid of the shim"));
        }
        task.create(Creation::default()).ok()?;
        task.start("").ok()?;
        task.ends("", 3)
    })
}
