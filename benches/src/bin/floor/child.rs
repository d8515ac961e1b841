//! The container's first process: spawned on its own stack in the parent's memory, it allocates
//! nothing and returns nothing; it becomes the payload or writes one line and exits.

use std::arch::asm;
use std::ffi::CStr;
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Request;
use crate::call::{check, open};
use crate::cgroup::Hierarchy;
use crate::process;
use crate::rootfs;

/// The namespaces of the default configuration that exist from the first instruction.
pub(crate) const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;
/// The child borrows the parent's memory; nothing is copied.
pub(crate) const SHARED: i32 = libc::CLONE_VM;
/// As [`SHARED`], and the parent sleeps until the exec: no other synchronisation is needed.
pub(crate) const SHARED_UNTIL_EXEC: i32 = libc::CLONE_VM | libc::CLONE_VFORK;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const STACK_SIZE: usize = 64 * 1024;

#[repr(align(16))]
struct Stack(
    #[expect(dead_code, reason = "only the child's stack pointer refers to it")] [u8; STACK_SIZE],
);

static mut STACK: Stack = Stack([0; STACK_SIZE]);
static READY: AtomicU32 = AtomicU32::new(0);

/// Everything the child needs, made before it exists.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) rootfs: &'a CStr,
    pub(crate) payload: &'a CStr,
    pub(crate) hierarchies: &'a [Hierarchy],
    /// Open `tasks` files of cgroup v1. A process that writes "0" for itself there is moved without
    /// the lock that keeps its threads together, whose taking waits for an RCU grace period
    /// (milliseconds) in `cgroup.procs`; the child has one thread, so both mean the same.
    tasks: Vec<i32>,
    /// The cgroup2 directory, in which the child is born.
    cgroup: Option<i32>,
    pure_v2: bool,
    listener: Option<i32>,
    /// A pidfd of the container's init, for an exec.
    joined: Option<i32>,
}

impl<'a> Plan<'a> {
    /// Opens what the child will write to.
    pub(crate) fn new(request: &'a Request, listener: Option<i32>) -> Result<Self, String> {
        let (v2, v1): (Vec<_>, Vec<_>) =
            request.hierarchies.iter().partition(|hierarchy| hierarchy.is_v2());
        let directory = libc::O_PATH | libc::O_DIRECTORY;
        let cgroup = v2.first().map(|hierarchy| open(&hierarchy.path, directory)).transpose()?;
        let tasks = v1
            .iter()
            .map(|hierarchy| open(&hierarchy.tasks, libc::O_WRONLY))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rootfs: &request.rootfs,
            payload: &request.payload,
            hierarchies: &request.hierarchies,
            tasks,
            cgroup,
            pure_v2: v1.is_empty(),
            listener,
            joined: None,
        })
    }

    /// True on pure cgroup v2.
    pub(crate) fn is_v2(&self) -> bool {
        self.pure_v2
    }
}

/// Waits until the child sleeps on the start socket.
pub(crate) fn wait_until_ready() -> Result<(), String> {
    let limit = libc::timespec { tv_sec: 10, tv_nsec: 0 };
    while READY.load(Ordering::Acquire) == 0 {
        // SAFETY: the futex word is a static, the time limit a valid local.
        let result = unsafe {
            libc::syscall(libc::SYS_futex, READY.as_ptr(), libc::FUTEX_WAIT, 0, &raw const limit)
        };
        if result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT) {
            return Err("the init did not become ready".into());
        }
    }
    Ok(())
}

/// Spawns the container's init.
pub(crate) fn spawn(plan: &Plan<'_>, flags: i32) -> Result<i32, String> {
    let mut arguments = arguments(flags)?;
    if let Some(fd) = plan.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(fd).map_err(|e| e.to_string())?;
    }
    clone(&arguments, plan)
}

/// Joins the namespaces of a running container and spawns one more process there.
pub(crate) fn spawn_joined(mut plan: Plan<'_>, init: i32) -> Result<i32, String> {
    // SAFETY: no pointers.
    let pidfd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, init, 0) }, "open a pidfd")?;
    let pidfd = i32::try_from(pidfd).map_err(|e| e.to_string())?;
    // SAFETY: no pointers.
    let result = unsafe { libc::setns(pidfd, NAMESPACES) };
    check(result, "join the namespaces")?;
    plan.joined = Some(pidfd);
    spawn(&plan, SHARED_UNTIL_EXEC)
}

fn arguments(flags: i32) -> Result<libc::clone_args, String> {
    // SAFETY: clone_args is plain data, for which all zeros is a valid value.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = u64::try_from(flags).map_err(|e| e.to_string())?;
    arguments.exit_signal = u64::try_from(libc::SIGCHLD).map_err(|e| e.to_string())?;
    arguments.stack = u64::try_from((&raw const STACK).addr()).map_err(|e| e.to_string())?;
    arguments.stack_size = u64::try_from(STACK_SIZE).map_err(|e| e.to_string())?;
    Ok(arguments)
}

fn clone(arguments: &libc::clone_args, plan: &Plan<'_>) -> Result<i32, String> {
    let place = (&raw const *arguments).cast::<u8>();
    let plan = (&raw const *plan).cast::<u8>();
    // SAFETY: the child starts on STACK, which nothing else uses, and never returns; `plan` lives
    // until the exec, because the parent either sleeps (CLONE_VFORK) or ends by exit_group, which
    // leaves the shared memory to the child.
    let result = unsafe { clone3(place, mem::size_of::<libc::clone_args>(), plan) };
    if result < 0 {
        let code = i32::try_from(-result).unwrap_or(0);
        return Err(format!("clone3: {}", io::Error::from_raw_os_error(code)));
    }
    i32::try_from(result).map_err(|e| e.to_string())
}

/// # Safety
/// `arguments` is a `clone_args` of `size` bytes whose stack nothing else uses, and `plan` a `Plan`
/// that lives until the child executes another program.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: *const u8, size: usize, plan: *const u8) -> isize {
    let result: isize;
    // SAFETY: see `clone`. In the child the stack pointer is the top of STACK, 16-byte aligned.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call r13",
            "ud2", "2:",
            inlateout("rax") libc::SYS_clone3 => result, in("rdi") arguments, in("rsi") size,
            in("r12") plan, in("r13") main as extern "C" fn(*const Plan<'_>) -> !,
            lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// # Safety
/// `arguments` is a `clone_args` of `size` bytes whose stack nothing else uses, and `plan` a `Plan`
/// that lives until the child executes another program.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: *const u8, size: usize, plan: *const u8) -> isize {
    let result: isize;
    // SAFETY: see `clone`. In the child the stack pointer is the top of STACK, 16-byte aligned.
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x20", "blr x21", "brk 1", "2:",
            inlateout("x0") arguments => result, in("x1") size, in("x8") libc::SYS_clone3,
            in("x20") plan, in("x21") main as extern "C" fn(*const Plan<'_>) -> !,
            lateout("x30") _);
    }
    result
}

extern "C" fn main(plan: *const Plan<'_>) -> ! {
    // SAFETY: the parent keeps the plan alive, see `clone`.
    let plan = unsafe { &*plan };
    for fd in &plan.tasks {
        // SAFETY: "0" means the writer; the buffer is static.
        step(unsafe { libc::write(*fd, c"0".as_ptr().cast(), 1) }, c"join a cgroup");
    }
    match plan.joined {
        None => {
            rootfs::enter(plan);
            process::network();
        }
        Some(pidfd) => join_cgroup_namespace(plan, pidfd),
    }
    process::identity(plan.joined.is_none());
    if let Some(listener) = plan.listener {
        wait_for_start(listener);
    }
    execute(plan.payload)
}

/// Last, because the kernel refuses to let a process be born in a cgroup from inside a namespace
/// that does not show where its parent is.
fn join_cgroup_namespace(plan: &Plan<'_>, pidfd: i32) {
    if plan.is_v2() {
        // SAFETY: no pointers.
        let result = unsafe { libc::setns(pidfd, libc::CLONE_NEWCGROUP) };
        step(result, c"join the cgroup namespace");
    }
}

fn wait_for_start(listener: i32) {
    READY.store(1, Ordering::Release);
    let place = READY.as_ptr();
    // SAFETY: the futex word is a static.
    step(unsafe { libc::syscall(libc::SYS_futex, place, libc::FUTEX_WAKE, 1) }, c"wake the parent");
    let null = ptr::null_mut();
    // SAFETY: null pointers ask for no address.
    step(
        unsafe { libc::accept4(listener, null, ptr::null_mut(), libc::SOCK_CLOEXEC) },
        c"wait for start",
    );
}

fn execute(payload: &CStr) -> ! {
    let arguments = [payload.as_ptr(), ptr::null()];
    let environment = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(), ptr::null()];
    // SAFETY: both arrays end with a null pointer and hold NUL-terminated strings.
    unsafe { libc::execve(payload.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    fail(c"execute the payload")
}

/// Ends the child with one line when a step failed.
pub(crate) fn step(result: impl TryInto<i64>, name: &CStr) {
    if result.try_into().unwrap_or(-1) < 0 {
        fail(name);
    }
}

fn fail(name: &CStr) -> ! {
    let name = name.to_bytes();
    // SAFETY: valid buffers; _exit does not return and runs no destructors of the parent's memory.
    unsafe {
        libc::write(2, c"floor: cannot ".as_ptr().cast(), 14);
        libc::write(2, name.as_ptr().cast(), name.len());
        libc::write(2, c"\n".as_ptr().cast(), 1);
        libc::_exit(1)
    }
}
