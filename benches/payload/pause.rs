//! Waits until it is killed.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "each payload uses its part of `start`")]

mod start;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        start::call(start::number::PAUSE, 0, 0);
    }
}
