//! Entry and system calls on aarch64.

use core::arch::{asm, global_asm};

// The kernel jumps here with the argument count at the top of the stack.
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "and sp, x0, #-16",
    "bl {entry}",
    "brk #1",
    entry = sym crate::entry,
);

/// Makes a system call and returns what the kernel put into x0.
///
/// # Safety
///
/// Pointers among the arguments must be valid for what the call reads and writes.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let value: isize;
    // SAFETY: the caller vouches for the arguments; the kernel keeps all other registers.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a => value,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    value
}

/// Starts a thread of this process by clone(2): `entry` gets `argument` and must not return. The pid, or
/// the error.
///
/// # Safety
///
/// `stack` is the aligned end of memory that nobody else uses.
#[inline(always)]
pub unsafe fn thread(
    [number, flags, stack]: [usize; 3],
    entry: extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let value: isize;
    // SAFETY: the caller vouches for the stack. The new thread keeps all registers but x0 and sp; x3 (a
    // thread pointer) is not looked at without CLONE_SETTLS, x5 never.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x3",
            "blr x5",
            "2:",
            in("x8") number,
            inlateout("x0") flags => value,
            in("x1") stack, in("x2") 0usize, in("x3") argument, in("x4") 0usize, in("x5") entry,
            lateout("x30") _,
        );
    }
    value
}

/// Copies forwards.
///
/// # Safety
///
/// As memcpy.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    for at in 0..length {
        // SAFETY: the caller vouches for both ranges. Volatile, so that the loop is not turned into
        // a call of memcpy, which is this function.
        unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    }
}

/// Fills.
///
/// # Safety
///
/// As memset.
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    for at in 0..length {
        // SAFETY: the caller vouches for the range. Volatile, as in `copy`.
        unsafe { to.add(at).write_volatile(byte) };
    }
}
