//! What goes wrong around a runtime: full disks, broken records, numbers used again, many at once.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::concurrency::cut_off;
use crate::call::Running;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure, skip};
use crate::trial::Trial;
use crate::value::equal;

/// The number of the newest process, where the kernel can restore processes.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("reliability/pid-reused", "a process that got the number is left alone", |t| {
        if !Path::new(LAST_PID).exists() {
            return skip("this kernel does not let anybody choose a process number");
        }
        let c = t.bundle().ops(&["sleep"]).start()?;
        let pid = c.pid()?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        t.until("the end of init", || !fs::exists(format!("/proc/{pid}")).unwrap_or(true))?;
        let mut decoy = decoy(t, pid)?;
        let calls = (|| {
            c.is("stopped")?;
            c.kill("KILL")?.fails()?;
            c.delete_force()?.ok().map(drop)
        })();
        let alive = decoy.try_wait()?.is_none();
        decoy.kill()?;
        decoy.wait()?;
        t.disown(decoy.id());
        calls?;
        ensure(alive, "a process outside the container was killed")
    })
    .needs(&[Need::Root]),
    Case::new("reliability/exec-storm", "60 execs, 20 at a time", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for _ in 0..3 {
            let calls = (0..20)
                .map(|_| t.call(&["exec", &c.id, "/probe", "exit=6"]).spawn())
                .collect::<Check<Vec<_>>>()?;
            for call in calls {
                call.wait()?.code(6)?;
            }
        }
        Ok(())
    }),
    Case::new("reliability/state-no-inodes", "a state directory without inodes", |t| {
        for count in 2..14 {
            on_small_disk(t, &format!("nr_inodes={count}"))?;
        }
        Ok(())
    })
    .needs(&[Need::Root]),
    Case::new("reliability/state-full", "a full state directory", |t| {
        for pages in 1..8 {
            on_small_disk(t, &format!("size={}k", pages * 4))?;
        }
        Ok(())
    })
    .needs(&[Need::Root]),
    Case::new("reliability/state-read-only", "a state directory that cannot be written", |t| {
        on_small_disk(t, "ro")
    })
    .needs(&[Need::Root]),
    Case::new("reliability/state-broken", "a record that was cut, emptied or overwritten", |t| {
        let other = t.bundle().ops(&["sleep"]).start()?;
        for content in ["", "{\"pid\": 1", "garbage\0\u{1}", "null", "[]"] {
            let c = t.bundle().ops(&["sleep"]).start()?;
            let pid = c.pid()?;
            for entry in fs::read_dir(t.state_root().join(&c.id))?.flatten() {
                if entry.path().extension().is_some_and(|end| end == "json") {
                    fs::write(entry.path(), content)?;
                }
            }
            t.run(&["list"])?.ok()?;
            c.delete_force()?.ok()?;
            t.until("the end of init", || !fs::exists(format!("/proc/{pid}")).unwrap_or(true))?;
        }
        other.is("running")
    })
    .needs(&[Need::Cgroup]),
    Case::new("reliability/signals-to-create", "a create that is ended leaves nothing", |t| {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            cut_off(t, signal, &[1, 3, 5, 7, 9, 12, 16, 22])?;
        }
        Ok(())
    }),
    Case::new("reliability/created-50", "50 containers that wait", |t| {
        let all =
            (0..50).map(|_| t.bundle().ops(&["sleep"]).create()).collect::<Check<Vec<_>>>()?;
        let begin = Instant::now();
        let list = t.run(&["list", "--format", "json"])?.ok()?.json()?;
        ensure(begin.elapsed() < Duration::from_secs(3), "list takes too long")?;
        equal("containers", &list.as_array().map(Vec::len), &Some(50))?;
        let calls = all
            .iter()
            .map(|c| c.call(&["delete", "--force"]).spawn())
            .collect::<Check<Vec<Running<'_>>>>()?;
        for (container, call) in all.iter().zip(calls) {
            call.wait()?.ok()?;
            t.gone(&container.id);
        }
        Ok(())
    }),
    Case::new("reliability/other-clock", "a caller whose boot was at another time", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let pid = c.pid()?;
        let moved = |words: &[&str]| {
            let text = "exec unshare --time --boottime 8640000 --fork -- \"$@\"";
            t.call(words).shell(text).run()
        };
        let state = moved(&["state", &c.id])?.ok()?.json()?;
        equal("status", &state["status"], &json!("running"))?;
        moved(&["kill", &c.id, "0"])?.ok()?;
        moved(&["exec", &c.id, "/probe", "exit=4"])?.code(4)?;
        moved(&["delete", "--force", &c.id])?.ok()?;
        t.gone(&c.id);
        t.until("the end of init", || !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
    })
    .needs(&[Need::Root, Need::TimeNamespace]),
    Case::new("reliability/dead-server", "a mount source whose FUSE server does not answer", |t| {
        let dir = t.path("dead");
        fs::create_dir(&dir)?;
        let Ok(device) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
            // Where there is no FUSE nothing can hang on it.
            return Ok(());
        };
        let data = {
            use std::os::fd::AsRawFd;
            format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd())
        };
        mount(Some("dead"), &dir, Some("fuse.dead"), MsFlags::empty(), Some(data.as_str()))?;
        let mut b = t.bundle().bind(&dir, "/data", &[]).ops(&["sleep"]);
        let id = b.id().to_owned();
        let output = b.call("create", &[]).map(|call| call.limit(Duration::from_secs(6)).run());
        t.live(&id);
        let deleted = t.call(&["delete", "--force", &id]).limit(Duration::from_secs(6)).run();
        // The end of the connection frees whoever still waits.
        drop(device);
        umount2(&dir, MntFlags::MNT_DETACH)?;
        output??.ok()?;
        deleted?.ok()?;
        t.gone(&id);
        Ok(())
    })
    .needs(&[Need::Root]),
];

/// A process that has this process id, which was free.
fn decoy(t: &Trial, pid: i64) -> Check<std::process::Child> {
    for _ in 0..500 {
        fs::write(LAST_PID, (pid - 1).to_string())?;
        let mut command = Command::new(t.probe());
        let mut child = t.spawn(command.arg("sleep").stdin(Stdio::null()).stdout(Stdio::null()))?;
        if i64::from(child.id()) == pid {
            return Ok(child);
        }
        child.kill()?;
        child.wait()?;
        t.disown(child.id());
    }
    Err(format!("no process gets the number {pid}").into())
}

/// With its state root on a small tmpfs, a create succeeds or says why not, and leaves nothing.
fn on_small_disk(t: &Trial, options: &str) -> Check {
    let root = t.state_root();
    let read_only = if options == "ro" { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let data = (options != "ro").then_some(options);
    mount(Some("tmpfs"), &root, Some("tmpfs"), read_only, data)?;
    let checked = create_and_delete(t);
    let left: Vec<_> = fs::read_dir(&root)?.flatten().map(|entry| entry.path()).collect();
    umount2(&root, MntFlags::MNT_DETACH)?;
    checked?;
    ensure(left.is_empty(), format!("{options}: left behind: {left:?}"))
}

fn create_and_delete(t: &Trial) -> Check {
    let mut bundle = t.bundle().ops(&["sleep"]);
    let output = bundle.call("create", &[])?.run()?;
    if output.code == 0 {
        return bundle.adopt(output)?.delete_force()?.ok().map(drop);
    }
    output.fails_with("space|inode|read-only|disk").map(drop)
}
