//! Exits with 0 at once: exactly one system call.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "each payload uses its part of `start`")]

mod start;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    start::exit(0)
}
