//! The init program: executes a program of steps in the new container and then becomes its payload.
//!
//! It has no heap and no C library, so that it is small, starts at once and costs the container almost
//! nothing while it waits for `start`. The library sends it what it shall do (see `program`).

#![no_std]
#![no_main]

mod abi;
mod console;
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
    let mut init = Init::new(control, keep);
    init.run()
}
