//! Starting the init program: clone3 with shared memory on a stack of its own, then execveat.
//!
//! The child is not a fork: it borrows the caller's memory (`CLONE_VM | CLONE_VFORK`) until it has
//! executed the sealed init program, so the cost does not depend on the size of the caller. Between
//! the two calls it runs [`child`], which makes system calls and nothing else: no allocation, no
//! lock, no thread-local storage but `errno`, whose owner is suspended meanwhile.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const STACK: usize = 32 * 1024;

/// What is started and how.
#[derive(Debug)]
pub(crate) struct Spawn<'a> {
    /// The executable, opened for reading or `O_PATH`.
    pub(crate) image: BorrowedFd<'a>,
    /// Its arguments.
    pub(crate) args: [&'a CStr; 3],
    /// `CLONE_NEW*` flags.
    pub(crate) namespaces: u64,
    /// A cgroup2 directory that the process is born into.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Files by which it enters further cgroups: it writes `0` to each before it executes the image.
    pub(crate) entrances: &'a [CString],
    /// The directory that these paths start from.
    pub(crate) entrance_directory: Option<BorrowedFd<'a>>,
    /// The one descriptor besides 0 to 2 that it gets, under the same number.
    pub(crate) control: BorrowedFd<'a>,
    /// Keep all capabilities across execve although the new user namespace has no id maps yet.
    pub(crate) ambient: bool,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// Its number in the caller's pid namespace.
    pub(crate) pid: i32,
    /// Its descriptor.
    pub(crate) pidfd: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What the child needs, in memory that it shares with the suspended caller.
struct Child {
    entrances: *const CString,
    entrance_count: usize,
    entrance_directory: RawFd,
    image: RawFd,
    control: RawFd,
    ambient: bool,
    args: [*const libc::c_char; 4],
    env: [*const libc::c_char; 1],
    errno: i32,
}

impl Spawn<'_> {
    /// Starts the process and returns when it has executed the image.
    ///
    /// # Errors
    /// The `errno` of the move to a cgroup (`ENOSPC`: cpuset.cpus or cpuset.mems is empty), of clone3 (`EPERM`, `ENOSPC`: too many namespaces, `EAGAIN`: too many processes)
    /// or of execveat; in both cases there is no process left.
    pub(crate) fn run(&self) -> io::Result<Spawned> {
        let [program, control, keep] = self.args;
        let mut shared = Child {
            entrances: self.entrances.as_ptr(),
            entrance_count: self.entrances.len(),
            entrance_directory: self.entrance_directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd()),
            image: self.image.as_raw_fd(),
            control: self.control.as_raw_fd(),
            ambient: self.ambient,
            args: [program.as_ptr(), control.as_ptr(), keep.as_ptr(), ptr::null()],
            env: [ptr::null()],
            errno: 0,
        };
        // A handler of the caller must not run in the child, which shares the caller's memory.
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        let started = self.clone_into(&mut shared);
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        let spawned = started?;
        if shared.errno == 0 {
            return Ok(spawned);
        }
        let _ended = super::pidfd::wait(std::os::fd::AsFd::as_fd(&spawned.pidfd));
        Err(io::Error::from_raw_os_error(shared.errno))
    }

    fn clone_into(&self, shared: &mut Child) -> io::Result<Spawned> {
        let mut stack = [const { MaybeUninit::<u128>::uninit() }; STACK / size_of::<u128>()];
        let mut pidfd: RawFd = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
        let mut args = CloneArgs {
            flags: u64::from(flags.cast_unsigned()) | self.namespaces,
            pidfd: (&raw mut pidfd).expose_provenance() as u64,
            exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
            stack: stack.as_mut_ptr().expose_provenance() as u64,
            stack_size: STACK as u64,
            ..CloneArgs::default()
        };
        if let Some(cgroup) = self.cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
        }
        // SAFETY: the stack and everything that `shared` points to live until the child has executed
        // the image or exited, as CLONE_VFORK suspends this thread until then.
        let result = unsafe { clone3(&raw mut args, ptr::from_mut(shared)) };
        if result < 0 {
            let errno = i32::try_from(-result).unwrap_or(libc::EINVAL);
            return Err(io::Error::from_raw_os_error(errno));
        }
        let pid = i32::try_from(result).map_err(io::Error::other)?;
        // SAFETY: the kernel has stored a new descriptor there; nobody else owns it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Spawned { pid, pidfd })
    }
}

/// The system call; in the child it calls [`child`] on the new stack and does not return.
///
/// # Safety
/// `args` must describe a stack and a `pidfd` that stay valid while the caller is suspended, with
/// `CLONE_VM | CLONE_VFORK` set; `shared` must be valid as long.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: *mut CloneArgs, shared: *mut Child) -> libc::c_long {
    let result: libc::c_long;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11. The child starts after `syscall` with
    // rax = 0 and rsp at the top of the new stack (16-byte aligned) and never comes back from `child`.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") shared,
            in("r13") child as unsafe extern "C" fn(*mut Child) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above, for the other architecture.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: *mut CloneArgs, shared: *mut Child) -> libc::c_long {
    let result: libc::c_long;
    // SAFETY: the kernel keeps all registers but x0. The child starts after `svc` with x0 = 0 and sp at
    // the top of the new stack (16-byte aligned) and never comes back from `child`.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args => result,
            in("x1") size_of::<CloneArgs>(),
            in("x20") shared,
            in("x21") child as unsafe extern "C" fn(*mut Child) -> !,
            lateout("x30") _,
        );
    }
    result
}

/// What the new process does before it is the init program.
///
/// # Safety
/// `shared` must point to a [`Child`] whose pointers are valid, in memory shared with a suspended caller.
unsafe extern "C" fn child(shared: *mut Child) -> ! {
    // SAFETY: the caller is suspended, so this is the only reference.
    let shared = unsafe { &mut *shared };
    if shared.ambient {
        raise_ambient();
    }
    // SAFETY: the caller's slice lives as long as it is suspended.
    let entrances = unsafe { std::slice::from_raw_parts(shared.entrances, shared.entrance_count) };
    for entrance in entrances {
        // SAFETY: the path ends in NUL; the buffer is one static byte.
        let written = unsafe {
            let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
            let fd = libc::openat(shared.entrance_directory, entrance.as_ptr(), flags);
            if fd < 0 { -1 } else { libc::write(fd, c"0".as_ptr().cast(), 1) }
        };
        if written < 0 {
            // SAFETY: errno is this thread's; the process ends here.
            unsafe {
                shared.errno = *libc::__errno_location();
                libc::_exit(127)
            }
        }
    }
    // SAFETY: both descriptors are open in this process, which has a copy of the caller's table; the
    // argument vectors end in null.
    unsafe {
        libc::fcntl(shared.control, libc::F_SETFD, 0);
        libc::syscall(
            libc::SYS_execveat,
            shared.image,
            c"".as_ptr(),
            shared.args.as_ptr(),
            shared.env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        shared.errno = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// Makes every permitted capability ambient: execve by a process whose user id is not mapped yet would
/// otherwise lose them all. What fails here shows in the first step that lacks a capability.
fn raise_ambient() {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: version 3 of the call reads this header and fills two records of three numbers.
    unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    let [low, high] = &mut sets;
    for [_effective, permitted, inheritable] in [&mut *low, &mut *high] {
        *inheritable = *permitted;
    }
    let permitted = u64::from(low[1]) | u64::from(high[1]) << 32;
    // SAFETY: as above; the call reads the two records.
    unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) };
    for capability in (0..u64::BITS).filter(|bit| permitted >> bit & 1 == 1) {
        // SAFETY: the call takes numbers only.
        unsafe {
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0);
        }
    }
}
