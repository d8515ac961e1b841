//! What is left when a creation goes wrong at any of its system calls.
//!
//! The command runs under ptrace. One walk kills it at each call, one fails each call, and two do
//! the same to the init program; after every single fault nothing may be left: no process, mount,
//! cgroup or state, after `delete --force` where the command itself was killed.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails where it expects in vain")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

mod ground;
mod traced;

use ground::Ground;
use traced::{Fault, Outcome, Victim};

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

/// Walks all system calls of the victim. A fault that hits nothing any more ends the walk.
fn walk(victim: Victim, fault: Fault) {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    // The tests wait for any child, so they take turns.
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ground = Ground::new(&format!("{victim:?}-{fault:?}").to_lowercase());
    let mut bad = Vec::new();
    let mut hits = 0;
    for call in 1.. {
        let (outcome, place) = traced::create(&ground, victim, fault, call);
        if outcome == Outcome::Untouched {
            ground.delete_by_force();
            break;
        }
        hits += 1;
        // A command that was killed cannot clean up; one that saw a failure must have, or have gone on.
        if outcome != Outcome::Failed {
            ground.delete_by_force();
        }
        for thing in ground.leftovers() {
            bad.push(format!("call {call} ({place}), {outcome:?}: {thing}"));
            ground.sweep();
        }
    }
    println!("{hits} faults, {} left something", bad.len());
    assert!(hits > 20, "only {hits} system calls were seen");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn killing_the_command_at_each_call_leaves_nothing_that_delete_cannot_remove() {
    walk(Victim::Command, Fault::Kill);
}

#[test]
fn a_failure_of_each_call_of_the_command_is_rolled_back() {
    walk(Victim::Command, Fault::Errno);
}

#[test]
fn killing_the_init_program_at_each_call_is_rolled_back() {
    walk(Victim::Init, Fault::Kill);
}

#[test]
fn a_failure_of_each_call_of_the_init_program_is_rolled_back() {
    walk(Victim::Init, Fault::Errno);
}
