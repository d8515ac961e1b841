//! A program whose system calls are known exactly, to check the counter.
//!
//! It makes one plain child, one vfork child and one child with `CLONE_PARENT`, each of which calls
//! getpid once and exits; it waits for the first two. The calls of all processes together:
//! clone 3, getpid 3, wait4 2, exit 4.
#![no_std]
#![no_main]

mod start;

use start::{call, exit, number};

const SIGCHLD: usize = 17;
const CLONE_VFORK: usize = 0x4000;
const CLONE_PARENT: usize = 0x8000;

#[inline(always)]
fn child(flags: usize, wait: bool) {
    // clone with a null stack works like fork; CLONE_VFORK without CLONE_VM keeps the memory apart.
    if call(number::CLONE, flags, 0) == 0 {
        call(number::GETPID, 0, 0);
        exit(0);
    }
    if wait {
        call(number::WAIT4, usize::MAX, 0);
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    child(SIGCHLD, true);
    child(SIGCHLD | CLONE_VFORK, true);
    child(SIGCHLD | CLONE_PARENT, false);
    exit(0)
}
