//! System calls that are left to an agent.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::{Agent, Connection, notifying};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{equal, number, text};

const CALL: &str = "syscall=getpriority,0,0";
const NOTIFY: &[Need] = &[Need::SeccompAction("SCMP_ACT_NOTIFY")];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("seccomp/notify-state", "config-linux.md#containerprocessstate: all fields", |t| {
        let agent = Agent::listen(t, 1, "*:continue")?;
        let c = agent
            .bundle(t, &["getpriority"])
            .set("/linux/seccomp/listenerMetadata", "some \"metadata\"")
            .set("/annotations", json!({ "my.key": "my value" }))
            .ops(&["sleep"])
            .create()?;
        let pid = c.pid()?;
        c.start()?.ok()?;
        c.delete_force()?.ok()?;
        let state = only(agent.finish()?)?.state;
        check_version(&state)?;
        equal("fds", &state["fds"], &json!(["seccompFd"]))?;
        equal("pid", &state["pid"], &json!(pid))?;
        equal("metadata", &state["metadata"], &json!("some \"metadata\""))?;
        let inner = &state["state"];
        text(inner, "/ociVersion")?;
        equal("state.id", &inner["id"], &json!(c.id))?;
        equal("state.pid", &inner["pid"], &json!(pid))?;
        equal("state.bundle", &inner["bundle"], &json!(c.bundle))?;
        equal("annotations", &inner["annotations"]["my.key"], &json!("my value"))?;
        // The example has "creating"; a runtime that loads the filter at start says "created".
        let status = text(inner, "/status")?;
        ensure(["creating", "created"].contains(&status), format!("state.status is {status}"))
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-version", "config-linux.md#containerprocessstate: ociVersion", |t| {
        let agent = Agent::listen(t, 1, "*:continue")?;
        agent.bundle(t, &["getpriority"]).ops(&["exit=3"]).run()?.code(3)?;
        check_version(&only(agent.finish()?)?.state)
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-annotation", "convention: run.oci.seccomp.receiver", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42")?;
        let bundle = notifying(t, &["getpriority"])
            .set("/annotations", json!({ "run.oci.seccomp.receiver": agent.path() }));
        bundle.probe(&[CALL])?.fails(CALL, "ENOMSG")?;
        only(agent.finish()?).map(drop)
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-closed", "config-linux.md#seccomp: the connection is closed", |t| {
        let agent = Agent::listen(t, 1, "*:continue")?;
        let c = agent.bundle(t, &["getpriority"]).ops(&["sleep=3000"]).start()?;
        let closed = only(agent.finish()?)?.closed;
        c.delete_force()?.ok()?;
        ensure(closed, "the connection stays open after the state")
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-no-metadata", "listenerMetadata is optional", |t| {
        let agent = Agent::listen(t, 1, "*:continue")?;
        agent.bundle(t, &["getpriority"]).ops(&["exit=3"]).run()?.code(3)?;
        let metadata = &only(agent.finish()?)?.state["metadata"];
        ensure(metadata.is_null() || metadata == "", format!("metadata is {metadata}"))
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-errno", "SCMP_ACT_NOTIFY: the agent answers with an error", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42")?;
        agent.bundle(t, &["getpriority"]).probe(&[CALL])?.fails(CALL, "ENOMSG")?;
        let calls = only(agent.finish()?)?.calls;
        equal("calls", &calls.len(), &1)?;
        equal("number", &number_of(calls.first())?, &libc::SYS_getpriority)
    })
    .rows(&["seccomp actions", "seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-value", "SCMP_ACT_NOTIFY: the agent answers with a value", |t| {
        let agent = Agent::listen(t, 1, "getpriority:value:7")?;
        let answers = agent.bundle(t, &["getpriority"]).probe(&[CALL])?;
        equal("value", &answers.value(CALL)?, &json!(7))?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp actions"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-continue", "SCMP_ACT_NOTIFY: the agent lets the call through", |t| {
        let agent = Agent::listen(t, 1, "getpriority:continue")?;
        let answers = agent.bundle(t, &["getpriority"]).probe(&[CALL])?;
        equal("value", &answers.value(CALL)?, &json!(20))?;
        equal("calls", &only(agent.finish()?)?.calls.len(), &1)
    })
    .rows(&["seccomp actions"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-argument", "SCMP_ACT_NOTIFY with conditions on arguments", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42")?;
        let other = "syscall=getpriority,1,0";
        let answers = agent
            .bundle(t, &["getpriority"])
            .set(
                "/linux/seccomp/syscalls/0/args",
                json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]),
            )
            .probe(&[CALL, other])?;
        answers.value(CALL)?;
        answers.fails(other, "ENOMSG")?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp actions", "seccomp.syscalls"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-mkdir", "SCMP_ACT_NOTIFY: the call is not made meanwhile", |t| {
        let agent = Agent::listen(t, 1, "#83:errno:42")?;
        let answers = agent
            .bundle(t, &["mkdir"])
            .set("/root/readonly", false)
            .probe(&["mkdir=/made", "stat=/made"])?;
        answers.fails("mkdir=/made", "ENOMSG")?;
        answers.fails("stat=/made", "ENOENT")?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp actions"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-without-nnp", "a listener without noNewPrivileges", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42")?;
        let answers = agent
            .bundle(t, &["getpriority"])
            .set("/process/noNewPrivileges", false)
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .remove("/process/capabilities")
            .probe(&["report", CALL])?;
        answers.fails(CALL, "ENOMSG")?;
        let report = answers.value("report")?;
        equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "0")?;
        equal("CapEff", text(&report, "/status/CapEff")?, "0000000000000000")?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp: load point", "seccomp.listenerPath"])
    .needs(&[Need::Root, Need::SeccompAction("SCMP_ACT_NOTIFY")]),
    Case::new("seccomp/notify-exec", "a new listener for each process that joins", |t| {
        let agent = Agent::listen(t, 3, "getpriority:errno:42")?;
        let c = agent
            .bundle(t, &["getpriority"])
            .set("/linux/seccomp/listenerMetadata", "m")
            .ops(&["sleep"])
            .start()?;
        let mut pids = vec![c.pid()?];
        for name in ["first", "second"] {
            let file = t.path(name);
            let options = ["--pid-file", &file.display().to_string()];
            c.exec_probe(&options, &[CALL])?.fails(CALL, "ENOMSG")?;
            pids.push(fs::read_to_string(file)?.trim().parse().unwrap_or(0));
        }
        c.delete_force()?.ok()?;
        for ((connection, pid), calls) in agent.finish()?.iter().zip(&pids).zip([0, 1, 1]) {
            let state = &connection.state;
            equal("pid", &state["pid"], &json!(pid))?;
            equal("state.pid", &state["state"]["pid"], &json!(pids.first()))?;
            equal("state.id", &state["state"]["id"], &json!(c.id))?;
            equal("metadata", &state["metadata"], &json!("m"))?;
            equal("calls", &connection.calls.len(), &calls)?;
            if pids.first() != Some(pid) {
                equal("state.status", text(state, "/state/status")?, "running")?;
            }
        }
        Ok(())
    })
    .rows(&["seccomp.listenerPath", "seccomp: exec"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-write", "SCMP_ACT_NOTIFY for what a hand-over needs", |t| {
        let agent = Agent::listen(t, 1, "*:continue")?;
        let names = ["write", "sendmsg", "recvmsg", "close", "futex", "execve", "sched_yield"];
        agent.bundle(t, &names).probe(&["report", CALL])?.value("report")?;
        let calls = only(agent.finish()?)?.calls;
        let written = calls.iter().any(|call| call["number"] == json!(libc::SYS_write));
        ensure(written, "the agent has seen no write")
    })
    .rows(&["seccomp actions"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-default", "config-linux.md#seccomp: NOTIFY as the default", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42+*:continue")?;
        let answers = agent
            .bundle(t, &["getpriority"])
            .set("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY")
            .probe(&[CALL])?;
        answers.fails(CALL, "ENOMSG")?;
        ensure(only(agent.finish()?)?.calls.len() > 5, "the agent has seen few calls")
    })
    .rows(&["seccomp actions", "seccomp.defaultAction"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-denied-exec", "the agent refuses execve: start tells", |t| {
        let agent = Agent::listen(t, 1, "execve:errno:13")?;
        let mut bundle = agent.bundle(t, &["execve"]).ops(&["echo=executed"]);
        let output = bundle.call("run", &[])?.run()?;
        let output = output.fails_with("permission denied|exec")?;
        ensure(!output.stdout.contains("executed"), "it was executed all the same")?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp actions"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-killable", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42")?;
        let answers = agent
            .bundle(t, &["getpriority"])
            .set(
                "/linux/seccomp/flags",
                json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]),
            )
            .probe(&[CALL])?;
        answers.fails(CALL, "ENOMSG")?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp.flags", "seccomp.listenerPath"])
    .needs(&[Need::Kernel(5, 19), Need::SeccompAction("SCMP_ACT_NOTIFY")]),
    Case::new(
        "seccomp/notify-agent-missing",
        "config-linux.md#seccomp: no agent, no program",
        |t| {
            let missing = t.path("nobody");
            runs_not(t, &missing)
        },
    )
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-agent-gone", "a socket that nobody serves any more", |t| {
        let path = t.path("gone");
        drop(UnixListener::bind(&path)?);
        runs_not(t, &path)
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-agent-no-socket", "listenerPath is a file", |t| {
        let path = t.path("file");
        fs::write(&path, "")?;
        runs_not(t, &path)
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-agent-closes", "an agent that gives up: its calls are ENOSYS", |t| {
        let agent = Agent::listen(t, 1, "")?;
        let shared = t.path("shared");
        fs::create_dir(&shared)?;
        let c = agent
            .bundle(t, &["getpriority"])
            .bind(&shared, "/shared", &["rbind"])
            .ops(&["waitfile=/shared/go", CALL, "sleep"])
            .start()?;
        agent.finish()?;
        fs::write(shared.join("go"), "")?;
        c.answers(2)?.fails(CALL, "ENOSYS")
    })
    .rows(&["seccomp.listenerPath"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-exec-agent-missing", "exec without the agent fails, alone", |t| {
        let agent = Agent::listen(t, 1, "getpriority:errno:42")?;
        let c = agent.bundle(t, &["getpriority"]).ops(&["sleep"]).start()?;
        fs::remove_file(agent.path())?;
        let output = c.exec(&[], &["/probe", "echo=executed"])?;
        let output = output.fails_with("listener|agent|no such file")?;
        ensure(!output.stdout.contains("executed"), "it was executed all the same")?;
        c.is("running")?;
        c.delete_force()?.ok()?;
        agent.finish().map(drop)
    })
    .rows(&["seccomp.listenerPath", "seccomp: exec"])
    .needs(NOTIFY),
    Case::new("seccomp/notify-without-listener", "NOTIFY needs listenerPath", |t| {
        notifying(t, &["getpriority"]).refused("listener|notify").map(drop)
    })
    .rows(&["seccomp.listenerPath"]),
    Case::new("seccomp/listener-unused", "listenerPath is ignored without NOTIFY", |t| {
        super::seccomp::deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/listenerPath", t.path("nobody").display().to_string())
            .set("/linux/seccomp/listenerMetadata", "m")
            .probe(&[CALL])?
            .fails(CALL, "EPERM")
    })
    .rows(&["seccomp.listenerPath"]),
    Case::new("seccomp/metadata-alone", "listenerMetadata needs listenerPath", |t| {
        super::seccomp::deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/listenerMetadata", "m")
            .refused("listener")
            .map(drop)
    })
    .rows(&["seccomp.listenerPath"]),
];

/// The only connection.
fn only(mut connections: Vec<Connection>) -> Check<Connection> {
    equal("connections", &connections.len(), &1)?;
    match connections.pop() {
        Some(connection) => Ok(connection),
        None => broken("no connection"),
    }
}

fn number_of(call: Option<&Value>) -> Check<i64> {
    number(call.unwrap_or(&Value::Null), "/number")
}

/// The structure is as old as 1.1.0; its development versions were called 1.0.2-dev.
fn check_version(state: &Value) -> Check {
    let version = text(state, "/ociVersion")?;
    let known = version.starts_with("1.") && !["1.0.0", "1.0.1"].contains(&version);
    ensure(known, format!("ociVersion {version} has no container process state"))
}

/// Without the agent nothing runs and nothing stays, whatever the verb.
fn runs_not(t: &Trial, listener: &Path) -> Check {
    let mark = t.path("mark");
    fs::create_dir(&mark)?;
    let bundle = || -> Bundle<'_> {
        notifying(t, &["getpriority"])
            .with_id(&t.new_id())
            .set("/linux/seccomp/listenerPath", listener.display().to_string())
            .bind(&mark, "/mark", &["rbind"])
            .ops(&["create=/mark/ran"])
    };
    let part = "listener|agent|connect|socket";
    bundle().call("run", &[])?.run()?.fails_with(part)?;
    let mut bundle = bundle();
    let output = bundle.call("create", &[])?.run()?;
    if output.code == 0 {
        // The filter is loaded at start.
        let c = bundle.adopt(output)?;
        c.start()?.fails_with(part)?;
        c.is("created")?;
        c.delete_force()?.ok()?;
    } else {
        output.fails_with(part)?;
    }
    ensure(!mark.join("ran").exists(), "the program has run all the same")
}
