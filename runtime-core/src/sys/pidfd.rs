//! Processes by descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ioctl_readwrite;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::check;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By exit with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// A descriptor for the process `pid` (pidfd_open(2)).
///
/// # Errors
/// `ESRCH` if there is none.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let number = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let number = RawFd::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The number of the process in the caller's pid namespace, as /proc tells it (proc_pid_fdinfo(5)); `None`
/// without that file, 0 or -1 for a process outside or one that is gone.
pub(crate) fn number(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(path).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Sends `signal` to the process (pidfd_send_signal(2)).
///
/// # Errors
/// `ESRCH` once it has been reaped, `EPERM` without privilege, `EINVAL` for a bad number.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the information pointer may be null; the rest are numbers.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// Waits for a child process to end and reaps it (waitid(2), `P_PIDFD`).
///
/// # Errors
/// `ECHILD` if the process is not a child of the caller or has been reaped.
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    loop {
        match wait_with(pidfd, libc::WEXITED) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same without waiting; `None` while the process lives.
///
/// # Errors
/// As [`wait`].
pub(crate) fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    wait_with(pidfd, libc::WEXITED | libc::WNOHANG)
}

/// The same within a bound; `None` when the process still lives then, as one does that a freezer holds.
///
/// # Errors
/// As [`wait`]; the failure of poll(2).
pub(crate) fn wait_within(pidfd: BorrowedFd<'_>, bound: Duration) -> io::Result<Option<Ended>> {
    if ended_within(pidfd, Some(bound))? { wait(pidfd).map(Some) } else { Ok(None) }
}

/// Waits for any process to end, without reaping it: whether it has within the bound (poll(2)).
///
/// # Errors
/// The failure of poll(2); interruptions are retried with the time that is left.
pub(crate) fn ended_within(pidfd: BorrowedFd<'_>, bound: Option<Duration>) -> io::Result<bool> {
    let end = bound.map(|bound| Instant::now() + bound);
    loop {
        let timeout = match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout) {
            Ok(0) if end.is_some_and(|end| Instant::now() >= end) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `PIDFD_INFO_EXIT`: the exit status is wanted, or was given (Linux 6.15).
const INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` in its first size, which all kernels know.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

ioctl_readwrite!(get_info, 0xFF, 11, Info);

/// How a process ended that somebody has reaped since the descriptor was opened (`PIDFD_GET_INFO`);
/// `None` before that, and before Linux 6.15.
pub(crate) fn ended(pidfd: BorrowedFd<'_>) -> Option<Ended> {
    let mut info = Info { mask: INFO_EXIT, ..Info::default() };
    // SAFETY: the request's size is that of `info`, which is writable and outlives the call.
    unsafe { get_info(pidfd.as_raw_fd(), &raw mut info) }.ok()?;
    (info.mask & INFO_EXIT != 0).then(|| Ended::of_wait_status(info.exit_code))
}

impl Ended {
    /// From the number that wait(2) gives.
    pub(crate) fn of_wait_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signaled(libc::WTERMSIG(status))
        } else {
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }
}

fn wait_with(pidfd: BorrowedFd<'_>, options: i32) -> io::Result<Option<Ended>> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: an all-zero siginfo_t is a valid value of that type.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable and outlives the call.
    let result = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, options) };
    check(libc::c_long::from(result))?;
    // SAFETY: waitid fills the SIGCHLD fields, and zero (no child yet) is valid as well.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Ended::Exited(status),
        _ => Ended::Signaled(status),
    }))
}
