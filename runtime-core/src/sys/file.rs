//! Small files of the kernel.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use nix::unistd::read;

/// Reads a file of /proc or /sys whole, a page at a time: these files have no size that could be
/// asked for, and a growing buffer costs a system call for each of its sizes.
///
/// # Errors
/// The failure of openat or read.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    // openat, as the C library's open makes a second call to mark the descriptor.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = openat(AT_FDCWD, path, flags, Mode::empty())?;
    let mut text = Vec::new();
    let mut page = [0; 4096];
    loop {
        match read(&file, &mut page) {
            Ok(0) => break,
            Ok(count) => text.extend(page.iter().take(count)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    String::from_utf8(text).map_err(io::Error::other)
}

/// A duplicate with the lowest free number from `first` on, which execve closes (fcntl(2)).
///
/// # Errors
/// `EINVAL` or `EMFILE`: the limit of open files allows no such number.
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, first: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
