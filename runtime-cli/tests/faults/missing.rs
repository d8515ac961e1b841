//! Kernels that lack a system call: the command says which, and makes no weaker container.

use nix::libc;

use crate::ground::Ground;
use crate::traced::{self, Fault, Outcome, Victim};
use crate::{TURN, compare, missing, undisturbed};

/// What is taken away: the name that the error must have, and how.
const CALLS: [(&str, Fault); 16] = [
    ("openat2", Fault::Missing(libc::SYS_openat2)),
    ("open_tree", Fault::Missing(libc::SYS_open_tree)),
    ("move_mount", Fault::Missing(libc::SYS_move_mount)),
    ("fsopen", Fault::Missing(libc::SYS_fsopen)),
    ("fsconfig", Fault::Missing(libc::SYS_fsconfig)),
    ("fsmount", Fault::Missing(libc::SYS_fsmount)),
    ("mount_setattr", Fault::Missing(libc::SYS_mount_setattr)),
    ("clone3", Fault::Missing(libc::SYS_clone3)),
    ("close_range", Fault::Missing(libc::SYS_close_range)),
    ("pidfd_open", Fault::Missing(libc::SYS_pidfd_open)),
    ("pidfd_send_signal", Fault::Missing(libc::SYS_pidfd_send_signal)),
    ("execveat", Fault::Missing(libc::SYS_execveat)),
    ("memfd_create", Fault::Missing(libc::SYS_memfd_create)),
    ("seccomp", Fault::Missing(libc::SYS_seccomp)),
    ("statx", Fault::Missing(libc::SYS_statx)),
    ("CLONE_INTO_CGROUP", Fault::NoCloneIntoCgroup),
];

#[test]
fn without_a_system_call_there_is_a_clear_error_or_the_same_container() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ground = Ground::new("missing");
    let creation = ground.creation();
    let creation: Vec<&str> = creation.iter().map(String::as_str).collect();
    let expected = undisturbed(&ground, &creation);
    let (mut bad, mut used) = (Vec::new(), 0);
    for (name, fault) in CALLS {
        let (outcome, _) = traced::run(&ground, &creation, (Victim::Command, fault), 1);
        let said = ground.last_said();
        used += usize::from(outcome != Outcome::Untouched);
        println!("without {name}: {outcome:?} {said}");
        match outcome {
            Outcome::Succeeded => {
                bad.extend(compare(&ground, &expected, Victim::Command).map(|w| (name, w)));
            }
            Outcome::Failed if said.contains(name) || said.contains("Linux") => {}
            Outcome::Untouched => {}
            other => bad.push((name, format!("{other:?}: {said}"))),
        }
        if matches!(outcome, Outcome::Succeeded | Outcome::Untouched) {
            bad.extend(ground.delete_by_force().map(|words| (name, words)));
        }
        let left = ground.leftovers();
        if !left.is_empty() {
            bad.push((name, format!("left behind: {left:?}")));
            ground.sweep();
        }
    }
    assert!(used > 8, "only {used} of these calls are made at all");
    assert!(bad.is_empty(), "{bad:#?}");
}
