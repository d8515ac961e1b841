//! The standard streams of tasks, from the side of the client.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::failure::{Check, broken};
use crate::trial::Trial;

/// What a request says about the streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stdio {
    /// Where input comes from.
    pub(crate) stdin: String,
    /// Where output goes.
    pub(crate) stdout: String,
    /// Where errors go.
    pub(crate) stderr: String,
    /// Whether there is a terminal.
    pub(crate) terminal: bool,
}

/// The reading end of a fifo.
#[derive(Debug)]
pub(crate) struct Tap {
    file: File,
    /// What came so far.
    pub(crate) seen: Vec<u8>,
}

/// A new fifo in the directory of the case.
///
/// # Errors
/// It cannot be made.
pub(crate) fn fifo(trial: &Trial, name: &str) -> Check<PathBuf> {
    let path = trial.new_path(name);
    mkfifo(&path, Mode::from_bits_truncate(0o700))?;
    Ok(path)
}

/// A fifo for output, as a request names it, and the end that reads it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn outlet(trial: &Trial, name: &str) -> Check<(String, Tap)> {
    let path = fifo(trial, name)?;
    let tap = Tap::open(&path)?;
    Ok((path.display().to_string(), tap))
}

/// The writing end of a fifo that somebody reads.
///
/// # Errors
/// Nobody reads it in time.
pub(crate) fn feed(trial: &Trial, path: &str) -> Check<File> {
    let open = || {
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
    };
    trial.until("a reader of standard input", || open().is_ok())?;
    let file = open()?;
    let flags = nix::fcntl::OFlag::empty();
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(flags))?;
    Ok(file)
}

/// Writes all of it.
///
/// # Errors
/// The reader is gone.
pub(crate) fn put(mut file: &File, text: &str) -> Check {
    Ok(file.write_all(text.as_bytes())?)
}

impl Tap {
    /// Opens a fifo that nobody may have opened for writing yet.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn open(path: &Path) -> Check<Self> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file, seen: Vec::new() })
    }

    /// Reads what is there, and waits for it up to `limit`: true when something came, false when
    /// the last writer is gone and all is read.
    ///
    /// # Errors
    /// Neither happens in time.
    fn more(&mut self, limit: Duration) -> Check<bool> {
        let mut set = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let millis = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
        match poll(&mut set, PollTimeout::from(millis)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return broken(format!("poll: {error}")),
        }
        let seen = set.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if seen.contains(PollFlags::POLLIN) {
            let mut part = [0; 65_536];
            let count = self.file.read(&mut part)?;
            self.seen.extend(part.get(..count).unwrap_or_default());
            return Ok(true);
        }
        if seen.contains(PollFlags::POLLHUP) {
            return Ok(false);
        }
        broken(format!("nothing more came; so far {:?}", self.text()))
    }

    /// What came so far, as text.
    pub(crate) fn text(&self) -> String {
        let part = self.seen.get(..self.seen.len().min(2000)).unwrap_or_default();
        String::from_utf8_lossy(part).into_owned()
    }

    /// Reads until `part` is there.
    ///
    /// # Errors
    /// It does not come in time, or the end comes first.
    pub(crate) fn until(&mut self, part: &str) -> Check {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.text().contains(part) {
            if !self.more(end.saturating_duration_since(Instant::now()))? {
                return broken(format!("{part:?} did not come before the end: {:?}", self.text()));
            }
        }
        Ok(())
    }

    /// Reads to the end and returns all.
    ///
    /// # Errors
    /// The end does not come in time.
    pub(crate) fn rest(&mut self) -> Check<String> {
        self.drain(Duration::from_secs(10))?;
        Ok(self.text())
    }

    /// Reads to the end, within `limit`, and returns how much all of it is.
    ///
    /// # Errors
    /// The end does not come in time.
    pub(crate) fn drain(&mut self, limit: Duration) -> Check<usize> {
        let end = Instant::now() + limit;
        while self.more(end.saturating_duration_since(Instant::now()))? {}
        Ok(self.seen.len())
    }

    /// Reads to the end without keeping what comes, and returns how much it was.
    ///
    /// # Errors
    /// The end does not come in time.
    pub(crate) fn pour(&mut self, limit: Duration) -> Check<usize> {
        let end = Instant::now() + limit;
        let mut count = 0;
        while self.more(end.saturating_duration_since(Instant::now()))? {
            count += self.seen.len();
            self.seen.clear();
        }
        Ok(count)
    }
}
