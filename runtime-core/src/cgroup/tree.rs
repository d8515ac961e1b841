//! Files and directories below the base of the cgroup file systems, by directory descriptors.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, read, unlinkat, write};

use crate::error::{Attempt, Result};

/// The largest control file that is read: far above a page, which most are.
const MAX_READ: usize = 64 << 20;
/// More than a line of a list of processes.
const MARGIN: usize = 32;

/// The base directory, `/sys/fs/cgroup`. Paths given to its methods are relative to it; they come
/// from a checked `cgroupsPath` and have no `..`, and cgroup file systems have no symbolic links.
#[derive(Debug)]
pub(super) struct Tree {
    base: OwnedFd,
    path: PathBuf,
}

impl Tree {
    pub(super) fn open(base: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat(AT_FDCWD, base, flags, Mode::empty())
            .attempt_on("open the cgroup root", base)?;
        Ok(Self { base: fd, path: base.to_owned() })
    }

    /// The base itself.
    pub(super) fn base(&self) -> BorrowedFd<'_> {
        self.base.as_fd()
    }

    /// The absolute path of something below the base, for messages.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    pub(super) fn make(&self, path: &str) -> nix::Result<()> {
        mkdirat(&self.base, path, Mode::from_bits_truncate(0o755))
    }

    /// Opens a directory, as a handle only.
    pub(super) fn directory(&self, path: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.base, path, flags, Mode::empty())
    }

    pub(super) fn write(&self, directory: &str, file: &str, value: &str) -> nix::Result<()> {
        // Some names come from the configuration: hugetlb.<size>.max, the keys of `unified`.
        if file.contains('/') {
            return Err(Errno::EINVAL);
        }
        write_file(self.base.as_fd(), &format!("{directory}/{file}"), value)
    }

    /// Opens a control file for several writes.
    pub(super) fn writable(&self, directory: &str, file: &str) -> nix::Result<OwnedFd> {
        openat(&self.base, &*format!("{directory}/{file}"), WRITE, Mode::empty())
    }

    /// Opens a control file to be read more than once.
    pub(super) fn readable(&self, directory: &str, file: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.base, &*format!("{directory}/{file}"), flags, Mode::empty())
    }

    /// Opens a control file that is written and then polled.
    pub(super) fn changeable(&self, directory: &str, file: &str) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.base, &*format!("{directory}/{file}"), flags, Mode::empty())
    }

    pub(super) fn read(&self, directory: &str, file: &str) -> nix::Result<String> {
        read_file(self.base.as_fd(), &format!("{directory}/{file}"))
    }

    /// The processes of a directory and of everything below it.
    pub(super) fn processes(&self, path: &str) -> nix::Result<Vec<i32>> {
        let mut pids = Vec::new();
        let top = match self.directory(path) {
            Err(Errno::ENOENT) => return Ok(pids),
            top => top?,
        };
        let mut enter = |directory: BorrowedFd<'_>| {
            match read_file(directory, "cgroup.procs") {
                // 0 stands for a process outside this pid namespace.
                Ok(text) => {
                    pids.extend(
                        text.lines()
                            .filter_map(|pid| pid.parse().ok())
                            .filter(|pid: &i32| *pid != 0),
                    );
                }
                // A threaded cgroup: its processes are listed in the domain above. Or it is gone.
                Err(Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
            Ok(())
        };
        walk(top, &mut enter, &mut |_, _| Ok(()))?;
        Ok(pids)
    }

    /// Writes a value to a file of a directory and of everything below it, the top first.
    pub(super) fn write_below(&self, path: &str, file: &str, value: &str) -> nix::Result<()> {
        let mut enter = |directory: BorrowedFd<'_>| match write_file(directory, file, value) {
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(()),
            done => done,
        };
        walk(self.directory(path)?, &mut enter, &mut |_, _| Ok(()))
    }

    /// Removes a directory with everything below it. `EBUSY`: it has processes.
    pub(super) fn remove(&self, path: &str) -> nix::Result<()> {
        match absent_is_fine(self.remove_one(path)) {
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
            done => return done,
        }
        let top = match self.directory(path) {
            Err(Errno::ENOENT) => return Ok(()),
            top => top?,
        };
        let mut leave = |parent: BorrowedFd<'_>, name: &CStr| {
            absent_is_fine(unlinkat(parent, name, UnlinkatFlags::RemoveDir))
        };
        walk(top, &mut |_| Ok(()), &mut leave)?;
        absent_is_fine(self.remove_one(path))
    }

    /// Removes one directory that has neither processes nor directories below.
    pub(super) fn remove_one(&self, path: &str) -> nix::Result<()> {
        unlinkat(&self.base, path, UnlinkatFlags::RemoveDir)
    }
}

const WRITE: OFlag =
    OFlag::O_WRONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW).union(OFlag::O_NOCTTY);

/// Writes a control file with one write.
pub(super) fn write_file(directory: BorrowedFd<'_>, file: &str, value: &str) -> nix::Result<()> {
    write_value(openat(directory, file, WRITE, Mode::empty())?.as_fd(), value)
}

/// One write to an open control file: the kernel takes each write as one whole command.
pub(super) fn write_value(file: BorrowedFd<'_>, value: &str) -> nix::Result<()> {
    loop {
        match write(file, value.as_bytes()) {
            Err(Errno::EINTR) => {}
            done => return done.map(drop),
        }
    }
}

/// Reads a whole file of one record (`/proc/PID/cgroup`) by its absolute path.
pub(super) fn read_path(path: &str) -> Result<String> {
    read_file(AT_FDCWD, path).attempt_on("read", Path::new(path))
}

/// Reads a whole control file.
pub(super) fn read_file(directory: BorrowedFd<'_>, file: &str) -> nix::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(directory, file, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < MAX_READ {
        match read(&file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                bytes.extend(buffer.iter().take(count));
                // These files are made as one record, or (lists of processes) of records that are
                // shorter than this margin: a read that leaves it empty was the last.
                if count + MARGIN < buffer.len() {
                    break;
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn absent_is_fine(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

type Enter<'a> = dyn FnMut(BorrowedFd<'_>) -> nix::Result<()> + 'a;
type Leave<'a> = dyn FnMut(BorrowedFd<'_>, &CStr) -> nix::Result<()> + 'a;

/// Visits a directory and all below it: `enter` before the children of a directory, `leave` after
/// them, with its parent and its name (not for the top). Two descriptors are open at a time,
/// however deep a container nested its cgroups, and no path grows; cgroups cannot be moved to
/// another parent, so `..` is where the walk came from.
fn walk(top: OwnedFd, enter: &mut Enter<'_>, leave: &mut Leave<'_>) -> nix::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut current = top;
    enter(current.as_fd())?;
    let mut pending = vec![children(current.as_fd())?];
    let mut names: Vec<CString> = Vec::new();
    while let Some(siblings) = pending.last_mut() {
        if let Some(name) = siblings.pop() {
            current = match openat(&current, &*name, flags, Mode::empty()) {
                Err(Errno::ENOENT) => continue,
                child => child?,
            };
            enter(current.as_fd())?;
            pending.push(children(current.as_fd())?);
            names.push(name);
        } else {
            pending.pop();
            if let Some(name) = names.pop() {
                current = openat(&current, "..", flags, Mode::empty())?;
                leave(current.as_fd(), &name)?;
            }
        }
    }
    Ok(())
}

/// The names of the directories in a directory.
fn children(directory: BorrowedFd<'_>) -> nix::Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    let mut listing = match Dir::openat(directory, ".", flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(names),
        listing => listing?,
    };
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
