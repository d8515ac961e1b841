//! create, start, state, kill, delete and the states between them.

use serde_json::json;

use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("lifecycle/whole", "runtime.md#lifecycle: created, running, stopped, gone", whole)
        .rows(&["state.status"]),
    Case::new("lifecycle/create-runs-nothing", "runtime.md#create: no user program", |t| {
        let c = t.bundle().ops(&["create=/ran", "sleep"]).create()?;
        std::thread::sleep(std::time::Duration::from_millis(100));
        ensure(!c.bundle.join("rootfs/ran").exists(), "the program ran before start")?;
        c.start()?.ok()?;
        t.until("the program runs", || c.bundle.join("rootfs/ran").exists())
    })
    .rows(&["create"]),
    Case::new("lifecycle/start-twice", "runtime.md#start: only a created container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.start()?.code(1)?.fails_with("cannot start an already running container")?;
        c.is("running")
    })
    .rows(&["wrong state", "start"]),
    Case::new("lifecycle/start-stopped", "runtime.md#start: only a created container", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        c.start()?.code(1)?.fails_with("cannot start a container that has stopped")?;
        c.is("stopped")
    })
    .rows(&["wrong state", "start"]),
    Case::new("lifecycle/start-missing", "runtime.md#start: an unknown id is an error", |t| {
        t.run(&["start", &t.id()])?.code(1)?.fails_with("does not exist").map(drop)
    })
    .rows(&["start"]),
    Case::new("lifecycle/kill-stopped", "runtime.md#kill: only created or running", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        c.kill("KILL")?.code(1)?.fails_with("container not running").map(drop)
    })
    .rows(&["wrong state", "kill"]),
    Case::new("lifecycle/kill-created", "runtime.md#kill: a created container", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        c.kill("KILL")?.ok()?;
        c.stopped()?;
        c.delete()?.ok().map(drop)
    })
    .rows(&["kill"]),
    Case::new("lifecycle/kill-missing", "runtime.md#kill: an unknown id is an error", |t| {
        t.run(&["kill", &t.id(), "KILL"])?.code(1)?.fails_with("does not exist").map(drop)
    })
    .rows(&["kill"]),
    Case::new("lifecycle/delete-running", "runtime.md#delete: only a stopped container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.delete()?.code(1)?.fails_with("that is not stopped: running")?;
        c.is("running")
    })
    .rows(&["wrong state", "delete"]),
    Case::new("lifecycle/delete-created", "convention: a created container can be deleted", |t| {
        t.bundle().ops(&["sleep"]).create()?.delete()?.ok().map(drop)
    }),
    Case::new("lifecycle/delete-force-running", "convention: --force kills first", |t| {
        let c = t.bundle().ops(&["fork=3", "sleep"]).start()?;
        c.delete_force()?.ok()?;
        t.run(&["state", &c.id])?.code(1)?.fails_with("does not exist").map(drop)
    }),
    Case::new("lifecycle/delete-missing", "runtime.md#delete: an unknown id is an error", |t| {
        t.run(&["delete", &t.id()])?.code(1)?.fails_with("does not exist").map(drop)
    })
    .rows(&["delete"]),
    Case::new("lifecycle/delete-force-missing", "convention: --force on nothing is fine", |t| {
        t.run(&["delete", "--force", &t.id()])?.ok().map(drop)
    }),
    Case::new("lifecycle/delete-twice", "runtime.md#delete: the id is free afterwards", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        c.delete()?.ok()?;
        c.delete()?.code(1)?.fails_with("does not exist").map(drop)
    })
    .rows(&["delete"]),
    Case::new("lifecycle/id-used-again", "runtime.md#delete: the id may be used again", |t| {
        let id = t.new_id();
        for _ in 0..2 {
            t.bundle().with_id(&id).ops(&["exit=3"]).run()?.code(3)?;
        }
        Ok(())
    })
    .rows(&["delete"]),
    Case::new("lifecycle/duplicate-id", "runtime.md#create: the id must be unique", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        let mut second = t.bundle().with_id(&c.id).ops(&["sleep"]);
        second.call("create", &[])?.run()?.code(1)?.fails_with("exist")?;
        c.is("created")
    })
    .rows(&["create"]),
    Case::new("lifecycle/bad-ids", "convention: ids are letters, digits and _+.-", |t| {
        for id in ["a/b", "..", ".", "", "a b", "ä", "../x", "a\nb", "a*"] {
            let mut bundle = t.bundle().with_id(id);
            let output = bundle.call("create", &[])?.run()?;
            ensure(output.code != 0, format!("create accepts the id {id:?}"))?;
        }
        Ok(())
    }),
    Case::new("lifecycle/good-ids", "convention: ids are letters, digits and _+.-", |t| {
        for suffix in ["_x", "+y", ".z", "A9", "-"] {
            let id = format!("{}{suffix}", t.id());
            t.bundle().with_id(&id).ops(&["exit=3"]).run()?.code(3)?;
        }
        Ok(())
    }),
    Case::new("lifecycle/long-id", "an id of 64 characters, as engines make them", |t| {
        let id = format!("{}-{}", t.id(), "a".repeat(63 - t.id().len()));
        let c = t.bundle().with_id(&id).ops(&["sleep"]).start()?;
        c.is("running")
    }),
    Case::new("lifecycle/cgroup-of-another", "kill and delete reach no other container", |t| {
        let path = format!("/{}-shared", t.id());
        let first = t.bundle().set("/linux/cgroupsPath", &*path).ops(&["exit=0"]).start()?;
        first.stopped()?;
        // The path is free, and its directory is taken over.
        let second = t.bundle().set("/linux/cgroupsPath", &*path).ops(&["sleep"]).start()?;
        // Whether that is an error is left to the runtime.
        t.run(&["kill", "--all", &first.id, "KILL"])?;
        std::thread::sleep(std::time::Duration::from_millis(100));
        second.is("running")?;
        first.delete()?.ok()?;
        second.is("running")
    })
    .rows(&["kill", "delete"])
    .needs(&[crate::case::Need::Root, crate::case::Need::Cgroup]),
    Case::new("lifecycle/killed-at-execve", "runtime.md#start: a program that does not run", |t| {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["execve", "execveat"], "action": "SCMP_ACT_KILL_PROCESS" }],
        });
        let c = t.bundle().set("/linux/seccomp", profile).ops(&["create=/ran"]).create()?;
        let started = c.call(&["start"]).unreaped().run()?;
        c.stopped()?;
        ensure(started.code != 0, "start succeeds, but the program did not run")
    })
    .rows(&["start"]),
    Case::new("lifecycle/unheard-at-execve", "runtime.md#start: nor one that cannot", |t| {
        // Once the filter is loaded, nobody can be told that execve has failed.
        let calls = ["sendmsg", "sendto", "sendmmsg", "write", "writev"];
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": calls, "action": "SCMP_ACT_ERRNO" }],
        });
        let b = t.bundle().set("/linux/seccomp", profile).file("broken", "no program\n");
        let c = b.mode("broken", 0o755).args(&["/broken"]).create()?;
        let started = c.call(&["start"]).unreaped().run()?;
        c.stopped()?;
        ensure(started.code != 0, "start succeeds, but the program did not run")
    })
    .rows(&["start"]),
    Case::new("state/missing", "runtime.md#query-state: an unknown id is an error", |t| {
        t.run(&["state", &t.id()])?.code(1)?.fails_with("does not exist").map(drop)
    }),
    Case::new("state/fields", "runtime.md#state: the fields", state_fields).rows(&["state"]),
    Case::new("state/annotations", "runtime.md#state: annotations of the configuration", |t| {
        let c = t
            .bundle()
            .ops(&["sleep"])
            .set("/annotations", json!({ "org.example.key": "value", "x": "" }))
            .create()?;
        let state = c.state()?;
        equal(
            "annotations",
            state.get("annotations").unwrap_or(&json!(null)),
            &json!({ "org.example.key": "value", "x": "" }),
        )
    })
    .rows(&["state", "annotations"]),
    Case::new("state/no-annotations", "runtime.md#state: annotations may be absent", |t| {
        let state = t.bundle().ops(&["sleep"]).create()?.state()?;
        let found = state.get("annotations").cloned().unwrap_or(json!({}));
        ensure(found == json!({}) || found.is_null(), format!("annotations: {found}"))
    })
    .rows(&["state", "annotations"]),
    Case::new("state/oci-version", "runtime.md#state: ociVersion is a SemVer 1.x", |t| {
        let state = t.bundle().ops(&["sleep"]).create()?.state()?;
        ensure(text(&state, "/ociVersion")?.starts_with("1."), format!("{state}"))
    })
    .rows(&["state"]),
    Case::new("state/init-died", "runtime.md#state: stopped once the process is gone", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(c.pid()?)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        c.stopped()?;
        c.delete()?.ok().map(drop)
    })
    .rows(&["state.status"]),
    Case::new("state/extra-argument", "convention: one id only", |t| {
        t.run(&["state", &t.id(), "more"])?.fails().map(drop)
    }),
    Case::new("list/json", "convention: list --format json", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let list = t.run(&["list", "--format", "json"])?.ok()?.json()?;
        equal("id", text(&list, "/0/id")?, &c.id)?;
        equal("status", text(&list, "/0/status")?, "running")?;
        equal("pid", &list.pointer("/0/pid").and_then(serde_json::Value::as_i64), &Some(c.pid()?))
    }),
    Case::new("list/json-empty", "convention: an empty list is [] or null", |t| {
        let list = t.run(&["list", "--format", "json"])?.ok()?.json()?;
        ensure(list.is_null() || list == json!([]), format!("{list}"))
    }),
    Case::new("list/quiet", "convention: list --quiet prints ids only", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        let output = t.run(&["list", "--quiet"])?.ok()?;
        equal("output", output.stdout.trim(), &c.id)
    }),
    Case::new("list/table", "convention: a header and one line a container", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        let output = t.run(&["list"])?.ok()?;
        equal("lines", &output.stdout.lines().count(), &2)?;
        contains("header", &output.stdout, "ID")?;
        contains("line", &output.stdout, &c.id)?;
        contains("line", &output.stdout, "created")
    }),
    Case::new("ps/json", "convention: ps --format json prints host pids", |t| {
        let c = t.bundle().ops(&["fork=1", "sleep"]).start()?;
        c.answers(1)?;
        let list = c.call(&["ps", "--format", "json"]).run()?.ok()?.json()?;
        let pids = list.as_array().cloned().unwrap_or_default();
        equal("processes", &pids.len(), &2)?;
        ensure(pids.contains(&json!(c.pid()?)), format!("the init is missing in {list}"))
    })
    .needs(&[crate::case::Need::Cgroup]),
    Case::new("ps/table", "convention: ps prints a table with a PID column", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let output = c.call(&["ps"]).run()?.ok()?;
        contains("header", &output.stdout, "PID")?;
        contains("line", &output.stdout, &c.pid()?.to_string())
    })
    .needs(&[crate::case::Need::Cgroup]),
    Case::new("ps/missing", "convention: an unknown id is an error", |t| {
        t.run(&["ps", "--format", "json", &t.id()])?.code(1)?.fails_with("does not exist").map(drop)
    }),
    Case::new("pause/resume", "convention: pause, state paused, resume", pause_resume)
        .rows(&["state.status"])
        .needs(&[crate::case::Need::Cgroup]),
    Case::new("pause/twice", "convention: pausing a paused container is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        c.call(&["pause"]).run()?.fails()?;
        c.call(&["resume"]).run()?.ok()?;
        c.call(&["resume"]).run()?.fails_with("container not paused").map(drop)
    })
    .rows(&["wrong state"])
    .needs(&[crate::case::Need::Cgroup]),
    Case::new("pause/kill-frozen", "convention: SIGKILL ends a paused container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        c.kill("KILL")?.ok()?;
        c.stopped()
    })
    .needs(&[crate::case::Need::Cgroup]),
    Case::new("pause/delete-force-frozen", "convention: --force ends a paused container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.call(&["pause"]).run()?.ok()?;
        c.delete_force()?.ok().map(drop)
    })
    .needs(&[crate::case::Need::Cgroup]),
];

fn whole(t: &Trial) -> Check {
    let c = t.bundle().ops(&["sleep"]).create()?;
    c.is("created")?;
    c.start()?.ok()?;
    c.is("running")?;
    c.kill("KILL")?.ok()?;
    c.stopped()?;
    c.delete()?.ok()?;
    t.run(&["state", &c.id])?.code(1)?.fails_with("does not exist").map(drop)
}

fn state_fields(t: &Trial) -> Check {
    let c = t.bundle().ops(&["sleep"]).create()?;
    let state = c.state()?;
    equal("id", text(&state, "/id")?, &c.id)?;
    equal("bundle", text(&state, "/bundle")?, &*c.bundle.to_string_lossy())?;
    equal("rootfs", text(&state, "/rootfs")?, &*c.bundle.join("rootfs").to_string_lossy())?;
    ensure(text(&state, "/created")?.contains('T'), "created is no RFC 3339 time")?;
    let pid = c.pid()?;
    ensure(std::path::Path::new(&format!("/proc/{pid}")).exists(), "the pid does not live")?;
    c.kill("KILL")?.ok()?;
    c.stopped()?;
    let left = c.state()?.get("pid").cloned().unwrap_or(json!(0));
    equal("pid when stopped", &left, &json!(0))
}

fn pause_resume(t: &Trial) -> Check {
    let c = t.bundle().ops(&["sleep"]).start()?;
    c.call(&["pause"]).run()?.ok()?;
    c.is("paused")?;
    c.delete()?.fails()?;
    c.call(&["resume"]).run()?.ok()?;
    c.is("running")
}
