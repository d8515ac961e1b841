//! Filters loaded into the real kernel, each by a process of its own: this test program, which
//! runs itself again for one of its ignored tests.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code, reason = "seccomp(2) and the calls to try have no safe wrapper")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use coracle::seccomp::{Filter, compile};
use coracle::spec::seccomp::Seccomp;

/// Runs one of the ignored tests in a process of its own.
fn run_alone(test: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    Command::new(program).args(arguments).output().unwrap()
}

fn assert_success(test: &str) {
    let output = run_alone(test);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[test]
fn dockers_profile_allows_and_refuses() {
    assert_success("child_under_dockers_profile");
}

#[test]
fn arguments_and_errors_are_told_apart() {
    assert_success("child_under_rules_on_arguments");
}

#[test]
fn killing_kills() {
    let output = run_alone("child_that_is_killed");
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

#[test]
fn calls_of_32_bit_programs_have_their_own_numbers() {
    let output = run_alone("child_with_a_call_of_32_bits");
    if output.status.signal() == Some(libc::SIGSEGV) {
        println!("skipped: this kernel does not run 32-bit programs");
        return;
    }
    assert!(output.status.success(), "{output:?}");
}

fn profile(json: &str) -> Filter {
    compile(&serde_json::from_str::<Seccomp>(json).unwrap()).unwrap()
}

/// Loads a filter for this thread.
fn load(filter: &Filter) {
    let mut program = filter.as_bytes().to_vec();
    let descriptor = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: program.as_mut_ptr().cast(),
    };
    // SAFETY: prctl with PR_SET_NO_NEW_PRIVS takes numbers only.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    // SAFETY: the descriptor points to `len` records of 8 bytes, alive until the call returns; the
    // kernel copies them without regard to their alignment.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            filter.flags(),
            &raw const descriptor,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// The result of a call with numbers for arguments: what it returns, or its errno, negative.
fn call(number: i64, first: i64, second: i64) -> i64 {
    // SAFETY: only calls that take numbers, or null for pointers, are tried.
    let result = unsafe { libc::syscall(number, first, second, 0, 0, 0, 0) };
    if result == -1 {
        -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap())
    } else {
        result
    }
}

#[test]
#[ignore = "run by dockers_profile_allows_and_refuses"]
fn child_under_dockers_profile() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundles/docker-default.json");
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let pid = i64::from(std::process::id());
    load(&profile(&config.pointer("/linux/seccomp").unwrap().to_string()));
    assert_eq!(call(libc::SYS_getpid, 0, 0), pid);
    assert_eq!(call(libc::SYS_add_key, 0, 0), -i64::from(libc::EPERM));
    assert_eq!(call(libc::SYS_clone3, 0, 0), -i64::from(libc::ENOSYS));
    assert_eq!(call(libc::SYS_personality, 0xffff_ffff, 0), 0);
    assert_eq!(call(libc::SYS_personality, 0x0040_0000, 0), -i64::from(libc::EPERM));
    let vsock = i64::from(libc::AF_VSOCK);
    assert_eq!(call(libc::SYS_socket, vsock, 1), -i64::from(libc::EPERM));
    assert_eq!(call(libc::SYS_socket, 999, 1), -i64::from(libc::EAFNOSUPPORT));
    assert_eq!(call(4000, 0, 0), -i64::from(libc::ENOSYS));
}

#[test]
#[ignore = "run by arguments_and_errors_are_told_apart"]
fn child_under_rules_on_arguments() {
    load(&profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 101},
            {"names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 102,
             "args": [{"index": 0, "value": 4294967296, "op": "SCMP_CMP_GE"}]},
            {"names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 103,
             "args": [{"index": 0, "value": 240, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"},
                      {"index": 1, "value": 7, "op": "SCMP_CMP_NE"}]}]}"#,
    ));
    assert_eq!(call(libc::SYS_getppid, 0, 0), -101);
    assert_eq!(call(libc::SYS_close, 1 << 32, 7), -102);
    assert_eq!(call(libc::SYS_close, -1, 0), -102);
    assert_eq!(call(libc::SYS_close, 0xfff_ff1f, 0), -103);
    assert_eq!(call(libc::SYS_close, 0xfff_ff1f, 7), -i64::from(libc::EBADF));
    assert_eq!(call(libc::SYS_close, 0xfff_ff2f, 0), -i64::from(libc::EBADF));
}

#[test]
#[ignore = "run by killing_kills"]
fn child_that_is_killed() {
    load(&profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
    ));
    call(libc::SYS_getppid, 0, 0);
}

#[test]
#[ignore = "run by calls_of_32_bit_programs_have_their_own_numbers"]
fn child_with_a_call_of_32_bits() {
    load(&profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            {"names": ["waitpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 104}]}"#,
    ));
    // waitpid(2) of 32-bit x86; that is the number of poll(2) on 64-bit x86.
    let mut result: i64 = 7;
    // SAFETY: the filter answers this call before the kernel looks at its arguments; the entry
    // code may clear r8 to r11.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _);
    }
    assert_eq!(result, -104);
    assert_eq!(call(libc::SYS_poll, 0, 0), 0);
}
