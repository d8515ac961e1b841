//! Giving a container's cgroup to the user that its root is outside (runtime-spec, config-linux.md,
//! "Cgroup ownership").

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};

use crate::cgroup::tree::read_path;
use crate::error::{Error, Result};

/// What is given where the kernel does not say (before Linux 4.15, or without sysfs).
const USUAL: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Changes the owner of the directory and of the files that the kernel lists for this.
pub(super) fn give(directory: BorrowedFd<'_>, user: u32, group: u32) -> Result<()> {
    let list = read_path("/sys/kernel/cgroup/delegate");
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
    let (owner, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    for name in list.as_deref().unwrap_or(USUAL).lines().chain([""]) {
        match fchownat(directory, name, owner, group, flags) {
            // Files of controllers that are not enabled.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => {
                let what = format!("give {name:?} of the cgroup to user {user}:");
                return Err(Error::system(what, errno as i32));
            }
        }
    }
    Ok(())
}
