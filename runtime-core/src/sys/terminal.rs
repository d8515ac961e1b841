//! Terminals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// The number below /dev/pts of the terminal with this master (ioctl_tty(2), `TIOCGPTN`).
///
/// # Errors
/// `ENOTTY` if it is no master.
pub(crate) fn number(master: BorrowedFd<'_>) -> io::Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the request stores one number, which outlives the call.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(libc::c_long::from(result))?;
    Ok(number)
}
