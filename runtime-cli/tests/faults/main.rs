//! What is left when a command goes wrong at any of its system calls.
//!
//! The command runs under ptrace. Some walks kill it at each call, one fails each call, and two do the
//! same to the init program. After every single fault nothing may be left: no process, mount, cgroup
//! or state, after `delete --force` where the command itself was killed. A creation that goes on in
//! spite of a fault must make a container that is confined as every other one.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails where it expects in vain")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

mod confinement;
#[path = "../bundle/directories.rs"]
mod directories;
mod ground;
mod missing;
mod traced;

use nix::errno::Errno;

use ground::Ground;
use traced::{Fault, Outcome, Victim};

/// The tests wait for any child, so they take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Why the walks cannot run here, if so.
fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        Some("needs root")
    } else if !std::path::Path::new("/bin/busybox").exists() {
        Some("needs /bin/busybox (Debian package busybox-static)")
    } else {
        None
    }
}

/// Which command is hit, and how far the container is when it begins.
struct Scene<'a> {
    name: &'a str,
    before: &'a [&'a [&'a str]],
    command: &'a [&'a str],
    hit: (Victim, Fault),
    /// One call of so many is hit.
    stride: usize,
}

/// `ID` in the arguments stands for the container.
fn named<'a>(ground: &'a Ground, args: &[&'a str]) -> Vec<&'a str> {
    args.iter().map(|arg| if *arg == "ID" { ground.id.as_str() } else { arg }).collect()
}

/// Walks all system calls of the victim. A fault that hits nothing any more ends the walk.
fn walk(scene: &Scene<'_>) {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ground = Ground::new(scene.name);
    let creation = ground.creation();
    let creation: Vec<&str> = creation.iter().map(String::as_str).collect();
    let creates = scene.command == ["create"];
    let expected = creates.then(|| undisturbed(&ground, &creation));
    let (mut bad, mut hits, mut half_made) = (Vec::new(), 0, 0);
    for call in (1..).step_by(scene.stride) {
        let command = if creates { creation.clone() } else { named(&ground, scene.command) };
        if !creates {
            ground.succeed(&creation);
        }
        for args in scene.before {
            ground.succeed(&named(&ground, args));
        }
        let (outcome, place) = traced::run(&ground, &command, scene.hit, call);
        let mut wrong = Vec::new();
        if outcome == Outcome::Hung {
            wrong.push("it hangs".to_owned());
        }
        if let (Outcome::Succeeded, Some(expected)) = (outcome, &expected) {
            wrong.extend(compare(&ground, expected, scene.hit.0));
        }
        if outcome == Outcome::Killed && !ground.look().is_empty() {
            half_made += 1;
            if scene.hit.1 != Fault::Kill {
                wrong.push(format!("it crashed: {}", ground.last_said()));
            }
        }
        let interrupted = scene.hit.1 == Fault::Errno(Errno::EINTR) && waits(&place);
        let said = ground.last_said();
        // The dynamic loader of a debug build is not ours.
        if interrupted && outcome == Outcome::Failed && !said.contains("shared libraries") {
            wrong.push(format!("an interruption is no failure: {said}"));
        }
        // A command that was killed cannot clean up; one that saw a failure must have.
        if outcome != Outcome::Failed || !creates {
            wrong.extend(ground.delete_by_force());
        }
        let left = ground.leftovers();
        if !left.is_empty() {
            wrong.extend(left);
            ground.sweep();
        }
        if !wrong.is_empty() {
            bad.push(format!("call {call} ({place}), {outcome:?}: {}", wrong.join("; ")));
        }
        if outcome == Outcome::Untouched {
            break;
        }
        hits += 1;
    }
    println!("{}: {hits} faults, {half_made} half made, {} bad", scene.name, bad.len());
    assert!(hits * scene.stride > 20, "only {hits} system calls were seen");
    assert!(bad.is_empty(), "{} of {hits}:\n{}", bad.len(), bad.join("\n"));
}

/// How a container is confined when nothing goes wrong.
fn undisturbed(ground: &Ground, creation: &[&str]) -> String {
    ground.succeed(creation);
    ground.succeed(&["start", &ground.id]);
    let confinement = confinement::of(pid(ground), &ground.id);
    assert_eq!(ground.delete_by_force(), None);
    assert!(confinement.contains("NoNewPrivs:\t1"), "{confinement}");
    assert!(confinement.contains("Seccomp:\t2"), "{confinement}");
    confinement
}

fn pid(ground: &Ground) -> i64 {
    let state = ground.printed(&["state", &ground.id]).unwrap_or_default();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
    state.get("pid").and_then(serde_json::Value::as_i64).unwrap_or_default()
}

/// Starts a container that was created in spite of a fault, and compares it.
fn compare(ground: &Ground, expected: &str, victim: Victim) -> Option<String> {
    // The init program that was hit after its report ends, and the container has stopped.
    if victim == Victim::Init && pid(ground) == 0 {
        return None;
    }
    if let Some(failure) = ground.failure(&["start", &ground.id]) {
        return Some(failure);
    }
    let found = confinement::of(pid(ground), &ground.id);
    let differs = |one: &str, other: &str| {
        one.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (less, more) = (differs(expected, &found), differs(&found, expected));
    // Where the cgroup above does not allow a device, neither does the container's: that is no weaker.
    let device = |line: &String| line.starts_with(['b', 'c']) && line.ends_with(" rwm");
    let stricter = more.is_empty() && !less.is_empty() && less.iter().all(device);
    (found != expected && !stricter).then(|| format!("expected {less:?}, found {more:?}"))
}

fn scene<'a>(name: &'a str, hit: (Victim, Fault)) -> Scene<'a> {
    Scene { name, before: &[], command: &["create"], hit, stride: 1 }
}

#[test]
fn killing_create_at_each_call_leaves_nothing_that_delete_cannot_remove() {
    walk(&scene("create-killed", (Victim::Command, Fault::Kill)));
}

#[test]
fn a_failure_of_each_call_of_create_is_rolled_back() {
    walk(&scene("create-fails", (Victim::Command, Fault::Errno(Errno::EIO))));
}

#[test]
fn killing_the_init_program_at_each_call_is_rolled_back() {
    walk(&scene("init-killed", (Victim::Init, Fault::Kill)));
}

#[test]
fn a_failure_of_each_call_of_the_init_program_is_rolled_back() {
    walk(&scene("init-fails", (Victim::Init, Fault::Errno(Errno::EIO))));
}

/// Calls that wait, which a signal can interrupt (signal(7)).
fn waits(place: &str) -> bool {
    ["read", "recvmsg", "poll", "waitid", "wait4", "accept4", "flock"].contains(&place)
}

#[test]
fn other_failures_of_create_are_rolled_back_too() {
    for (name, errno) in
        [("eintr", Errno::EINTR), ("enomem", Errno::ENOMEM), ("eperm", Errno::EPERM)]
    {
        let fails = Fault::Errno(errno);
        let name = format!("create-{name}");
        walk(&Scene { stride: 4, ..scene(&name, (Victim::Command, fails)) });
        walk(&Scene { stride: 5, ..scene(&name, (Victim::Init, fails)) });
    }
}

#[test]
fn start_can_be_killed_at_each_call() {
    let killed = (Victim::Command, Fault::Kill);
    walk(&Scene { command: &["start", "ID"], ..scene("start-killed", killed) });
}

#[test]
fn kill_can_be_killed_at_each_call() {
    let killed = (Victim::Command, Fault::Kill);
    let command: &[&str] = &["kill", "ID", "KILL"];
    walk(&Scene { before: &[&["start", "ID"]], command, ..scene("kill-killed", killed) });
}

#[test]
fn delete_can_be_killed_at_each_call() {
    let killed = (Victim::Command, Fault::Kill);
    let command: &[&str] = &["delete", "--force", "ID"];
    walk(&Scene { before: &[&["start", "ID"]], command, ..scene("delete-killed", killed) });
}

#[test]
fn exec_can_be_killed_at_each_call() {
    let killed = (Victim::Command, Fault::Kill);
    let command: &[&str] = &["exec", "ID", "busybox", "true"];
    walk(&Scene { before: &[&["start", "ID"]], command, ..scene("exec-killed", killed) });
}
