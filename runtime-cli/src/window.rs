//! The size of a terminal window.

#![allow(unsafe_code, reason = "nix has no safe form of the two terminal requests")]

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use nix::libc::{TIOCGWINSZ, TIOCSWINSZ, winsize};

nix::ioctl_read_bad!(get_size, TIOCGWINSZ, winsize);
nix::ioctl_write_ptr_bad!(set_size, TIOCSWINSZ, winsize);

/// The size of a terminal (`TIOCGWINSZ`; ioctl_tty(2)).
///
/// # Errors
/// The failed request: it is no terminal.
pub(crate) fn size(of: impl AsFd) -> nix::Result<winsize> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open while it is borrowed, and the kernel writes one winsize.
    unsafe { get_size(of.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// Changes the size of a terminal (`TIOCSWINSZ`; ioctl_tty(2)).
///
/// # Errors
/// The failed request.
pub(crate) fn resize(terminal: impl AsFd, size: winsize) -> nix::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads one winsize.
    unsafe { set_size(terminal.as_fd().as_raw_fd(), &raw const size) }?;
    Ok(())
}
