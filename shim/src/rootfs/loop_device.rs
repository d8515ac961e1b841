//! Files as block devices (loop(4)).

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::sys;

/// How often a free device may be taken by somebody else first.
const ATTEMPTS: u32 = 100;

/// Makes a block device of a file. It is given up by itself once it is neither open nor mounted.
///
/// # Errors
/// There are no loop devices; the file cannot be opened.
pub(super) fn attach(file: &Path, read_only: bool) -> Result<(PathBuf, File), Failure> {
    let open = |path: &Path, write: bool| {
        OpenOptions::new()
            .read(true)
            .write(write)
            .open(path)
            .map_err(|error| Failure::from(error).context(&format!("open {}", path.display())))
    };
    let backing = open(file, !read_only)?;
    let control = open(Path::new("/dev/loop-control"), true)?;
    let mut attempts = 0;
    loop {
        let number = sys::free_loop_device(control.as_fd())
            .map_err(|error| Failure::from(error).context("find a free loop device"))?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path, !read_only)?;
        match sys::configure_loop_device(device.as_fd(), backing.as_fd(), read_only) {
            Ok(()) => return Ok((path, device)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempts < ATTEMPTS => {
                attempts += 1;
            }
            Err(error) => {
                return Err(Failure::from(error).context(&format!("set {} up", path.display())));
            }
        }
    }
}
