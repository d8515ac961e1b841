//! Namespaces by descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::statfs::{FsType, fstatfs};

use super::check;

/// The type of the file system that the files of namespaces are on (`NSFS_MAGIC` of the kernel).
const NSFS: FsType = FsType(0x6e73_6673);
/// The request of ioctl_ns(2) for the type.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The `CLONE_NEW*` flag of a namespace; `None` for a file that is none.
///
/// # Errors
/// The failure of fstatfs or ioctl.
pub(crate) fn flag(file: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    // Other files give their own meaning to the request.
    if fstatfs(file)?.filesystem_type() != NSFS {
        return Ok(None);
    }
    // SAFETY: the request takes no argument.
    let answer = check(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) }.into())?;
    u32::try_from(answer).map(Some).map_err(io::Error::other)
}
