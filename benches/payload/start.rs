// The entry point and the raw system calls of the payloads. They link nothing: no libc, no std, so
// what is measured is the runtime and not the start-up of a language.

use core::arch::asm;
use core::panic::PanicInfo;

#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const WRITE: usize = 1;
    pub const PAUSE: usize = 34;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXIT: usize = 60;
    pub const WAIT4: usize = 61;
}

#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const WRITE: usize = 64;
    pub const PAUSE: usize = 73; // ppoll(NULL, 0, NULL, NULL): aarch64 has no pause
    pub const GETPID: usize = 172;
    pub const CLONE: usize = 220;
    pub const EXIT: usize = 93;
    pub const WAIT4: usize = 260;
}

/// One system call with two arguments, the others zero.
#[cfg(target_arch = "x86_64")]
pub fn call(number: usize, first: usize, second: usize) -> isize {
    let result: isize;
    // SAFETY: the payloads pass no pointers to memory they use; a system call clobbers rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second,
            in("rdx") 0, in("r10") 0, in("r8") 0, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// One system call with two arguments, the others zero.
#[cfg(target_arch = "aarch64")]
pub fn call(number: usize, first: usize, second: usize) -> isize {
    let result: isize;
    // SAFETY: the payloads pass no pointers to memory they use.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") first => result, in("x1") second,
            in("x2") 0, in("x3") 0, in("x4") 0);
    }
    result
}

/// Writes at most this much of the bytes; what was written, or an error as a negative number.
#[cfg(target_arch = "x86_64")]
pub fn write(fd: usize, bytes: &[u8], most: usize) -> isize {
    let length = if most < bytes.len() { most } else { bytes.len() };
    let result: isize;
    // SAFETY: the kernel reads the bytes while they are borrowed; it clobbers rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number::WRITE => result, in("rdi") fd,
            in("rsi") bytes.as_ptr(), in("rdx") length, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// Writes at most this much of the bytes; what was written, or an error as a negative number.
#[cfg(target_arch = "aarch64")]
pub fn write(fd: usize, bytes: &[u8], most: usize) -> isize {
    let length = if most < bytes.len() { most } else { bytes.len() };
    let result: isize;
    // SAFETY: the kernel reads the bytes while they are borrowed.
    unsafe {
        asm!("svc 0", in("x8") number::WRITE, inlateout("x0") fd => result,
            in("x1") bytes.as_ptr(), in("x2") length);
    }
    result
}

/// Ends the process.
pub fn exit(code: usize) -> ! {
    loop {
        call(number::EXIT, code, 0);
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
