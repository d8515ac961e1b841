//! The life of a container's unit, and containers whose unit others end, keep or deny.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::control_files::cgroup_of;
use crate::bundle::Bundle;
use crate::call::Call;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::leftovers::cgroups;
use crate::trial::Trial;
use crate::unit::{Unit, manager_command, systemctl};
use crate::value::{contains, equal};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("systemd/delete", "runtime.md#delete: no unit is left", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let unit = Unit::of(t, &c.id);
        ensure(unit.is_known()?, "no unit")?;
        c.kill("KILL")?.ok()?;
        c.stopped()?;
        c.delete()?.ok()?;
        unit.gone()?;
        equal("cgroups that are left", &cgroups(&c.id).len(), &0)
    })
    .rows(&["delete"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/delete-force", "delete --force ends the unit with all that is in it", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let unit = Unit::of(t, &c.id);
        for dir in cgroups(&c.id) {
            fs::create_dir_all(dir.join("a/b"))?;
        }
        c.delete_force()?.ok()?;
        ensure(!unit.is_known()?, "the unit is still there when delete has ended")?;
        equal("cgroups that are left", &cgroups(&c.id).len(), &0)
    })
    .rows(&["delete"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/delete-frozen", "delete --force of a paused container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        c.is("paused")?;
        let begin = Instant::now();
        c.delete_force()?.ok()?;
        let took = begin.elapsed();
        ensure(took < Duration::from_secs(5), format!("it takes {took:?}"))?;
        Unit::of(t, &c.id).gone()
    })
    .rows(&["delete"])
    .needs(&[Need::Systemd, Need::Cgroup]),
    Case::new("systemd/run", "run leaves no unit", |t| {
        let b = t.bundle().ops(&["exit=7"]);
        let id = b.id().to_owned();
        b.run()?.code(7)?;
        Unit::of(t, &id).gone()
    })
    .rows(&["delete"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/out-of-memory", "a container that is killed leaves no failed unit", |t| {
        let limit = json!({ "limit": 33_554_432, "swap": 33_554_432 });
        let c = t.bundle().set("/linux/resources/memory", limit).ops(&["alloc=256"]).start()?;
        c.stopped()?;
        c.delete()?.ok()?;
        Unit::of(t, &c.id).gone()?;
        let failed = systemctl(t, &["list-units", "--state=failed", "--plain", "--no-legend"])?;
        ensure(!failed.contains(&c.id), failed)
    })
    .rows(&["delete", "memory.limit"])
    .needs(&[Need::Systemd, Need::Controller("memory")]),
    Case::new("systemd/create-fails", "a failed create leaves no unit", |t| {
        let b = t.bundle().args(&["/no/such/program"]);
        let id = b.id().to_owned();
        b.refused("no such file|not found")?;
        let b = t.bundle().hook("createRuntime", json!({ "path": "/bin/false" }));
        let second = b.id().to_owned();
        b.refused("hook")?;
        Unit::of(t, &id).gone()?;
        Unit::of(t, &second).gone()
    })
    .rows(&["failed operation"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/limit-refused", "a limit that is refused leaves no unit", |t| {
        let list = json!([{ "pageSize": "3KB", "limit": 4096 }]);
        let b = t.bundle().set("/linux/resources/hugepageLimits", list);
        let id = b.id().to_owned();
        b.refused("hugepage|hugetlb|3KB")?;
        Unit::of(t, &id).gone()
    })
    .rows(&["failed operation"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/again", "a name is free as soon as delete has ended", |t| {
        let mut id = None;
        for _ in 0..6 {
            let b = t.bundle();
            let name = id.get_or_insert_with(|| b.id().to_owned()).clone();
            let path = format!("{}:conformance:{name}", slice(t));
            let b = b.with_id(&name).set("/linux/cgroupsPath", path);
            b.ops(&["sleep"]).start()?.delete_force()?.ok()?;
        }
        Ok(())
    })
    .rows(&["delete"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/exec", "what is executed is in the unit", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.exec(&["--detach"], &["/probe", "sleep"])?.ok()?;
        let unit = Unit::of(t, &c.id);
        t.until("two tasks in the unit", || {
            unit.property("TasksCurrent").is_ok_and(|count| count == "2")
        })
    })
    .needs(&[Need::Systemd, Need::Controller("pids")]),
    Case::new("systemd/pause", "a paused container stays so over daemon-reload", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        systemctl(t, &["daemon-reload"])?;
        c.is("paused")?;
        c.call(&["resume"]).run()?.ok()?;
        c.is("running")
    })
    .needs(&[Need::Systemd, Need::Cgroup]),
    Case::new("systemd/delegated", "cgroups made below the unit are nobody else's", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let made = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id)).join("made");
        fs::create_dir(&made)?;
        systemctl(t, &["daemon-reload"])?;
        ensure(made.exists(), "daemon-reload removes what is below the unit")?;
        let unit = format!("conformance-{}.scope", c.id);
        systemctl(t, &["set-property", "--runtime", &unit, "TasksMax=90"])?;
        ensure(made.exists(), "set-property removes what is below the unit")?;
        c.delete_force()?.ok()?;
        equal("cgroups that are left", &cgroups(&c.id).len(), &0)
    })
    .needs(&[Need::Systemd, Need::Controller("pids")]),
    Case::new("systemd/stopped", "systemctl stop ends the container, and delete cleans up", |t| {
        let c = mortal(t).start()?;
        let unit = Unit::of(t, &c.id);
        unit.stop()?;
        c.stopped()?;
        unit.gone()?;
        c.delete()?.ok()?;
        equal("cgroups that are left", &cgroups(&c.id).len(), &0)
    })
    .rows(&["delete", "state.status"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/stopped-created", "a unit that is ended before start is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        let name = format!("conformance-{}.scope", c.id);
        systemctl(t, &["kill", "--signal=KILL", &name])?;
        c.stopped()?;
        c.start()?.fails()?;
        c.delete()?.ok().map(drop)
    })
    .rows(&["start", "state.status"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/update-stopped", "update of a container whose unit is gone fails", |t| {
        let c = mortal(t).start()?;
        Unit::of(t, &c.id).stop()?;
        c.stopped()?;
        c.call(&["update", "--pids-limit", "50"]).run()?.fails()?;
        ensure(!Unit::of(t, &c.id).is_known()?, "update has made a unit")
    })
    .needs(&[Need::Systemd, Need::Command("update")]),
    Case::new("systemd/taken", "two containers never share a unit", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let path = format!("{}:conformance:{}", slice(t), c.id);
        let output =
            t.bundle().set("/linux/cgroupsPath", path).refused("exist|already|use|not empty")?;
        contains("the error", &output.stderr, &format!("conformance-{}.scope", c.id))?;
        c.is("running")?;
        Unit::of(t, &c.id).shows(&[("ActiveState", "active")])
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/taken-by-others", "a unit that others made is left alone", |t| {
        let b = t.bundle();
        let unit = Unit::of(t, b.id());
        let mut holder = hold(t, b.id(), &[])?;
        let refused = b.refused("exist|already|use|not empty");
        let alive = holder.try_wait()?.is_none();
        let shown = unit.shows(&[("ActiveState", "active")]);
        release(t, holder)?;
        refused?;
        shown?;
        ensure(alive, "the processes of the other unit were ended")?;
        unit.gone()
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd, Need::Program("systemd-run")]),
    Case::new("systemd/taken-by-failed", "a failed unit of the name is not in the way", |t| {
        let b = t.bundle();
        let unit = Unit::of(t, b.id());
        // A scope that is ended for its time has failed, and systemd keeps it.
        let mut holder = hold(t, b.id(), &["--property=RuntimeMaxSec=1"])?;
        let _ = holder.wait()?;
        t.disown(holder.id());
        t.until("the failure", || unit.shows(&[("ActiveState", "failed")]).is_ok())?;
        let c = b.ops(&["sleep"]).start()?;
        unit.shows(&[("ActiveState", "active")])?;
        c.delete_force()?.ok()?;
        unit.gone()
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd, Need::Program("systemd-run")]),
    Case::new("systemd/killed-create", "delete --force after a create that was killed", |t| {
        let mut b = t.bundle().ops(&["sleep"]);
        let unit = Unit::of(t, b.id());
        let id = b.id().to_owned();
        for wait in [2, 5, 9, 14, 20, 30] {
            let running = b.call("create", &[])?.spawn()?;
            std::thread::sleep(Duration::from_millis(wait));
            let pid = i32::try_from(running.pid())?;
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
            let _ = running.wait()?;
            t.run(&["delete", "--force", &id])?.ok()?;
            unit.gone()?;
        }
        Ok(())
    })
    .rows(&["delete", "failed operation"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/many", "containers that come at the same time", |t| {
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let mut b = t.bundle().ops(&["exit=3"]);
                let running = b.call("run", &[])?.spawn()?;
                Ok((b.id().to_owned(), running))
            })
            .collect::<Check<_>>()?;
        for (id, running) in calls {
            running.wait()?.code(3)?;
            Unit::of(t, &id).gone()?;
        }
        Ok(())
    })
    .needs(&[Need::Systemd]),
    Case::new("systemd/absent", "without systemd the driver says so, and nothing is left", |t| {
        fs::create_dir(t.path("run"))?;
        let begin = Instant::now();
        let output = hidden(t, t.bundle())?.run()?.fails_with("systemd|sd-bus")?;
        let took = begin.elapsed();
        ensure(took < Duration::from_secs(5), format!("it takes {took:?}"))?;
        ensure(!output.stderr.contains("panic"), output.stderr)?;
        equal("cgroups that are left", &cgroups(&t.id()).len(), &0)
    })
    .rows(&["failed operation"])
    .needs(&[Need::Root, Need::Program("unshare"), Need::GlobalOption("--systemd-cgroup")]),
    Case::new("systemd/silent", "a manager that does not answer: an error after a while", |t| {
        let dir = t.path("run");
        fs::create_dir_all(dir.join("systemd/system"))?;
        fs::create_dir_all(dir.join("dbus"))?;
        // They take calls and say nothing.
        let _private = UnixListener::bind(dir.join("systemd/private"))?;
        let output = hidden(t, t.bundle())?.limit(Duration::from_secs(50)).run()?;
        output.fails_with("systemd|sd-bus")?;
        equal("cgroups that are left", &cgroups(&t.id()).len(), &0)
    })
    .rows(&["failed operation"])
    .needs(&[Need::Root, Need::Program("unshare"), Need::GlobalOption("--systemd-cgroup")]),
    Case::new("systemd/absent-user", "without a user manager the driver says so", |t| {
        let mut b = t.bundle().set("/linux/cgroupsPath", format!("user.slice:pre:{}", t.id()));
        let run = t.path("run");
        fs::create_dir(&run)?;
        let run = run.display().to_string();
        let bus = format!("unix:path={run}/bus");
        let call = b.call("create", &[])?.globals(driver(t));
        let env = [("XDG_RUNTIME_DIR", run.as_str()), ("DBUS_SESSION_BUS_ADDRESS", &bus)];
        call.env(&env).run()?.fails_with("systemd|dbus|bus")?;
        equal("cgroups that are left", &cgroups(&t.id()).len(), &0)
    })
    .rows(&["failed operation"])
    .needs(&[Need::OrdinaryUser, Need::GlobalOption("--systemd-cgroup")]),
    Case::new("systemd/manager-option", "--cgroup-manager systemd is the same driver", |t| {
        let mut b = t.bundle().ops(&["sleep"]);
        let (id, dir) = (b.id().to_owned(), b.dir.clone());
        b.write()?;
        // The options of this suite name the driver already: a call of its own.
        let call = |words: &[&str]| {
            let mut command = std::process::Command::new(t.runtime());
            command.arg("--root").arg(t.state_root()).args(["--cgroup-manager", "systemd"]);
            // A file: the container goes on writing there, and a pipe would not end.
            let said = fs::File::create(t.path("said"))?;
            command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).status()
        };
        let bundle = dir.display().to_string();
        let status = call(&["create", "--bundle", &bundle, &id])?;
        t.live(&id);
        ensure(status.success(), fs::read_to_string(t.path("said"))?)?;
        Unit::of(t, &id).shows(&[("ActiveState", "active")])
    })
    .needs(&[Need::Systemd, Need::GlobalOption("--cgroup-manager")]),
    Case::new("systemd/disabled", "--cgroup-manager disabled makes no cgroup", |t| {
        let mut b = t.bundle().remove("/linux/cgroupsPath").ops(&["report"]);
        let id = b.id().to_owned();
        let call = b.call("create", &[])?.globals(["--cgroup-manager", "disabled"]);
        let c = b.adopt(call.run()?)?;
        equal("cgroups with its name", &cgroups(&id).len(), &0)?;
        let read = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup"));
        // It stays where its caller is.
        equal("its cgroups", &read(&c.pid()?.to_string())?, &read("self")?)?;
        c.start()?.ok()?;
        c.stopped()?;
        c.delete()?.ok().map(drop)
    })
    .needs(&[Need::Cgroupfs, Need::GlobalOption("--cgroup-manager")]),
    Case::new("systemd/disabled-limit", "--cgroup-manager disabled: a limit is an error", |t| {
        let mut b = t.bundle().set("/linux/resources/pids", json!({ "limit": 50 }));
        let call = b.call("create", &[])?.globals(["--cgroup-manager", "disabled"]);
        call.run()?.fails_with("pids|cgroup")?;
        equal("cgroups that are left", &cgroups(&t.id()).len(), &0)
    })
    .needs(&[Need::Cgroupfs, Need::GlobalOption("--cgroup-manager")]),
];

/// A container that heeds the signal of `systemctl stop`, which the first process of a pid namespace
/// need not.
fn mortal(t: &Trial) -> Bundle<'_> {
    t.bundle().without_namespace("pid").ops(&["sleep"])
}

fn slice(t: &Trial) -> &'static str {
    if t.host.root { "system.slice" } else { "user.slice" }
}

/// The option for the driver, where the suite does not give it already.
fn driver(t: &Trial) -> Option<&'static str> {
    t.host.systemd.is_none().then_some("--systemd-cgroup")
}

/// `create` in a mount namespace where /run is the directory of that name of the case.
fn hidden<'t>(t: &'t Trial, bundle: Bundle<'t>) -> Check<Call<'t>> {
    let path = format!("{}:conformance:{}", slice(t), bundle.id());
    let run = t.path("run").display().to_string();
    let text =
        format!("exec unshare --mount sh -c 'mount --bind {run} /run && exec \"$@\"' sh \"$@\"");
    let mut bundle = bundle.set("/linux/cgroupsPath", path);
    Ok(bundle.call("create", &[])?.globals(driver(t)).shell(text))
}

/// A scope that systemd-run makes in the place of a container's.
fn hold(t: &Trial, id: &str, options: &[&str]) -> Check<Child> {
    let unit = Unit::of(t, id);
    let mut command = manager_command(t, "systemd-run");
    command.args(["--scope", "--quiet", "--unit", &format!("conformance-{id}.scope")]);
    command.args(options).args(["--", "sleep", "60"]);
    let holder =
        t.spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    t.until("the other unit", || unit.shows(&[("ActiveState", "active")]).is_ok())?;
    Ok(holder)
}

fn release(t: &Trial, mut holder: Child) -> Check {
    holder.kill()?;
    let _ = holder.wait()?;
    t.disown(holder.id());
    Ok(())
}
