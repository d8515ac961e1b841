//! Processes, ids, signals, namespaces.

use core::ffi::CStr;

use super::{Fd, Result, call, small};
use crate::abi::{
    self, CLONE_PARENT, CLONE_PIDFD, CapabilityData, CapabilityHeader, CloneArgs, FilterProgram,
    SIGCHLD,
};

/// Makes a child with its own copy of the memory: `Ok((0, -1))` in the child, pid and pidfd in the
/// parent. With `sibling` the child's parent is this process's parent.
pub fn fork(sibling: bool) -> Result<(i32, Fd)> {
    let mut pidfd: Fd = -1;
    let address = &raw mut pidfd;
    let kind = if sibling { CLONE_PARENT } else { 0 };
    let args = CloneArgs {
        flags: CLONE_PIDFD | kind,
        pidfd: address.expose_provenance() as u64,
        // A sibling inherits it (clone3 refuses both).
        exit_signal: if sibling { 0 } else { SIGCHLD },
        ..CloneArgs::default()
    };
    let pid = match call!(CLONE3, &raw const args, size_of::<CloneArgs>()) {
        // A filter around the caller may know clone but not clone3.
        Err(super::Errno(abi::ENOSYS | abi::EPERM)) => {
            call!(CLONE, CLONE_PIDFD | kind | SIGCHLD, 0usize, address)?
        }
        other => other?,
    };
    // SAFETY: a live local, which the kernel may have written to.
    Ok((small(pid), unsafe { address.read_volatile() }))
}

/// The size of a thread's stack in words: room for a few messages.
const STACK: usize = 2048;

/// Starts a thread of this process, which gets two descriptors as [`pair`] reads them. It must not return.
pub fn thread(entry: extern "C" fn(usize) -> !, fds: [Fd; 2]) -> Result<usize> {
    let stack = super::map_memory(STACK, false)?.as_mut_ptr_range().end;
    let numbers = [super::number::CLONE, abi::CLONE_THREAD_OF_PROCESS as usize, stack.addr()];
    let [first, second] = fds.map(|fd| fd.cast_unsigned() as usize);
    // SAFETY: fresh memory, aligned to a page at both ends.
    super::result(unsafe { super::arch::thread(numbers, entry, first | (second << 32)) })
}

/// The descriptors that a thread was started with.
pub const fn pair(argument: usize) -> [Fd; 2] {
    [argument as Fd, (argument >> 32) as Fd]
}

/// Ends this thread.
pub fn exit_thread() -> ! {
    loop {
        let _ = call!(EXIT, 0usize);
    }
}

/// Lets other threads run.
pub fn let_others_run() {
    let _ = call!(SCHED_YIELD);
}

/// Arguments and environment: addresses of strings, ended by a zero.
pub type Vectors = (*const usize, *const usize);

/// Executes; returns only if that failed.
pub fn execve(path: &CStr, vectors: Vectors) -> super::Errno {
    match call!(EXECVE, path, vectors.0, vectors.1) {
        Err(errno) => errno,
        Ok(_) => super::Errno(abi::EINVAL),
    }
}

/// The wait status of a child.
pub fn wait(pid: i32) -> Result<i32> {
    let mut status = 0i32;
    call!(WAIT4, pid, &raw mut status, 0u32, 0usize)?;
    Ok(status)
}

pub fn kill(pid: i32, signal: u32) {
    let _ = call!(KILL, pid, signal);
}

/// A descriptor of this process, readable once it has ended.
pub fn own_pidfd() -> Result<Fd> {
    call!(PIDFD_OPEN, getpid(), 0u32).map(small)
}

pub fn getpid() -> i32 {
    call!(GETPID).map_or(0, small)
}

pub fn setsid() -> Result<usize> {
    call!(SETSID)
}

/// Gives the signal its default action; SIGKILL and SIGSTOP have no other.
pub fn default_signal(signal: u32) -> Result<usize> {
    // `struct sigaction` of the kernel: handler, flags, restorer, mask; all zero is SIG_DFL.
    let action = [0u64; 4];
    call!(RT_SIGACTION, signal, action.as_ptr(), 0usize, 8usize)
}

/// Blocks no signal.
pub fn unblock_signals() -> Result<usize> {
    let none = 0u64;
    call!(RT_SIGPROCMASK, abi::SIG_SETMASK, &raw const none, 0usize, 8usize)
}

pub fn setns(fd: Fd, kinds: u32) -> Result<usize> {
    call!(SETNS, fd, kinds)
}

pub fn unshare(kinds: u32) -> Result<usize> {
    call!(UNSHARE, kinds)
}

pub fn prctl(option: u32, a: u32, b: u32) -> Result<usize> {
    call!(PRCTL, option, a, b, 0usize, 0usize)
}

/// `setgroups` with a list of numbers as they stand in the program (the kernel copies bytes, so
/// that their alignment is of no matter).
pub fn setgroups(bytes: &[u8]) -> Result<usize> {
    call!(SETGROUPS, bytes.len() / 4, bytes.as_ptr())
}

pub fn setresgid(gid: u32) -> Result<usize> {
    call!(SETRESGID, gid, gid, gid)
}

pub fn setresuid(uid: u32) -> Result<usize> {
    call!(SETRESUID, uid, uid, uid)
}

pub fn getresgid() -> Result<[u32; 3]> {
    let mut ids = [0u32; 3];
    let [real, effective, saved] = &mut ids;
    call!(GETRESGID, &raw mut *real, &raw mut *effective, &raw mut *saved)?;
    Ok(ids)
}

pub fn getresuid() -> Result<[u32; 3]> {
    let mut ids = [0u32; 3];
    let [real, effective, saved] = &mut ids;
    call!(GETRESUID, &raw mut *real, &raw mut *effective, &raw mut *saved)?;
    Ok(ids)
}

/// The supplementary groups, written to the buffer; how many there are.
pub fn getgroups(buffer: &mut [usize]) -> Result<usize> {
    call!(GETGROUPS, buffer.len().saturating_mul(2), buffer.as_mut_ptr())
}

const HEADER: CapabilityHeader =
    CapabilityHeader { version: abi::LINUX_CAPABILITY_VERSION_3, pid: 0 };

/// The three sets: effective, permitted, inheritable.
pub fn capget() -> Result<[u64; 3]> {
    let mut header = HEADER;
    let mut data = [CapabilityData::default(); 2];
    call!(CAPGET, &raw mut header, data.as_mut_ptr())?;
    let [low, high] = data;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    Ok([
        join(low.effective, high.effective),
        join(low.permitted, high.permitted),
        join(low.inheritable, high.inheritable),
    ])
}

/// Sets effective, permitted, inheritable.
pub fn capset(sets: [u64; 3]) -> Result<usize> {
    let mut header = HEADER;
    let [effective, permitted, inheritable] = sets;
    let half = |shift: u32| CapabilityData {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    call!(CAPSET, &raw mut header, data.as_ptr())
}

pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<usize> {
    let limit = [soft, hard];
    call!(PRLIMIT64, 0u32, resource, limit.as_ptr(), 0usize)
}

pub fn personality(domain: u32) -> Result<usize> {
    call!(PERSONALITY, domain)
}

/// The nodes are the bits of whole words, of which the kernel reads one less than it is told.
pub fn set_memory_policy(mode: u32, nodes: &[u8]) -> Result<usize> {
    if nodes.is_empty() {
        return call!(SET_MEMPOLICY, mode, 0usize, 0usize);
    }
    call!(SET_MEMPOLICY, mode, nodes.as_ptr(), nodes.len() * 8 + 1)
}

/// The processors are the bits of whole words.
pub fn set_affinity(processors: &[u8]) -> Result<usize> {
    call!(SCHED_SETAFFINITY, 0u32, processors.len(), processors.as_ptr())
}

pub fn sethostname(name: &CStr) -> Result<usize> {
    call!(SETHOSTNAME, name, name.count_bytes())
}

pub fn setdomainname(name: &CStr) -> Result<usize> {
    call!(SETDOMAINNAME, name, name.count_bytes())
}

/// Joins a session keyring of this name; its serial number.
pub fn join_keyring(name: &CStr) -> Result<usize> {
    call!(KEYCTL, abi::KEYCTL_JOIN_SESSION_KEYRING, name)
}

pub fn set_key_permissions(key: usize, permissions: u32) -> Result<usize> {
    call!(KEYCTL, abi::KEYCTL_SETPERM, key, permissions)
}

/// Loads a filter of eight-byte instructions; the listener's descriptor where the flags ask for one.
pub fn seccomp(filter: &[u8], flags: u32) -> Result<Fd> {
    let program = FilterProgram {
        length: u16::try_from(filter.len() / 8).unwrap_or(0),
        filter: filter.as_ptr().expose_provenance(),
    };
    call!(SECCOMP, abi::SECCOMP_SET_MODE_FILTER, flags, &raw const program).map(small)
}
