//! The directories of a checkpoint.

use std::fs::{DirBuilder, File, Metadata, Permissions};
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

    /// Lets a group read the images, and those before that they go on from, until the answer is dropped. A
    /// container with ids of its own reads them when its processes have those already.
    ///
    /// # Errors
    /// The failure of a system call, with the path.
    pub(crate) fn allow(&self, group: u32) -> Result<Allowed<'_>> {
        // What two restores found at once they would put back wrongly.
        self.directory.lock().attempt_on("lock", &self.path)?;
        let mut allowed = Allowed { directory: &self.directory, before: Vec::new() };
        let mut chain = Vec::new();
        let mut next = self.path.clone();
        loop {
            let directory = next.canonicalize().attempt_on("find the directory", &next)?;
            // Somebody has made a circle.
            if chain.contains(&directory) {
                break;
            }
            allowed.give_directory(&directory, group)?;
            // criu makes this link at a dump, and reads what is not in the later images through it.
            next = directory.join("parent");
            chain.push(directory);
            if !next.is_symlink() {
                break;
            }
        }
        Ok(allowed)
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

/// What a group may read meanwhile. When this is dropped, groups and modes are those of before.
#[derive(Debug)]
pub(crate) struct Allowed<'a> {
    directory: &'a File,
    before: Vec<(PathBuf, Metadata)>,
}

impl Allowed<'_> {
    fn give_directory(&mut self, directory: &Path, group: u32) -> Result<()> {
        self.give(directory, group, 0o050)?;
        for entry in std::fs::read_dir(directory).attempt_on("list", directory)? {
            let path = entry.attempt_on("list", directory)?.path();
            let is_image = path.extension().is_some_and(|extension| extension == "img");
            if is_image && path.symlink_metadata().is_ok_and(|found| found.is_file()) {
                self.give(&path, group, 0o040)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, path: &Path, group: u32, more: u32) -> Result<()> {
        let found = path.metadata().attempt_on("look at", path)?;
        let mode = found.mode() & 0o7777;
        // As others it may already.
        if mode & (more >> 3) == more >> 3 {
            return Ok(());
        }
        self.before.push((path.to_owned(), found));
        chown(path, None, Some(group)).attempt_on("change the group of", path)?;
        let mode = Permissions::from_mode(mode | more);
        std::fs::set_permissions(path, mode).attempt_on("change the mode of", path)
    }
}

impl Drop for Allowed<'_> {
    fn drop(&mut self) {
        for (path, found) in self.before.iter().rev() {
            let mode = Permissions::from_mode(found.mode() & 0o7777);
            let again = std::fs::set_permissions(path, mode)
                .and_then(|()| chown(path, None, Some(found.gid())));
            if let Err(error) = again {
                log::warn!("put group and mode of {} back: {error}", path.display());
            }
        }
        let _unlocked = self.directory.unlock();
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_group_reads_all_images_of_a_chain_and_only_for_a_time() {
        const GROUP: u32 = 4711;
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root may give files to a group");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let names = [
            "first",
            "first/pages-1.img",
            "second",
            "second/core-1.img",
            "second/descriptors.json",
        ];
        for name in ["first", "second"] {
            make_directory(&path(name)).expect(name);
        }
        for name in names.into_iter().filter(|name| name.contains('.')) {
            std::fs::write(path(name), "").expect(name);
            std::fs::set_permissions(path(name), Permissions::from_mode(0o600)).expect(name);
        }
        symlink("../first", path("second/parent")).expect("a link");
        symlink("../second", path("first/parent")).expect("a circle");
        let look = || {
            names.map(|name| {
                let found = path(name).metadata().expect(name);
                (found.gid(), found.mode() & 0o7777)
            })
        };
        let before = look();
        let options = CriuOptions { images: path("second"), ..CriuOptions::default() };
        let images = Images::open(&options, false).expect("the images");
        let allowed = images.allow(GROUP).expect("allowed");
        let other = File::open(path("second")).expect("the directory");
        assert!(other.try_lock().is_err(), "nobody else may change them meanwhile");
        let expected = [0o750, 0o640, 0o750, 0o640].map(|mode| (GROUP, mode));
        assert_eq!(look()[..4], expected);
        assert_eq!(look()[4], before[4]);
        drop(allowed);
        assert_eq!(look(), before);
        other.try_lock().expect("the lock");
    }
}
