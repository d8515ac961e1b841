//! What is left, and what is said, when the surroundings of a container go wrong.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails where it expects in vain"
)]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]
#![allow(dead_code, reason = "other tests use the rest of the bundle")]

mod bundle;
#[path = "bundle/directories.rs"]
mod directories;

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bundle::{Bundle, await_true, stderr};
use directories::named;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const MARK: &str = "CORACLE_TEST";

/// A bundle whose processes carry the name of the container in their environment.
fn marked(script: &str) -> Option<Bundle> {
    let bundle = Bundle::new(script)?;
    let mark = mark(&bundle);
    bundle.edit(|config| config["process"]["env"] = json!(["PATH=/bin", mark]));
    Some(bundle)
}

fn mark(bundle: &Bundle) -> String {
    format!("{MARK}={}", bundle.id)
}

/// A hook of this kind that runs a script of the host.
fn hook(bundle: &Bundle, kind: &str, script: &str, timeout: Option<u32>) {
    let env = ["PATH=/bin:/usr/bin".to_owned(), mark(bundle)];
    let mut hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": env });
    if let Some(timeout) = timeout {
        hook["timeout"] = json!(timeout);
    }
    bundle.edit(|config| config["hooks"] = json!({ kind: [hook] }));
}

/// Everything of the container that is still there.
fn look(bundle: &Bundle) -> Vec<String> {
    let mut found = Vec::new();
    if Path::new(&bundle.path("state")).join(&bundle.id).exists() {
        found.push("the state directory".to_owned());
    }
    let mut cgroups = Vec::new();
    named(Path::new("/sys/fs/cgroup"), &bundle.id, 6, &mut cgroups);
    found.extend(cgroups.iter().map(|path| format!("the cgroup {}", path.display())));
    let mark = format!("{}\0", mark(bundle));
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let read = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let inside = read("cgroup").lines().any(|line| line.ends_with(&format!("/{}", bundle.id)));
        if inside || read("environ").contains(&mark) {
            found.push(format!("the process {:?} {:?}", entry.file_name(), read("cmdline")));
        }
    }
    found
}

/// Killed processes may need a moment to end.
#[track_caller]
fn assert_nothing_left(bundle: &Bundle, when: &str) {
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let found = look(bundle);
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{when}: {found:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn delete_by_force(bundle: &Bundle, when: &str) {
    let output = bundle.coracle(&["delete", "--force", &bundle.id]);
    assert!(output.status.success(), "{when}: {}", stderr(&output));
    assert_nothing_left(bundle, when);
}

/// Starts the command and does not wait for it; its errors go to a file.
fn spawn(bundle: &Bundle, arguments: &[&str]) -> Child {
    let errors = fs::File::create(bundle.path("errors")).expect("a file");
    let mut command = bundle.command(arguments);
    command.stdout(Stdio::null()).stderr(errors).spawn().expect("coracle runs")
}

/// Runs `create` without handing pipes to the container; the exit status and the errors.
fn create(bundle: &Bundle, options: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec!["create"];
    arguments.extend(options);
    arguments.push(&bundle.id);
    let status = spawn(bundle, &arguments).wait().expect("status");
    (status.code(), fs::read_to_string(bundle.path("errors")).expect("errors"))
}

fn succeed(bundle: &Bundle) {
    let (status, said) = create(bundle, &[]);
    assert_eq!(status, Some(0), "{said}");
}

/// A tmpfs at the state root, gone with this value.
struct Disk(String);

impl Disk {
    fn mount(bundle: &Bundle, options: &str) -> Self {
        let path = bundle.path("state");
        fs::create_dir_all(&path).expect("a directory");
        mount(Some("tmpfs"), path.as_str(), Some("tmpfs"), MsFlags::empty(), Some(options))
            .expect("a tmpfs");
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = umount2(self.0.as_str(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_state_root_leaves_nothing() {
    let Some(bundle) = marked("sleep 60") else { return };
    let mut refused = 0;
    for options in
        ["size=4k,nr_inodes=64", "nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "nr_inodes=5"]
    {
        let disk = Disk::mount(&bundle, options);
        let (status, said) = create(&bundle, &[]);
        if status == Some(0) {
            delete_by_force(&bundle, options);
        } else {
            refused += 1;
            assert!(said.contains("o space left on device"), "{options}: {said}");
            assert_nothing_left(&bundle, options);
        }
        drop(disk);
    }
    assert!(refused > 2, "only {refused} disks were full");
}

#[test]
fn a_read_only_state_root_leaves_nothing() {
    let Some(bundle) = marked("sleep 60") else { return };
    let disk = Disk::mount(&bundle, "size=1m,ro");
    let (status, said) = create(&bundle, &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("ead-only file system"), "{said}");
    assert_nothing_left(&bundle, "read-only");
    drop(disk);
}

#[test]
fn what_fails_in_the_container_leaves_nothing() {
    type Change = fn(&mut Value);
    let faults: [(&str, Change); 4] = [
        ("mounts", |config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.push(json!({ "destination": "/x", "type": "nonsense", "source": "x" }));
        }),
        ("process.args", |config| config["process"]["args"] = json!(["/bin/missing"])),
        ("root", |config| config["root"]["path"] = json!("missing")),
        ("process.cwd", |config| config["process"]["cwd"] = json!("/bin/busybox")),
    ];
    for (what, fault) in faults {
        let Some(bundle) = marked("sleep 60") else { return };
        bundle.edit(fault);
        let (status, said) = create(&bundle, &[]);
        assert_eq!(status, Some(1), "{what}: {said}");
        assert!(said.contains(what), "{what}: {said}");
        assert_nothing_left(&bundle, what);
    }
}

#[test]
fn a_hook_that_fails_or_hangs_leaves_nothing() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for (script, timeout) in [("exit 3", None), ("sleep 50 & sleep 60", Some(1))] {
            let Some(bundle) = marked("sleep 60") else { return };
            hook(&bundle, kind, script, timeout);
            let (status, said) = create(&bundle, &[]);
            assert_eq!(status, Some(1), "{kind} {script}: {said}");
            assert!(said.contains("hook"), "{kind} {script}: {said}");
            assert_nothing_left(&bundle, &format!("{kind} {script}"));
        }
    }
    for kind in ["startContainer", "poststart"] {
        for (script, timeout) in [("exit 3", None), ("sleep 50 & sleep 60", Some(1))] {
            let Some(bundle) = marked("sleep 60") else { return };
            hook(&bundle, kind, script, timeout);
            succeed(&bundle);
            bundle.fail(1, &["start", &bundle.id]);
            delete_by_force(&bundle, &format!("{kind} {script}"));
        }
    }
}

#[test]
fn a_console_socket_that_nobody_serves_does_not_hang() {
    let Some(bundle) = marked("sleep 60") else { return };
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let path = bundle.path("console");
    let listener = UnixListener::bind(&path).expect("listener");
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).expect("backlog"))
        .expect("listen");
    // One connection is one more than the backlog of none.
    let waiting = UnixStream::connect(&path).expect("connect");
    let begin = Instant::now();
    let (status, said) = create(&bundle, &["--console-socket", &path]);
    assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
    assert_eq!(status, Some(1), "{said}");
    assert_nothing_left(&bundle, "a full console socket");
    drop((waiting, listener));
}

#[test]
fn a_creation_that_is_stuck_in_a_hook_can_be_deleted() {
    for kind in ["createRuntime", "createContainer"] {
        let Some(bundle) = marked("sleep 60") else { return };
        hook(&bundle, kind, "sleep 58 & sleep 59", None);
        let mut stuck = spawn(&bundle, &["create", &bundle.id]);
        await_true("the hook", || {
            look(&bundle).iter().filter(|thing| thing.contains("sleep")).count() >= 2
        });
        assert_eq!(bundle.state()["status"], "creating", "{kind}");
        delete_by_force(&bundle, kind);
        assert_eq!(stuck.wait().expect("status").code(), Some(1), "{kind}");
    }
}

#[test]
fn a_start_that_is_stuck_in_a_hook_can_be_deleted() {
    for kind in ["startContainer", "poststart"] {
        let Some(bundle) = marked("sleep 60") else { return };
        hook(&bundle, kind, "sleep 57 & sleep 59", None);
        succeed(&bundle);
        let mut stuck = spawn(&bundle, &["start", &bundle.id]);
        await_true("the hook", || {
            look(&bundle).iter().filter(|thing| thing.contains("59")).count() >= 1
        });
        delete_by_force(&bundle, kind);
        stuck.wait().expect("status");
    }
}

#[test]
fn a_deletion_that_is_stuck_in_a_hook_can_be_repeated() {
    let Some(bundle) = marked("sleep 60") else { return };
    hook(&bundle, "poststop", "sleep 53 & sleep 54", None);
    succeed(&bundle);
    let mut stuck = spawn(&bundle, &["delete", "--force", &bundle.id]);
    await_true("the hook", || look(&bundle).iter().any(|thing| thing.contains("54")));
    delete_by_force(&bundle, "poststop");
    stuck.wait().expect("status");
}

#[test]
fn a_killed_command_leaves_its_hook_to_delete() {
    let Some(bundle) = marked("sleep 60") else { return };
    hook(&bundle, "createRuntime", "sleep 58 & sleep 59", None);
    let mut stuck = spawn(&bundle, &["create", &bundle.id]);
    await_true("the hook", || look(&bundle).iter().any(|thing| thing.contains("59")));
    stuck.kill().expect("kill");
    stuck.wait().expect("status");
    assert_eq!(bundle.state()["status"], "stopped", "its lock went with it");
    delete_by_force(&bundle, "killed in a hook");
}

#[test]
fn a_creation_can_be_terminated_at_any_moment() {
    let Some(bundle) = marked("sleep 60") else { return };
    let mut ended = 0;
    for round in 0..25 {
        let mut creation = spawn(&bundle, &["create", &bundle.id]);
        std::thread::sleep(Duration::from_micros(600 * round));
        let pid = Pid::from_raw(i32::try_from(creation.id()).expect("pid"));
        let signal = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            [usize::try_from(round % 3).expect("index")];
        kill(pid, signal).expect("signal");
        ended += i32::from(!creation.wait().expect("status").success());
        delete_by_force(&bundle, &format!("round {round}"));
    }
    assert!(ended > 5, "only {ended} creations were hit");
}

/// Runs the same command several times at once.
fn at_once(bundle: &Bundle, count: usize, arguments: &[&str]) -> Vec<Output> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(|| bundle.coracle(arguments))).collect();
        all.into_iter().map(|one| one.join().expect("thread")).collect()
    })
}

fn successes(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| output.status.success()).count()
}

#[test]
fn of_eight_starts_one_wins_and_eight_deletions_all_succeed() {
    let Some(bundle) = marked("sleep 60") else { return };
    for _ in 0..3 {
        succeed(&bundle);
        let starts = at_once(&bundle, 8, &["start", &bundle.id]);
        assert_eq!(successes(&starts), 1);
        for output in starts.iter().filter(|output| !output.status.success()) {
            assert!(stderr(output).contains("cannot start"), "{}", stderr(output));
        }
        let deletions = at_once(&bundle, 8, &["delete", "--force", &bundle.id]);
        let said: Vec<_> = deletions.iter().map(stderr).collect();
        assert_eq!(successes(&deletions), 8, "{said:?}");
        assert_nothing_left(&bundle, "after eight deletions");
    }
}

#[test]
fn of_eight_creations_one_wins() {
    let Some(bundle) = marked("sleep 60") else { return };
    for _ in 0..3 {
        let mut all: Vec<_> = (0..8).map(|_| spawn(&bundle, &["create", &bundle.id])).collect();
        let won = all.iter_mut().map(|one| one.wait().expect("status"));
        assert_eq!(won.filter(std::process::ExitStatus::success).count(), 1);
        assert_eq!(bundle.state()["status"], "created");
        delete_by_force(&bundle, "after eight creations");
    }
}

#[test]
fn exec_and_delete_at_once_leave_nothing() {
    let Some(bundle) = marked("sleep 60") else { return };
    for round in 0..6 {
        succeed(&bundle);
        bundle.succeed(&["start", &bundle.id]);
        let mut execs: Vec<_> =
            (0..4).map(|_| spawn(&bundle, &["exec", &bundle.id, "/bin/sleep", "60"])).collect();
        std::thread::sleep(Duration::from_millis(3 * round));
        delete_by_force(&bundle, &format!("round {round}"));
        for exec in &mut execs {
            exec.wait().expect("status");
        }
        assert_nothing_left(&bundle, &format!("after round {round}"));
    }
}

#[test]
fn a_broken_state_does_not_stop_the_others() {
    for content in ["", "{", "nonsense", "{\"version\":1}", "{\"version\":999}"] {
        let Some(bundle) = marked("sleep 60") else { return };
        succeed(&bundle);
        let other = format!("{}-other", bundle.id);
        let mut second = spawn(&bundle, &["create", &other]);
        assert!(second.wait().expect("status").success());
        let state = Path::new(&bundle.path("state")).join(&bundle.id).join("state.json");
        fs::write(&state, content).expect("write");
        bundle.fail(1, &["state", &bundle.id]);
        let listed = bundle.succeed(&["list", "-f", "json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let ids: Vec<_> = listed.as_array().expect("array").iter().map(|one| &one["id"]).collect();
        assert!(ids.iter().any(|id| *id == other.as_str()), "{content:?}: {listed}");
        delete_by_force(&bundle, content);
        bundle.succeed(&["delete", "--force", &other]);
    }
}

#[test]
fn a_process_that_got_the_number_is_never_signalled() {
    let Some(bundle) = marked("sleep 60") else { return };
    succeed(&bundle);
    bundle.succeed(&["start", &bundle.id]);
    let init = bundle.state()["pid"].as_i64().expect("pid");
    let mut decoy = Command::new("/bin/sleep").arg("60").spawn().expect("sleep");
    for file in ["state.json", "journal"] {
        let path = Path::new(&bundle.path("state")).join(&bundle.id).join(file);
        let text = fs::read_to_string(&path).expect("read");
        let changed =
            text.replace(&format!("\"pid\":{init},"), &format!("\"pid\":{},", decoy.id()));
        assert_ne!(text, changed, "{file} names the init process");
        fs::write(&path, changed).expect("write");
    }
    assert_eq!(bundle.state()["status"], "stopped");
    bundle.fail(1, &["kill", &bundle.id, "KILL"]);
    delete_by_force(&bundle, "another process has the number");
    assert!(decoy.try_wait().expect("status").is_none(), "the decoy was killed");
    decoy.kill().expect("kill");
    decoy.wait().expect("status");
}

#[test]
fn a_lock_ends_with_its_holder() {
    let Some(bundle) = marked("sleep 60") else { return };
    hook(&bundle, "poststart", "sleep 55", None);
    succeed(&bundle);
    let mut holder = spawn(&bundle, &["start", &bundle.id]);
    await_true("the hook", || look(&bundle).iter().any(|thing| thing.contains("55")));
    holder.kill().expect("kill");
    holder.wait().expect("status");
    let begin = Instant::now();
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.await_status("stopped");
    bundle.succeed(&["delete", &bundle.id]);
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    assert_nothing_left(&bundle, "after a stale lock");
}
