//! Entry and system calls on x86_64.

use core::arch::{asm, global_asm};

// The kernel jumps here with the argument count at the top of the stack.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym crate::entry,
);

/// Makes a system call and returns what the kernel put into rax.
///
/// # Safety
///
/// Pointers among the arguments must be valid for what the call reads and writes.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let value: isize;
    // SAFETY: the caller vouches for the arguments; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => value,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
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
    // SAFETY: the caller vouches for the stack. The new thread keeps all registers but rax, rcx, r11 and
    // rsp; r8 (a thread pointer) is not looked at without CLONE_SETTLS, r9 never.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "2:",
            inlateout("rax") number => value,
            in("rdi") flags, in("rsi") stack, in("rdx") 0usize, in("r10") 0usize,
            in("r8") argument, in("r9") entry,
            lateout("rcx") _, lateout("r11") _,
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
    // SAFETY: the caller vouches for both ranges; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills.
///
/// # Safety
///
/// As memset.
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    // SAFETY: the caller vouches for the range; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") length => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags),
        );
    }
}
