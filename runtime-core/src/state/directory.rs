//! The directory of one container.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::plan::NOTIFY_SOCKET;
use crate::program::MAX_SLOTS;

/// How the names of device nodes begin.
const NODE: &str = "node";

/// The name of the socket on which the init program waits for `start`.
pub(crate) const START_SOCKET: &str = "start.sock";

/// The name of the directory for the socket that takes messages to the service manager.
pub(crate) const NOTIFY_DIRECTORY: &str = "notify";

/// The root is the caller's to name, also by a link.
const ROOT: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

const DIRECTORY: OFlag = ROOT.union(OFlag::O_NOFOLLOW);

/// The open directory of a container below the state root.
#[derive(Debug)]
pub(crate) struct Directory {
    root: OwnedFd,
    path: PathBuf,
    id: ContainerId,
    /// A file, since the standard library has the locks of flock(2): gone with the descriptor.
    fd: File,
}

impl Directory {
    /// Makes the directory, which must not exist, and takes its lock.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], or the failure of a system call.
    pub(crate) fn create(root: &Path, id: &ContainerId) -> Result<Self> {
        let path = root.join(id.as_str());
        let root_fd = open_or_make_root(root)?;
        match mkdirat(&root_fd, id.as_str(), Mode::S_IRWXU) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                let message = format!("container with given ID already exists: {id}");
                return Err(Error::new(ErrorKind::AlreadyExists, message)
                    .with_hint("delete it first or use another name"));
            }
            Err(errno) => {
                return Err(Error::system("make the state directory", errno as i32).with_path(path));
            }
        }
        // Whoever looks at a new directory may hold its lock for a moment, or even delete it.
        Self::open_with(root, id, File::lock).inspect_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                let _undone = unlinkat(&root_fd, id.as_str(), UnlinkatFlags::RemoveDir);
            }
        })
    }

    /// Opens the directory of a container and takes its lock, waiting for other commands.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or the failure of a system call.
    pub(crate) fn open_locked(root: &Path, id: &ContainerId) -> Result<Self> {
        Self::open_with(root, id, File::lock)
    }

    /// The same with a lock that any number of commands can share, but none that changes the
    /// container.
    ///
    /// # Errors
    /// As [`Directory::open_locked`].
    pub(crate) fn open_shared(root: &Path, id: &ContainerId) -> Result<Self> {
        Self::open_with(root, id, File::lock_shared)
    }

    fn open_with(root: &Path, id: &ContainerId, kind: fn(&File) -> io::Result<()>) -> Result<Self> {
        let Reader { root, path, fd } = Reader::open(root, id)?;
        lock(&fd, &path, kind)?;
        Self { root, path, id: id.clone(), fd }.still_there()
    }

    /// The same, but while another command holds the lock, `meanwhile` is called every 10 ms, for at
    /// most `bound`.
    ///
    /// # Errors
    /// As [`Directory::open_locked`]; [`ErrorKind::TimedOut`] after `bound`.
    pub(crate) fn seize(
        root: &Path,
        id: &ContainerId,
        bound: Duration,
        mut meanwhile: impl FnMut(&Reader),
    ) -> Result<Self> {
        let end = Instant::now() + bound;
        loop {
            let reader = Reader::open(root, id)?;
            match reader.fd.try_lock() {
                Ok(()) => {
                    let Reader { root, path, fd } = reader;
                    return Self { root, path, id: id.clone(), fd }.still_there();
                }
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    meanwhile(&reader);
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let message = format!("another command holds the lock of container {id}");
                    return Err(Error::new(ErrorKind::TimedOut, message).with_path(reader.path));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).attempt_on("lock the state directory", &reader.path);
                }
            }
        }
    }

    /// Lets commands take the lock that [`Directory::open_shared`] takes; those that change the
    /// container still wait.
    ///
    /// # Errors
    /// The failure of flock; [`ErrorKind::NotFound`], as the kernel gives the one lock up before it
    /// takes the other, and a deletion may come in between.
    pub(crate) fn share(self) -> Result<Self> {
        lock(&self.fd, &self.path, File::lock_shared)?;
        self.still_there()
    }

    /// A deletion that held the lock before us has removed the directory that we opened.
    fn still_there(self) -> Result<Self> {
        let stat = nix::sys::stat::fstat(&self).attempt_on("stat", &self.path)?;
        if stat.st_nlink == 0 { Err(not_found(&self.id)) } else { Ok(self) }
    }

    /// The name of the container.
    pub(crate) fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path to `name` below the directory that is short enough for a socket address, however deep the
    /// state root lies; valid in this process only.
    pub(crate) fn short_path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()))
    }

    /// A path below the directory for a device node that exists while the container is made. Valid in
    /// this process only.
    pub(crate) fn node_path(&self, index: usize) -> PathBuf {
        self.short_path(&format!("{NODE}{index}"))
    }

    /// Replaces a file atomically.
    ///
    /// # Errors
    /// The failure of a system call, with the file's path; a half-written file is removed.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = format!(".{name}");
        let path = self.path.join(name);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd = openat(self, temporary.as_str(), flags, mode).attempt_on("create", &path)?;
        let written = File::from(fd).write_all(content).attempt_on("write", &path).and_then(|()| {
            renameat(self, temporary.as_str(), self, name).attempt_on("rename", &path)
        });
        if written.is_err() {
            let _half = unlinkat(self, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Removes a file; a missing one is fine.
    ///
    /// # Errors
    /// The failure of unlinkat.
    pub(crate) fn unlink(&self, name: &str) -> Result<()> {
        match unlinkat(self, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(Error::system("remove", errno as i32).with_path(self.path.join(name)))
            }
        }
    }

    /// Removes the directory and what it holds; the container is gone then.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn remove(&self) -> Result<()> {
        for name in ["state.json", "journal", "filter", START_SOCKET, ".state.json", ".filter"] {
            self.unlink(name)?;
        }
        let whole = || unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir);
        let mut removed = whole();
        if removed == Err(Errno::ENOTEMPTY) {
            removed = match self.remove_notify_directory() {
                Ok(()) | Err(Errno::ENOENT) => whole(),
                failed => failed,
            };
        }
        if removed == Err(Errno::ENOTEMPTY) {
            // A command that was killed while it made the container could not remove them.
            for index in 0..MAX_SLOTS {
                self.unlink(&format!("{NODE}{index}"))?;
            }
            removed = whole();
        }
        match removed {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(Error::system("remove the state directory", errno as i32).with_path(&self.path))
            }
        }
    }

    /// Makes the directory for the socket to the service manager, which the container's users may enter.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn make_notify_directory(&self) -> Result<()> {
        let path = self.path.join(NOTIFY_DIRECTORY);
        let mode = Mode::from_bits_truncate(0o755);
        mkdirat(self, NOTIFY_DIRECTORY, mode)
            // The umask counts for mkdir only.
            .and_then(|()| fchmodat(self, NOTIFY_DIRECTORY, mode, FchmodatFlags::FollowSymlink))
            .attempt_on("make the directory", &path)
    }

    fn remove_notify_directory(&self) -> nix::Result<()> {
        let socket = format!("{NOTIFY_DIRECTORY}/{NOTIFY_SOCKET}");
        match unlinkat(self, socket.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {
                unlinkat(self, NOTIFY_DIRECTORY, UnlinkatFlags::RemoveDir)
            }
            other => other,
        }
    }

    /// Reads a file whole; `None` if it is missing.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read(self.as_fd(), &self.path, name)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The directory of a container, opened without its lock: for commands that only look.
#[derive(Debug)]
pub(crate) struct Reader {
    root: OwnedFd,
    path: PathBuf,
    fd: File,
}

impl Reader {
    /// Opens it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or the failure of a system call.
    pub(crate) fn open(root: &Path, id: &ContainerId) -> Result<Self> {
        let path = root.join(id.as_str());
        let root_fd = match openat(AT_FDCWD, root, ROOT, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Err(not_found(id)),
            Err(errno) => {
                return Err(Error::system("open the state root", errno as i32).with_path(root));
            }
        };
        match openat(&root_fd, id.as_str(), DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { root: root_fd, path, fd: fd.into() }),
            Err(Errno::ENOENT) => Err(not_found(id)),
            Err(errno) => {
                Err(Error::system("open the state directory", errno as i32).with_path(path))
            }
        }
    }

    /// Reads a file whole; `None` if it is missing.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read(self.fd.as_fd(), &self.path, name)
    }

    /// Whether a file exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
        nix::sys::stat::fstatat(&self.fd, name, flags).is_ok()
    }

    /// Whether a command that changes the container is at work.
    pub(crate) fn is_locked(&self) -> bool {
        match self.fd.try_lock_shared() {
            Ok(()) => {
                let _released = self.fd.unlock();
                false
            }
            Err(error) => matches!(error, TryLockError::WouldBlock),
        }
    }
}

fn lock(fd: &File, path: &Path, lock: fn(&File) -> io::Result<()>) -> Result<()> {
    loop {
        match lock(fd) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.attempt_on("lock the state directory", path),
        }
    }
}

fn not_found(id: &ContainerId) -> Error {
    Error::new(ErrorKind::NotFound, format!("container {:?} does not exist", id.as_str()))
}

fn read(directory: BorrowedFd<'_>, path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let fd = match openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(Error::system("open", errno as i32).with_path(path.join(name))),
    };
    let mut content = Vec::new();
    File::from(fd).read_to_end(&mut content).attempt_on("read", &path.join(name))?;
    Ok(Some(content))
}

/// Opens the state root, making it (and its parents, 0711) where it is missing.
fn open_or_make_root(root: &Path) -> Result<OwnedFd> {
    if root.as_os_str().as_bytes() == b"/" {
        return Err(Error::new(
            ErrorKind::InvalidSpec,
            "the state root cannot be the root directory",
        ));
    }
    match openat(AT_FDCWD, root, ROOT, Mode::empty()) {
        Ok(fd) => return Ok(fd),
        Err(Errno::ENOENT) => {}
        Err(errno) => {
            return Err(Error::system("open the state root", errno as i32).with_path(root));
        }
    }
    let mut made = PathBuf::new();
    for part in root.components() {
        made.push(part);
        match mkdirat(AT_FDCWD, &made, Mode::S_IRWXU | Mode::S_IXGRP | Mode::S_IXOTH) {
            Ok(()) | Err(Errno::EEXIST | Errno::EROFS | Errno::EACCES) => {}
            Err(errno) => {
                return Err(Error::system("make the state root", errno as i32).with_path(made));
            }
        }
    }
    openat(AT_FDCWD, root, ROOT, Mode::empty()).attempt_on("open the state root", root)
}
