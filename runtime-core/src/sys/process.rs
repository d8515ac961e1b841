//! What the caller does to another process from outside.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

use super::check;

/// A soft and a hard limit, as in `struct rlimit64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The soft limit.
    pub(crate) soft: u64,
    /// The hard limit.
    pub(crate) hard: u64,
}

/// Reads a resource limit of the process `pid` (prlimit(2)).
///
/// # Errors
/// `ESRCH`, `EPERM`, or `EINVAL` for an unknown resource.
pub(crate) fn limits(pid: i32, resource: u32) -> io::Result<Limits> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the new limit may be null; `old` is writable and outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut old,
        )
    })?;
    Ok(Limits { soft: old.rlim_cur, hard: old.rlim_max })
}

/// Sets a resource limit of the process `pid` (prlimit(2)).
///
/// # Errors
/// `EPERM` when the hard limit would rise without `CAP_SYS_RESOURCE`.
pub(crate) fn set_limits(pid: i32, resource: u32, limits: Limits) -> io::Result<()> {
    let new = libc::rlimit64 { rlim_cur: limits.soft, rlim_max: limits.hard };
    // SAFETY: `new` outlives the call; the old limit may be null.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const new,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    })
    .map(drop)
}

/// `struct sched_attr` (sched_setattr(2)), as of Linux 5.3; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Scheduling {
    /// The length of this structure in bytes.
    pub(crate) size: u32,
    /// `SCHED_*`.
    pub(crate) policy: u32,
    /// `SCHED_FLAG_*`.
    pub(crate) flags: u64,
    /// The nice value, for the policies that have one.
    pub(crate) nice: i32,
    /// The static priority, for the real-time policies.
    pub(crate) priority: u32,
    /// Run time, deadline and period, for the deadline policy.
    pub(crate) deadline: [u64; 3],
    /// The clamps of utilization.
    pub(crate) utilization: [u32; 2],
}

impl Scheduling {
    /// The length of the structure in bytes.
    pub(crate) const SIZE: u32 = 56;
}

/// Sets the scheduling policy of the process `pid` (sched_setattr(2)).
///
/// # Errors
/// `EPERM` without the privilege for it, `EINVAL` for values out of range, `EBUSY` without enough
/// bandwidth for a deadline.
pub(crate) fn schedule(pid: i32, scheduling: &Scheduling) -> io::Result<()> {
    let attributes: *const Scheduling = scheduling;
    // SAFETY: the kernel reads as many bytes as `size` says, which is the length of the structure.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, attributes, 0) }).map(drop)
}

/// Sets class and level of block I/O of the process `pid`, packed as in `linux/ioprio.h` (ioprio_set(2)).
///
/// # Errors
/// `EPERM` without the privilege for the class.
pub(crate) fn set_io_priority(pid: i32, priority: u32) -> io::Result<()> {
    const PROCESS: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, pid, priority) }).map(drop)
}

/// Makes a program get no descriptor of the caller but 0 to 2, also those that are not marked to be
/// closed, and none of the signals that the caller blocks: a library cannot know what the program
/// around it has open and waits for.
pub(crate) fn keep_to_itself(command: &mut Command) {
    let reset = || {
        const CLOEXEC: libc::c_uint = 4;
        SigSet::empty().thread_set_mask()?;
        // SAFETY: the call takes numbers only.
        check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOEXEC) })
            .map(drop)
    };
    // SAFETY: between fork and execve the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(reset) };
}

/// Lets a program inherit these descriptors after all; for a command to which [`keep_to_itself`] was
/// applied.
pub(crate) fn inherit(command: &mut Command, fds: Vec<RawFd>) {
    let keep = move || {
        for fd in &fds {
            // SAFETY: the call takes numbers only.
            let done = unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) };
            check(done.into())?;
        }
        Ok(())
    };
    // SAFETY: between fork and execve the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(keep) };
}

/// Gives a program mounts of its own: the caller's, of which later changes still arrive, while its own do
/// not leave. In them the directory is a mount point.
pub(crate) fn mount_apart(command: &mut Command, directory: CString) {
    let mount = move |source: *const libc::c_char, target: *const libc::c_char, flags| {
        let none = std::ptr::null();
        // SAFETY: both paths are strings that outlive the call; the other pointers may be null.
        check(unsafe { libc::mount(source, target, none, flags, none.cast()) }.into())
    };
    let apart = move || {
        // SAFETY: the call takes a number; the process has one thread.
        check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
        mount(std::ptr::null(), c"/".as_ptr(), libc::MS_REC | libc::MS_SLAVE)?;
        let path = directory.as_ptr();
        mount(path, path, libc::MS_BIND | libc::MS_REC).map(drop)
    };
    // SAFETY: between fork and execve the closure makes three system calls and allocates nothing.
    unsafe { command.pre_exec(apart) };
}

/// Gives a program a session keyring of its own with this name; without support for keys nothing
/// happens.
pub(crate) fn join_keyring(command: &mut Command, name: CString) {
    let join = move || {
        const JOIN_SESSION_KEYRING: libc::c_int = 1;
        // SAFETY: the name is a string that outlives the call.
        let key = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
        match check(key) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => {
                Ok(())
            }
            joined => joined.map(drop),
        }
    };
    // SAFETY: between fork and execve the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(join) };
}

/// Makes a program wait before its execve: it writes its pid (four bytes) and goes on when a byte has
/// come. It ends when the other end, of which `ours` is the number, is closed.
pub(crate) fn await_leave(command: &mut Command, theirs: UnixStream, ours: RawFd) {
    let wait = move || {
        // SAFETY: the number is this process's own copy, which would keep the connection from ending.
        unsafe { libc::close(ours) };
        // SAFETY: the call takes nothing.
        let pid = unsafe { libc::getpid() };
        (&theirs).write_all(&pid.to_ne_bytes())?;
        (&theirs).read_exact(&mut [0])
    };
    // SAFETY: between fork and execve the closure makes four system calls and allocates nothing.
    unsafe { command.pre_exec(wait) };
}

/// Makes a command execute this program with exactly these arguments and this environment: in their
/// order, with doubles, and with entries that are no assignments. The standard library would sort and
/// sift them.
///
/// # Errors
/// A text with a NUL character.
pub(crate) fn execute_exactly(
    command: &mut Command,
    path: &[u8],
    (args, env): (&[String], &[String]),
) -> io::Result<()> {
    let path = CString::new(path)?;
    let (args, env) = (Vector::new(args)?, Vector::new(env)?);
    let execute = move || {
        // SAFETY: a string, and two lists of strings that end with a null pointer, all owned by the
        // closure.
        unsafe { libc::execve(path.as_ptr(), args.pointer().cast(), env.pointer().cast()) };
        Err(io::Error::last_os_error())
    };
    // SAFETY: between fork and execve the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(execute) };
    Ok(())
}

/// Texts as execve(2) takes them.
struct Vector {
    _texts: Vec<CString>,
    /// The addresses of the texts and a null pointer.
    addresses: Vec<usize>,
}

impl Vector {
    fn new(texts: &[String]) -> io::Result<Self> {
        let texts = texts.iter().map(|text| CString::new(text.as_bytes()));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let addresses = texts.iter().map(|text| text.as_ptr().expose_provenance()).chain([0]);
        Ok(Self { addresses: addresses.collect(), _texts: texts })
    }

    fn pointer(&self) -> *const usize {
        self.addresses.as_ptr()
    }
}
