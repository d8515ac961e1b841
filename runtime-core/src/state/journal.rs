//! The list of what a command is about to leave behind.
//!
//! A line is written before the act it announces. Lines are complete or missing: a torn last line is
//! ignored, since its act had not begun.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::identity::Identity;
use crate::cgroup;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::rdt;

const NAME: &str = "journal";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// A container is being created.
    Creating(Beginning),
    /// These cgroups are about to be made.
    Cgroup(cgroup::Record),
    /// These directories of the resctrl file system are about to be made.
    Resctrl(rdt::Group),
    /// They are gone again.
    ResctrlGone,
    /// This process was started and waits for leave to go on.
    Init(Identity),
    /// This process runs a hook, or is criu; as leader of a process group of its own, but for criu with a
    /// job of a shell.
    Hook(Identity),
    /// The container is gone but for its name; the hooks that follow are those of its end.
    Ended,
}

/// What is known of a container from the first moment of its creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    /// The root file system on the host.
    pub(crate) rootfs: PathBuf,
    /// When the creation began, RFC 3339 with nanoseconds.
    pub(crate) created: String,
    /// The user id that creates it.
    pub(crate) owner: u32,
}

/// The journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opens it.
    ///
    /// # Errors
    /// The failure of openat.
    pub(crate) fn open(directory: &Directory) -> Result<Self> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC;
        let fd = openat(directory, NAME, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .attempt_on("open", &directory.path().join(NAME))?;
        Ok(Self(File::from(fd)))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The failure of write: the announced act must not be done then.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).map_err(|error| {
            Error::new(ErrorKind::System, format!("encode a journal line: {error}"))
        })?;
        line.push(b'\n');
        self.0.write_all(&line).attempt("write the journal")
    }

    /// Writes down that this process runs a hook, so that a deletion by force can end it.
    ///
    /// # Errors
    /// As [`Journal::append`]; a process that has ended.
    pub(crate) fn note_hook(&mut self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<()> {
        self.append(&Entry::Hook(Identity::of(pid, pidfd)?))
    }

    /// The complete lines of a journal's bytes, in order.
    pub(crate) fn entries(bytes: &[u8]) -> Vec<Entry> {
        bytes
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| line.ends_with(b"\n"))
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// The file's name in the state directory.
    pub(crate) const fn name() -> &'static str {
        NAME
    }
}
