//! The size of a terminal window.

#![allow(unsafe_code, reason = "nix has no safe form of this terminal request")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{TIOCSWINSZ, winsize};

nix::ioctl_write_ptr_bad!(set_size, TIOCSWINSZ, winsize);

/// Changes the size of a terminal (`TIOCSWINSZ`; ioctl_tty(2)).
///
/// # Errors
/// The failed request.
pub(super) fn resize(terminal: impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads one winsize.
    unsafe { set_size(terminal.as_fd().as_raw_fd(), &raw const size) }?;
    Ok(())
}
