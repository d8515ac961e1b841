//! Moving bytes that are there, without waiting: by splice(2), which hands over pages of a pipe, or by
//! copying where the kernel refuses that (terminals, files open for appending).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

/// More than a pipe holds, unless it was enlarged to the system's limit.
const SPLICED: usize = 1 << 20;

/// What a pipe holds at first (16 pages of 4 KiB; pipe(7)). Who moves as much at once has not kept up.
const PIPE: usize = 64 << 10;

/// What the pipes of a busy stream hold: a gibibyte then costs a tenth of the wake-ups.
const BUSY_PIPE: i32 = 256 << 10;

/// Enough for what a terminal gives at once (4095), and for few calls where much is written to a file.
const COPIED: usize = 16 << 10;

/// What one step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something was moved.
    Moved,
    /// There is nothing to read now.
    Empty,
    /// The sink takes nothing now.
    Full,
    /// The source has ended.
    End,
    /// The sink has failed.
    Failed(Errno),
}

/// The state between two steps.
#[derive(Debug)]
pub(super) struct Transfer {
    way: Way,
    /// The pipes were enlarged, or cannot be.
    enlarged: bool,
}

#[derive(Debug)]
enum Way {
    Splice,
    Copy(Pending),
}

/// What was read and is still to be passed on. The memory is given back when all is written and no more comes.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    written: usize,
    filled: usize,
}

impl Transfer {
    /// By splice while the kernel does it.
    pub(super) const fn splicing() -> Self {
        Self { way: Way::Splice, enlarged: false }
    }

    /// By copying: for terminals, where splice copies too and in addition takes pages for more than
    /// there is.
    pub(super) fn copying() -> Self {
        Self { way: Way::Copy(Pending::default()), enlarged: true }
    }

    /// Forgets what was read and not written; `false` if that is still in the source.
    pub(super) fn forget(&mut self) -> bool {
        match &mut self.way {
            Way::Splice => false,
            Way::Copy(pending) => {
                *pending = Pending::default();
                true
            }
        }
    }

    /// Moves what is there. Neither descriptor blocks, except that writing to a file may take the time
    /// of the disk.
    pub(super) fn step(&mut self, source: &OwnedFd, sink: &OwnedFd) -> Outcome {
        loop {
            match &mut self.way {
                Way::Splice => match spliced(source, sink) {
                    Ok((outcome, count)) => {
                        if count >= PIPE && !self.enlarged {
                            self.enlarged = true;
                            enlarge(source, sink);
                        }
                        return outcome;
                    }
                    // Or the terminal has hung up, which reading tells as well.
                    Err(Errno::EINVAL | Errno::ENOSYS | Errno::EIO) => {
                        self.way = Way::Copy(Pending::default());
                    }
                    Err(errno) => return Outcome::Failed(errno),
                },
                Way::Copy(pending) => return pending.step(source, sink),
            }
        }
    }
}

/// Enlarges the pipes among the two, within what the user may have (pipe-user-pages-soft; pipe(7)).
fn enlarge(source: &OwnedFd, sink: &OwnedFd) {
    for pipe in [source, sink] {
        if fcntl(pipe, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < BUSY_PIPE) {
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(BUSY_PIPE));
        }
    }
}

fn spliced(source: &OwnedFd, sink: &OwnedFd) -> Result<(Outcome, usize), Errno> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        match splice(source, None, sink, None, SPLICED, flags) {
            Ok(0) => return Ok((Outcome::End, 0)),
            Ok(count) => return Ok((Outcome::Moved, count)),
            Err(Errno::EINTR) => {}
            // Either of the two.
            Err(Errno::EAGAIN) if is_readable(source) => return Ok((Outcome::Full, 0)),
            Err(Errno::EAGAIN) => return Ok((Outcome::Empty, 0)),
            Err(errno) => return Err(errno),
        }
    }
}

fn is_readable(source: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..))
}

impl Pending {
    fn step(&mut self, source: &OwnedFd, sink: &OwnedFd) -> Outcome {
        if self.written == self.filled {
            match self.fill(source) {
                Ok(0) | Err(Errno::EIO) => return Outcome::End,
                Ok(_) => {}
                Err(Errno::EAGAIN) => {
                    *self = Self::default();
                    return Outcome::Empty;
                }
                // No descriptor that is opened here fails otherwise; nothing more can be read.
                Err(_) => return Outcome::End,
            }
        }
        let rest = self.bytes.get(self.written..self.filled).unwrap_or_default();
        match write(sink, rest) {
            Ok(count) => {
                self.written += count;
                Outcome::Moved
            }
            Err(Errno::EINTR) => Outcome::Moved,
            Err(Errno::EAGAIN) => Outcome::Full,
            Err(errno) => Outcome::Failed(errno),
        }
    }

    fn fill(&mut self, source: &OwnedFd) -> Result<usize, Errno> {
        self.bytes.resize(COPIED, 0);
        (self.written, self.filled) = (0, 0);
        loop {
            match read(source, &mut self.bytes) {
                Err(Errno::EINTR) => {}
                Ok(count) => {
                    self.filled = count;
                    return Ok(count);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}
