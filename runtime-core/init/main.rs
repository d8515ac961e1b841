//! The init program: executes a program of steps in the new container and then becomes its payload.
//!
//! It has no heap and no C library, so that it is small, starts at once and costs the container almost
//! nothing while it waits for `start`. The library sends it what it shall do (see `program`).

#![no_std]
#![no_main]

mod abi;
mod attach;
mod console;
mod copy;
mod device;
mod hide;
mod home;
mod hook;
mod init;
mod memory;
mod mount;
mod namespace;
mod path;
mod process;
mod procfs;
#[allow(dead_code, unused_imports, reason = "the library uses the rest")]
#[path = "../src/program/mod.rs"]
mod program;
mod prologue;
mod report;
mod run;
mod scheduling;
mod seccomp;
mod start;
mod sys;
mod text;

use core::ffi::{CStr, c_char};

use init::Init;

/// Exit status after a defect of this program.
const DEFECT: i32 = 134;

#[panic_handler]
fn defect(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(DEFECT)
}

/// Effective user and group, from the auxiliary vector.
fn owner(stack: *const usize, count: usize) -> (u32, u32) {
    let mut owner = (u32::MAX, u32::MAX);
    // Behind the arguments and their zero; the environment ends in one, too.
    let mut at = count + 2;
    // SAFETY: the kernel puts this layout onto the stack (execve(2), getauxval(3)).
    unsafe {
        while stack.add(at).read() != 0 {
            at += 1;
        }
        at += 1;
        loop {
            let (key, value) = (stack.add(at).read(), stack.add(at + 1).read());
            match key {
                0 => return owner,
                abi::AT_EUID => owner.0 = u32::try_from(value).unwrap_or(u32::MAX),
                abi::AT_EGID => owner.1 = u32::try_from(value).unwrap_or(u32::MAX),
                _ => {}
            }
            at += 2;
        }
    }
}

/// Where `_start` goes: `stack` is the argument count, then the arguments.
pub(crate) extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: the kernel puts the count there (execve(2)).
    let count = unsafe { stack.read() };
    let argument = |index: usize| {
        if index >= count {
            return None;
        }
        // SAFETY: `count` pointers to texts that end in NUL follow the count.
        let text = unsafe { CStr::from_ptr(stack.add(1 + index).cast::<*const c_char>().read()) };
        prologue::number(text)
    };
    let (Some(control), Some(keep)) = (argument(1), argument(2)) else {
        sys::exit(DEFECT);
    };
    let Ok(control) = sys::Fd::try_from(control) else {
        sys::exit(DEFECT);
    };
    let mut init = Init::new(control, keep, owner(stack, count));
    init.run()
}
