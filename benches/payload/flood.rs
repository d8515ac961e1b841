//! Writes a gibibyte of zeros to standard output.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "each payload uses its part of `start`")]

mod start;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let mut left: usize = 1 << 30;
    while left > 0 {
        let written = start::write(1, &ZEROS, left);
        if written <= 0 {
            start::exit(1);
        }
        left -= written as usize;
    }
    start::exit(0)
}
