//! Opening the two ends of a stream: the one that leads to the client and the pipe to the process.
//! Nothing here waits for a client.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Gid, Uid, fchown, pipe2};

/// What is at a path, opened for writing to it.
///
/// A fifo is opened for reading too: then the open never waits nor fails without a reader, and a process
/// that writes while the client is away blocks instead of getting `SIGPIPE` (fifo(7)).
///
/// # Errors
/// The path and the failed call.
pub(super) fn output(path: &Path) -> io::Result<OwnedFd> {
    let kind =
        fs::metadata(path).map_err(|error| named("standard stream", path, &error))?.file_type();
    let file = OpenOptions::new()
        .write(true)
        .read(kind.is_fifo())
        .append(kind.is_file())
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path);
    file.map(OwnedFd::from).map_err(|error| named("open the standard stream", path, &error))
}

/// A file to write to the end of; it and its directories are made.
///
/// # Errors
/// As [`output`].
pub(super) fn log_file(path: &Path) -> io::Result<OwnedFd> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .map_err(|error| named("make the directory", directory, &error))?;
    }
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file =
        OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path);
    file.map(OwnedFd::from).map_err(|error| named("open the log file", path, &error))
}

/// What to read from.
#[derive(Debug)]
pub(super) enum Input {
    /// A fifo, held open for writing as well: its readers get no end of file until that is given up.
    Held(OwnedFd),
    /// Something else, which the process can read itself.
    Direct(OwnedFd),
}

/// What is at a path, opened for reading from it.
///
/// # Errors
/// As [`output`].
pub(super) fn input(path: &Path) -> io::Result<Input> {
    let kind =
        fs::metadata(path).map_err(|error| named("standard stream", path, &error))?.file_type();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NOCTTY.bits());
    if kind.is_fifo() {
        options.write(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    }
    let file = options.open(path);
    let fd = file.map_err(|error| named("open the standard stream", path, &error))?.into();
    Ok(if kind.is_fifo() { Input::Held(fd) } else { Input::Direct(fd) })
}

/// `/dev/null`.
///
/// # Errors
/// The failure of open.
pub(super) fn null() -> io::Result<OwnedFd> {
    let path = Path::new("/dev/null");
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map(OwnedFd::from).map_err(|error| named("open", path, &error))
}

/// A fifo that is open, opened once more and only for one direction.
///
/// # Errors
/// The failure of open.
pub(super) fn narrowed(fifo: impl AsFd, flag: OFlag) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fifo.as_fd().as_raw_fd());
    let read = flag == OFlag::O_RDONLY;
    let file: File = OpenOptions::new()
        .read(read)
        .write(!read)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    Ok(file.into())
}

/// Whether it is open for both reading and writing.
pub(super) fn is_both(fd: impl AsFd) -> bool {
    let flags = fcntl(&fd, FcntlArg::F_GETFL).unwrap_or_default();
    flags & OFlag::O_ACCMODE.bits() == OFlag::O_RDWR.bits()
}

/// Whether it is a pipe that nobody reads.
pub(super) fn is_broken(writing: impl AsFd) -> bool {
    let mut polled = [PollFd::new(writing.as_fd(), PollFlags::POLLOUT)];
    let told = poll(&mut polled, PollTimeout::ZERO).is_ok();
    told && polled
        .iter()
        .any(|one| one.revents().is_some_and(|got| got.contains(PollFlags::POLLERR)))
}

/// A pipe. Of its two ends, the shim's does not block, and the process's is its to open again.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
}

impl Pipe {
    /// Makes one that belongs to a user and group.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn new(ids: Option<(u32, u32)>) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        if let Some((user, group)) = ids {
            fchown(&read, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).map_err(
                |errno| {
                    let error = io::Error::from(errno);
                    io::Error::new(error.kind(), format!("give a pipe to {user}:{group}: {error}"))
                },
            )?;
        }
        Ok(Self { read, write })
    }
}

/// Makes reading and writing return instead of waiting.
///
/// # Errors
/// The failure of fcntl.
pub(super) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn named(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action} {}: {error}", path.display()))
}
