//! `NOTIFY_SOCKET`: what the container tells the service manager.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::case::{Case, Need};
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings};

/// How long messages may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("notify/run-detached", "sd_notify(3): READY=1, then MAINPID and a barrier", |t| {
        let manager = Manager::listen(t)?;
        let mut bundle = t.bundle().ops(&["notify=READY=1", "sleep"]);
        let call = bundle.call("run", &["--detach"])?.env(&[("NOTIFY_SOCKET", &manager.path)]);
        let running = call.spawn()?;
        let told = manager.until("BARRIER=1")?;
        let c = bundle.adopt(running.wait()?)?;
        ensure(told.starts_with("READY=1"), format!("messages {told:?}"))?;
        contains("messages", &told, &format!("MAINPID={}\n", c.pid()?))
    })
    .rows(&["NOTIFY_SOCKET"])
    .needs(&[Need::Cgroup]),
    Case::new("notify/start", "sd_notify(3): start waits for READY=1", |t| {
        let manager = Manager::listen(t)?;
        let mut bundle = t.bundle().ops(&["waitfile=/go", "notify=STATUS=up|READY=1", "sleep"]);
        let go = bundle.rootfs("go");
        let env: &[(&str, &str)] = &[("NOTIFY_SOCKET", &manager.path)];
        let output = bundle.call("create", &[])?.env(env).run()?;
        let c = bundle.adopt(output)?;
        let running = c.call(&["start"]).env(env).spawn()?;
        t.until("the program to run", || c.status().is_ok_and(|status| status == "running"))?;
        ensure(manager.socket.recv(&mut [0; 64]).is_err(), "a message before the container's")?;
        std::fs::write(go, "")?;
        let told = manager.until("BARRIER=1")?;
        running.wait()?.ok()?;
        contains("messages", &told, "READY=1\n")?;
        contains("messages", &told, &format!("MAINPID={}\n", c.pid()?))
    })
    .rows(&["NOTIFY_SOCKET"]),
    Case::new("notify/end-before-ready", "start returns when the container ends before", |t| {
        let manager = Manager::listen(t)?;
        let mut bundle = t.bundle().ops(&["exit=0"]);
        let env: &[(&str, &str)] = &[("NOTIFY_SOCKET", &manager.path)];
        let output = bundle.call("create", &[])?.env(env).run()?;
        let c = bundle.adopt(output)?;
        c.call(&["start"]).env(env).run()?.ok()?;
        ensure(manager.socket.recv(&mut [0; 64]).is_err(), "a message from nobody")
    })
    .rows(&["NOTIFY_SOCKET"]),
    Case::new("notify/run", "sd_notify(3): in the foreground the runtime stays the process", |t| {
        let manager = Manager::listen(t)?;
        let mut bundle = t.bundle().ops(&["notify=READY=1", "sleep=300"]);
        let call = bundle.call("run", &[])?.env(&[("NOTIFY_SOCKET", &manager.path)]);
        let running = call.spawn()?;
        let told = manager.until("READY=1")?;
        running.wait()?.ok()?;
        ensure(!told.contains("MAINPID=1\n"), format!("messages {told:?}"))
    })
    .rows(&["NOTIFY_SOCKET"]),
    Case::new("notify/environment", "the container has a socket of its own", |t| {
        let manager = Manager::listen(t)?;
        let mut bundle = t.bundle().ops(&["report", "notify=READY=1"]);
        let call = bundle.call("run", &[])?.env(&[("NOTIFY_SOCKET", &manager.path)]);
        let output = call.run()?.ok()?;
        let answers = crate::bundle::Answers::of(&output.stdout)?;
        let report = answers.value("report")?;
        let env = strings(&report, "/env")?;
        let line = env.iter().find(|line| line.starts_with("NOTIFY_SOCKET="));
        equal("env", &line.map(String::as_str), &Some("NOTIFY_SOCKET=/run/notify/notify.sock"))
    })
    .rows(&["NOTIFY_SOCKET"]),
    Case::new("notify/user", "any user of the container can write to its socket", |t| {
        let manager = Manager::listen(t)?;
        let user = json!({ "uid": 1000, "gid": 1000 });
        let mut bundle =
            t.bundle().directory("run/notify").user_namespace().set("/process/user", user);
        bundle = bundle.ops(&["notify=READY=1"]);
        let call = bundle.call("run", &[])?.env(&[("NOTIFY_SOCKET", &manager.path)]);
        call.run()?.ok()?;
        manager.until("READY=1").map(drop)
    })
    .rows(&["NOTIFY_SOCKET"])
    .needs(&[Need::Root, Need::UserNamespace]),
    Case::new("notify/filtered", "nothing about processes or descriptors gets out", |t| {
        let manager = Manager::listen(t)?;
        let ops = ["notify=MAINPID=1", "notify=FDSTORE=1", "notify=READY=1|MAINPID=1"];
        let mut bundle = t.bundle().ops(&ops);
        let call = bundle.call("run", &[])?.env(&[("NOTIFY_SOCKET", &manager.path)]);
        call.run()?.ok()?;
        let told = manager.until("READY=1")?;
        ensure(!told.contains("MAINPID=1\n") && !told.contains("FDSTORE"), told)
    })
    .rows(&["NOTIFY_SOCKET"]),
    Case::new("notify/absent", "without NOTIFY_SOCKET nothing is mounted or set", |t| {
        let report = t.bundle().report()?;
        let env = strings(&report, "/env")?.join("\n");
        ensure(
            !env.contains("NOTIFY_SOCKET") && !report["mounts"].to_string().contains("notify"),
            env,
        )
    })
    .rows(&["NOTIFY_SOCKET"]),
];

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(t: &Trial) -> Check<Self> {
        let path = t.new_path("n").display().to_string();
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket, path })
    }

    /// All that was said up to a word.
    fn until(&self, word: &str) -> Check<String> {
        let end = Instant::now() + PATIENCE;
        let mut told = String::new();
        while Instant::now() < end {
            let mut buffer = [0; 4096];
            if let Ok(length) = self.socket.recv(&mut buffer) {
                told += &String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                if told.contains(word) {
                    return Ok(told);
                }
            }
        }
        broken(format!("no {word} came, only {told:?}"))
    }
}
