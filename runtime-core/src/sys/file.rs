//! Small files of the kernel.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
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
