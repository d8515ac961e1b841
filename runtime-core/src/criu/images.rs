//! The directories of a checkpoint.

use std::fs::{DirBuilder, File, Permissions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::options::CriuOptions;
use crate::error::{Attempt, Error, ErrorKind, Result};

/// The open directories of images and log.
#[derive(Debug)]
pub(crate) struct Images {
    directory: File,
    path: PathBuf,
    work: Option<(File, PathBuf)>,
}

impl Images {
    /// Opens the directories; that of the log is made, and with `make` that of the images as well. Images
    /// hold the memory of programs, so that nobody else can look into a directory that is made.
    ///
    /// # Errors
    /// The failure of a system call, with the path.
    pub(crate) fn open(options: &CriuOptions, make: bool) -> Result<Self> {
        if options.images.as_os_str().is_empty() {
            return Err(Error::new(ErrorKind::InvalidSpec, "no directory is named for the images"));
        }
        if make {
            make_directory(&options.images)?;
        }
        let work = options.work.as_ref().map(|path| {
            make_directory(path)?;
            Ok((open(path)?, path.clone()))
        });
        let directory = open(&options.images)?;
        Ok(Self { directory, path: options.images.clone(), work: work.transpose()? })
    }

    /// The same directories by the mounts of a process that has its own: criu mounts in its working
    /// directory, which the kernel lets it only there.
    ///
    /// # Errors
    /// The failure of a system call, with the path.
    pub(crate) fn seen_by(&self, pid: i32) -> Result<Self> {
        let seen = |path: &Path| {
            let real = path.canonicalize().attempt_on("find the directory", path)?;
            let mut root = PathBuf::from(format!("/proc/{pid}/root"));
            root.push(real.strip_prefix("/").unwrap_or(&real));
            open(&root)
        };
        let work = self.work.as_ref().map(|(_, path)| Ok((seen(path)?, path.clone())));
        let work = work.transpose()?;
        Ok(Self { directory: seen(&self.path)?, path: self.path.clone(), work })
    }

    /// The number of the directory of images.
    pub(crate) fn fd(&self) -> RawFd {
        self.directory.as_raw_fd()
    }

    /// The number of the directory of the log, if it is another one.
    pub(crate) fn work(&self) -> Option<RawFd> {
        self.work.as_ref().map(|(directory, _)| directory.as_raw_fd())
    }

    /// Lets a group read the images. A container with ids of its own reads them when its processes have
    /// those already.
    ///
    /// # Errors
    /// The failure of a system call, with the path.
    pub(crate) fn allow(&self, group: u32) -> Result<()> {
        give(&self.path, group, 0o050)?;
        for entry in std::fs::read_dir(&self.path).attempt_on("list", &self.path)? {
            let path = entry.attempt_on("list", &self.path)?.path();
            if path.symlink_metadata().is_ok_and(|found| found.is_file()) {
                give(&path, group, 0o040)?;
            }
        }
        Ok(())
    }

    /// The path of a file in the directory of images.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path of the log.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.work.as_ref().map_or(&self.path, |(_, path)| path).join(name)
    }

    /// Checks the directory of the images before, which criu takes from this one on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] for a path that is absolute or leads to no directory.
    pub(crate) fn check_parent(&self, parent: &Path) -> Result<()> {
        if parent.is_absolute() {
            return Err(Error::new(ErrorKind::InvalidSpec, "--parent-path must be relative"));
        }
        let path = self.path.join(parent);
        match open(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.context("invalid --parent-path")),
        }
    }
}

fn give(path: &Path, group: u32, more: u32) -> Result<()> {
    let found = path.metadata().attempt_on("look at", path)?;
    // As others it may already.
    if found.mode() & (more >> 3) == more >> 3 {
        return Ok(());
    }
    chown(path, None, Some(group)).attempt_on("change the group of", path)?;
    let mode = Permissions::from_mode(found.mode() & 0o7777 | more);
    std::fs::set_permissions(path, mode).attempt_on("change the mode of", path)
}

fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .attempt_on("make the directory", path)
}

fn open(path: &Path) -> Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_CLOEXEC;
    File::options().read(true).custom_flags(flags).open(path).attempt_on("open the directory", path)
}
