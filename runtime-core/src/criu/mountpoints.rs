//! The mount points of a container that is to be restored: criu mounts, but does not make them.

use std::ffi::{OsStr, OsString};
use std::fs::read_link;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

use crate::error::{Attempt, Error, Result};

/// What a mount point has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// A directory of the host that is part of what a container sees: paths are looked up inside of it.
#[derive(Debug)]
pub(super) struct Tree {
    directory: OwnedFd,
    path: PathBuf,
}

impl Tree {
    /// Opens it.
    ///
    /// # Errors
    /// The failure of openat, with the path.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let directory = openat(AT_FDCWD, path, flags, Mode::empty()).attempt_on("open", path)?;
        let path = link(directory.as_fd()).attempt_on("find", path)?;
        Ok(Self { directory, path })
    }

    /// Makes a mount point where it is missing, and answers where it is in the tree by its real path: with
    /// a slash before it, and without links.
    ///
    /// # Errors
    /// The failure of a system call, with the path.
    pub(super) fn make(&self, path: &Path, shape: Shape) -> Result<PathBuf> {
        let failed =
            |errno: Errno| Error::system("make the mount point", errno as i32).with_path(path);
        let found = self.ensure(&relative(path), shape).map_err(failed)?;
        let real = link(found.as_fd()).attempt_on("find the mount point", path)?;
        Ok(Path::new("/").join(real.strip_prefix(&self.path).unwrap_or(Path::new(""))))
    }

    fn ensure(&self, path: &Path, shape: Shape) -> nix::Result<OwnedFd> {
        match self.look_up(path) {
            Err(Errno::ENOENT) => {}
            found => return found,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::ENOENT);
        };
        let parent = self.ensure(parent, Shape::Directory)?;
        match make_one(parent.as_fd(), name, shape) {
            Ok(()) | Err(Errno::EEXIST) => self.look_up(path),
            Err(errno) => Err(errno),
        }
    }

    fn look_up(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.directory, path, how)
    }
}

fn make_one(parent: BorrowedFd<'_>, name: &OsStr, shape: Shape) -> nix::Result<()> {
    match shape {
        Shape::Directory => mkdirat(parent, name, Mode::from_bits_truncate(0o755)),
        Shape::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            openat(parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
        }
    }
}

fn link(fd: BorrowedFd<'_>) -> std::io::Result<PathBuf> {
    read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The path without slash before it and without dots.
pub(super) fn relative(path: &Path) -> PathBuf {
    let mut parts: Vec<OsString> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn mount_points_are_made_inside_whatever_links_there_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("run")).expect("directories");
        symlink("/run", root.join("var-run")).expect("a link");
        symlink("../../../..", root.join("up")).expect("a link");
        let tree = Tree::open(&root).expect("the tree");
        let make = |path: &str, shape| tree.make(Path::new(path), shape).expect(path);
        assert_eq!(make("/var-run/a/b", Shape::Directory), Path::new("/run/a/b"));
        assert_eq!(make("/up/c", Shape::File), Path::new("/c"));
        assert_eq!(make("/var-run/../x/./y", Shape::File), Path::new("/x/y"));
        assert_eq!(make("/", Shape::Directory), Path::new("/"));
        assert!(
            root.join("run/a/b").is_dir() && root.join("c").is_file() && root.join("x/y").is_file()
        );
        assert!(!directory.path().join("c").exists());
        let error =
            tree.make(Path::new("/c/d"), Shape::Directory).expect_err("a file is no directory");
        assert_eq!(error.errno(), Some(libc::ENOTDIR));
    }
}
