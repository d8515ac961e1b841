//! The relay between this command's terminal and the one of the container.

use std::io::{Stdin, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coracle::Error;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::winsize;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

use crate::window;

/// A pipe or terminal that polls as writable takes at least this much without blocking.
const CHUNK: usize = 4096;

/// How long output may still trickle in when the program has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Copies between the standard streams and the master of a container's terminal, and keeps this
/// command's own terminal in raw mode meanwhile.
#[derive(Debug)]
pub(crate) struct Relay {
    master: OwnedFd,
    input: Pump,
    output: Pump,
    /// Restored on drop.
    _raw: Option<Raw>,
}

impl Relay {
    /// Begins to relay; standard input becomes raw if it is a terminal.
    ///
    /// # Errors
    /// The failed system call.
    pub(crate) fn new(master: OwnedFd) -> Result<Self, Error> {
        // Neither side may block the other, nor the waiting for signals and for the end.
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| Error::system("prepare the terminal", errno as i32))?;
        let relay = Self { master, input: Pump::new(), output: Pump::new(), _raw: Raw::enter() };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of this one.
    pub(crate) fn resize(&self) {
        if let Some(size) = own_size() {
            let _ = window::resize(&self.master, size);
        }
    }

    /// What to wait for: the descriptors and events of input and output.
    pub(crate) fn interests<'a>(
        &'a self,
        stdin: BorrowedFd<'a>,
        stdout: BorrowedFd<'a>,
    ) -> [Option<PollFd<'a>>; 2] {
        let master = self.master.as_fd();
        [self.input.interest(stdin, master), self.output.interest(master, stdout)]
    }

    /// Moves what can be moved without blocking, in the ready directions.
    pub(crate) fn copy(&mut self, input: bool, output: bool) {
        let master = self.master.as_fd();
        if input {
            self.input.turn(stdin().as_fd(), master);
        }
        if output {
            self.output.turn(master, stdout().as_fd());
        }
    }

    /// Copies the last output of a program that has ended.
    ///
    /// The kernel passes output from the program's end to the master in a worker, so it can arrive
    /// a little after the program's death. Other processes may hold the terminal open for ever, so
    /// this ends at a pause as well as at the end.
    pub(crate) fn drain(&mut self) {
        let begin = Instant::now();
        let pause = PollTimeout::from(20_u8);
        while begin.elapsed() < LAST_OUTPUT {
            let out = stdout();
            let Some(interest) = self.output.interest(self.master.as_fd(), out.as_fd()) else {
                return;
            };
            match poll(&mut [interest], pause) {
                Ok(0) => return,
                Ok(_) | Err(Errno::EINTR) => self.copy(false, true),
                Err(_) => return,
            }
        }
    }
}

/// The size of the terminal that this command runs in, if it runs in one.
pub(crate) fn own_size() -> Option<winsize> {
    let size = window::size(stdin()).or_else(|_| window::size(stdout()));
    size.or_else(|_| window::size(stderr())).ok()
}

/// One direction: bytes that were read and not written yet.
#[derive(Debug)]
struct Pump {
    buffer: [u8; CHUNK],
    first: usize,
    end: usize,
    open: bool,
}

impl Pump {
    const fn new() -> Self {
        Self { buffer: [0; CHUNK], first: 0, end: 0, open: true }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.first..self.end).unwrap_or_default()
    }

    fn interest<'a>(&self, from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Option<PollFd<'a>> {
        if !self.pending().is_empty() {
            Some(PollFd::new(to, PollFlags::POLLOUT))
        } else if self.open {
            Some(PollFd::new(from, PollFlags::POLLIN))
        } else {
            None
        }
    }

    /// Does the one thing that [`interest`](Self::interest) waited for.
    fn turn(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        if self.pending().is_empty() {
            match read(from, &mut self.buffer) {
                Ok(count) if count > 0 => (self.first, self.end) = (0, count),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // A master fails with EIO once nobody has the terminal open.
                Ok(_) | Err(_) => self.open = false,
            }
            return;
        }
        match write(to, self.pending()) {
            Ok(count) => self.first += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                // Nobody reads any more: go on reading, so that the program does not block.
                self.first = self.end;
            }
        }
    }
}

/// Standard input in raw mode, until dropped.
#[derive(Debug)]
struct Raw {
    input: Stdin,
    before: Termios,
}

impl Raw {
    /// `None` if standard input is no terminal.
    fn enter() -> Option<Self> {
        let input = stdin();
        let before = tcgetattr(&input).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&input, SetArg::TCSANOW, &raw).ok()?;
        Some(Self { input, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone, and then it needs nothing.
        let _ = tcsetattr(&self.input, SetArg::TCSADRAIN, &self.before);
    }
}
