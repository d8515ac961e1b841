//! Device nodes for containers in user namespaces.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, major, makedev, minor, mknod, stat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, chown, unlinkat};

use super::sources::tree;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::plan::{Node, ShownDevice};
use crate::sys::mount;

/// A node under a name of the state directory, which ends with this value: the mount keeps the node.
#[derive(Debug)]
pub(crate) struct MadeNode(PathBuf);

impl MadeNode {
    /// Makes the node, and a detached mount that shows it and nothing else.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn new(path: PathBuf, node: &Node) -> Result<(Self, OwnedFd)> {
        let kind = SFlag::from_bits_truncate(node.mode & libc::S_IFMT);
        let number = makedev(node.major.into(), node.minor.into());
        // Nobody else can open it before it has its owner.
        mknod(&path, kind, Mode::empty(), number).attempt("make a device node")?;
        let made = Self(path);
        let tree = finish(&made.0, node)?;
        Ok((made, tree))
    }
}

impl Drop for MadeNode {
    fn drop(&mut self) {
        // What stays is removed with the state directory.
        let _removed = unlinkat(AT_FDCWD, &self.0, UnlinkatFlags::NoRemoveDir);
    }
}

fn finish(path: &Path, node: &Node) -> Result<OwnedFd> {
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    chown(path, Some(uid), Some(gid)).attempt("give a device node its owner")?;
    let mode = Mode::from_bits_truncate(node.mode);
    fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)
        .attempt("give a device node its mode")?;
    let tree = tree(path, false)?;
    // The state directory is mostly on a file system that is mounted nodev.
    mount::allow_devices(tree.as_fd()).attempt("let a device node work")?;
    Ok(tree)
}

/// Makes sure that the host's node is the device of the configuration.
///
/// # Errors
/// [`ErrorKind::InvalidSpec`] if it is another one; the failure to look at it.
pub(super) fn check(device: &ShownDevice) -> Result<()> {
    let hint =
        "without the privilege to make device nodes, the host's node of the same path is shown";
    let found = stat(&device.path)
        .attempt_on("look at the device", &device.path)
        .map_err(|error| error.with_hint(hint))?;
    let kind = found.st_mode & libc::S_IFMT;
    let number = (major(found.st_rdev), minor(found.st_rdev));
    if kind == device.kind && number == (device.number.0.into(), device.number.1.into()) {
        return Ok(());
    }
    let message = format!(
        "the host's file is the {} {}:{}, not {} {}:{}:",
        name(kind),
        number.0,
        number.1,
        name(device.kind),
        device.number.0,
        device.number.1,
    );
    Err(Error::new(ErrorKind::InvalidSpec, message).with_path(&device.path).with_hint(hint))
}

fn name(kind: u32) -> &'static str {
    match kind {
        libc::S_IFCHR => "character device",
        libc::S_IFBLK => "block device",
        _ => "file that is no device",
    }
}
