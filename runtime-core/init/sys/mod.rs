//! The system calls that the steps use: each retried on `EINTR`, each with typed arguments.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::wildcard_imports,
    reason = "what goes into registers and comes out of them; the module is one interface"
)]

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;
#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "number/x86_64.rs"]
mod number;
#[cfg(target_arch = "aarch64")]
#[path = "number/aarch64.rs"]
mod number;

mod file;
mod memory;
mod mount;
mod process;
mod socket;

pub use arch::{copy, fill};
pub use file::*;
pub use memory::*;
pub use mount::*;
pub use process::*;
pub use socket::*;

use core::ffi::CStr;

use crate::abi;

/// A descriptor; -1 stands for none.
pub type Fd = i32;

/// The number of a kernel error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a system call gives.
pub type Result<T> = core::result::Result<T, Errno>;

/// An argument of a system call, as the register holds it.
trait Word {
    fn word(self) -> usize;
}
impl Word for usize {
    fn word(self) -> usize {
        self
    }
}
impl Word for u64 {
    fn word(self) -> usize {
        self as usize
    }
}
impl Word for u32 {
    fn word(self) -> usize {
        self as usize
    }
}
impl Word for i32 {
    fn word(self) -> usize {
        (self as isize).cast_unsigned()
    }
}
impl Word for &CStr {
    fn word(self) -> usize {
        self.as_ptr().expose_provenance()
    }
}
impl<T> Word for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}
impl<T> Word for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// Makes a system call, again while a signal interrupts it.
///
/// Private to this module's wrappers: each hands over pointers to live memory only, of the size that
/// the call reads or writes.
fn retry_six(number: usize, args: [usize; 6]) -> isize {
    loop {
        // SAFETY: see above.
        let value = unsafe { arch::syscall(number, args) };
        if value != -(abi::EINTR as isize) {
            return value;
        }
    }
}

/// As [`retry_six`]; so few arguments stay in registers.
#[inline(never)]
#[allow(clippy::too_many_arguments, reason = "as many as fit into registers")]
fn retry(a: usize, b: usize, c: usize, d: usize, e: usize, number: usize) -> isize {
    retry_six(number, [a, b, c, d, e, 0])
}

/// What the kernel's answer means: errors are -4095 to -1.
#[inline(always)]
const fn result(value: isize) -> Result<usize> {
    if value < 0 && value >= -4095 {
        Err(Errno(-(value as i32)))
    } else {
        Ok(value.cast_unsigned())
    }
}

macro_rules! call {
    ($number:ident) => { call!(@ $number, 0usize, 0usize, 0usize, 0usize, 0usize) };
    ($number:ident, $a:expr) => { call!(@ $number, $a, 0usize, 0usize, 0usize, 0usize) };
    ($number:ident, $a:expr, $b:expr) => { call!(@ $number, $a, $b, 0usize, 0usize, 0usize) };
    ($number:ident, $a:expr, $b:expr, $c:expr) => { call!(@ $number, $a, $b, $c, 0usize, 0usize) };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr) => { call!(@ $number, $a, $b, $c, $d, 0usize) };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        call!(@ $number, $a, $b, $c, $d, $e)
    };
    (@ $number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        crate::sys::result(crate::sys::retry(
            crate::sys::Word::word($a),
            crate::sys::Word::word($b),
            crate::sys::Word::word($c),
            crate::sys::Word::word($d),
            crate::sys::Word::word($e),
            crate::sys::number::$number,
        ))
    };
}
use call;

/// A descriptor or small number out of a register.
fn small(value: usize) -> i32 {
    // The kernel's own answer: descriptors and pids fit.
    value as i32
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        let _ = call!(EXIT_GROUP, status);
    }
}
