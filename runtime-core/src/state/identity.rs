//! Which process a record means: a pid alone may by now belong to another one.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Result};
use crate::sys::pidfd;

/// `PID_FS_MAGIC`: descriptors of processes have an inode each (Linux 6.9, cb12fd8e0dab).
const PIDFS: u32 = 0x5049_4446;

/// A process for good: its pid and what tells it from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The pid in the pid namespace of the state root's owner.
    pub(crate) pid: i32,
    /// The inode of its pidfd; 0 where the kernel gives all pidfds the same.
    pidfd_inode: u64,
    /// Its start time in clock ticks since boot; 0 where the inode tells.
    start_time: u64,
    /// The first half of the number of the boot in which it was started: both inodes and start times
    /// count from zero in each. 0 where it is not known.
    #[serde(default)]
    boot: u64,
}

impl Identity {
    /// The identity of the process behind a pidfd.
    ///
    /// # Errors
    /// The failure of a system call, or a process that has ended.
    pub(crate) fn of(pid: i32, pidfd: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self { boot: boot(), ..Self::in_any_boot(pid, pidfd)? })
    }

    fn in_any_boot(pid: i32, pidfd: BorrowedFd<'_>) -> Result<Self> {
        let kind = fstatfs(pidfd).attempt("statfs of a pidfd")?.filesystem_type().0;
        if u32::try_from(kind) == Ok(PIDFS) {
            let pidfd_inode = fstat(pidfd).attempt("stat of a pidfd")?.st_ino;
            return Ok(Self { pid, pidfd_inode, start_time: 0, boot: 0 });
        }
        Ok(Self { pid, pidfd_inode: 0, start_time: start_time(pid)?, boot: 0 })
    }

    /// Opens the process; `None` if it has ended or its number belongs to another one. A zombie counts
    /// as ended, and so does a process that is on its way there (its pidfd is readable).
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let pidfd = self.open_even_ended()?;
        (!has_ended(pidfd.as_fd())).then_some(pidfd)
    }

    /// The same, but a zombie that was not reaped yet is returned too.
    pub(crate) fn open_even_ended(&self) -> Option<OwnedFd> {
        let pidfd = pidfd::open(self.pid).ok()?;
        let found = Self::in_any_boot(self.pid, pidfd.as_fd()).ok()?;
        let same = found == Self { boot: 0, ..*self } && self.is_of_this_boot();
        same.then_some(pidfd)
    }

    /// A state root that outlives a boot may name a process whose number is taken again.
    fn is_of_this_boot(&self) -> bool {
        let boot = boot();
        self.boot == boot || self.boot == 0 || boot == 0
    }
}

/// Whether the process has ended (it may still be a zombie).
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

/// The first half of the number that the kernel draws at each boot; 0 if it cannot be read.
fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).unwrap_or(0)
    })
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)), as it is outside of time namespaces: each reader is
/// shown the clock of its own.
fn start_time(pid: i32) -> Result<u64> {
    let path = std::path::PathBuf::from(format!("/proc/{pid}/stat"));
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .attempt_on("read", &path)?;
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = after_name.split_ascii_whitespace().nth(19);
    let shown: i64 = field.and_then(|field| field.parse().ok()).unwrap_or(0);
    Ok(u64::try_from(shown - own_offset()).unwrap_or(0))
}

/// By how many clock ticks this process's boot is shown too early (time_namespaces(7)); 0 where there are
/// no time namespaces.
fn own_offset() -> i64 {
    let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    boot_offset(&text).unwrap_or(0)
}

/// The ticks are hundredths of a second on every architecture (`USER_HZ`).
fn boot_offset(text: &str) -> Option<i64> {
    let words: Vec<&str> = text
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .find(|words| matches!(words.first(), Some(&("boottime" | "7"))))?;
    let number = |at: usize| words.get(at)?.parse::<i64>().ok();
    number(1)?.checked_mul(100)?.checked_add(number(2)? / 10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("pid");
        let pidfd = pidfd::open(pid).expect("pidfd");
        let identity = Identity::of(pid, pidfd.as_fd()).expect("identity");
        assert!(identity.open().is_some());
        let other = Identity { pid: 1, ..identity };
        assert!(other.open().is_none(), "pid 1 is not the child");
        let before = Identity { boot: identity.boot ^ 1, ..identity };
        assert!(before.open().is_none(), "the same number in another boot");
        let text = serde_json::to_string(&identity).expect("JSON");
        let older = text.replace(&format!(",\"boot\":{}", identity.boot), "");
        assert_ne!(older, text);
        let older: Identity = serde_json::from_str(&older).expect("a record without a boot");
        assert!(older.open().is_some());
        child.kill().expect("kill");
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        assert!(identity.open().is_none(), "a zombie has ended");
        child.wait().expect("wait");
        assert!(identity.open_even_ended().is_none());
    }

    #[test]
    fn the_offset_of_the_own_clock_is_taken_off() {
        let text = "monotonic           5         0\nboottime      864000  70000000\n";
        assert_eq!(boot_offset(text), Some(86_400_007));
        assert_eq!(boot_offset("monotonic 5 0\n"), None);
        assert_eq!(own_offset(), 0, "the tests run outside of time namespaces");
    }

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let pid = i32::try_from(std::process::id()).expect("pid");
        assert!(start_time(pid).expect("start time") > 0);
    }
}
