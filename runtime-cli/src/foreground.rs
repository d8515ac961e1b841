//! Waiting for a program in the foreground: its end, signals to pass on, its terminal.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};

use coracle::{Error, ExitStatus};
use nix::errno::Errno;
use nix::libc::SIGWINCH;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::notify::Notify;
use crate::signals::Signals;
use crate::terminal::Relay;

/// A program that this command waits for.
pub(crate) trait Program {
    /// Readable when the program has ended.
    fn pidfd(&self) -> Option<BorrowedFd<'_>>;
    /// Passes a signal on. A program that has just ended is no reason to fail.
    fn forward(&self, signal: i32);
    /// Takes the exit status of the program that has ended.
    fn wait(&self) -> Result<ExitStatus, Error>;
}

/// Waits for the end of the program; the result is the exit status of this command.
///
/// The end is seen by the pidfd, never by SIGCHLD: a program may end before the command listens.
///
/// # Errors
/// A failed system call.
pub(crate) fn attend(
    program: &dyn Program,
    signals: &Signals,
    (mut relay, notify): (Option<Relay>, Option<&Notify>),
) -> Result<u8, Error> {
    if let Some(pidfd) = program.pidfd() {
        while !turn(program, pidfd, signals, (relay.as_mut(), notify))? {}
    }
    if let Some(relay) = &mut relay {
        relay.drain();
    }
    if let Some(notify) = notify {
        notify.forward();
    }
    let status = program.wait()?.code();
    // An exit status has eight bits.
    Ok(u8::try_from(status & 0xff).unwrap_or(u8::MAX))
}

/// Waits for something and does it; true when the program has ended.
fn turn(
    program: &dyn Program,
    pidfd: BorrowedFd<'_>,
    signals: &Signals,
    (mut relay, notify): (Option<&mut Relay>, Option<&Notify>),
) -> Result<bool, Error> {
    let (input, output) = (stdin(), stdout());
    let interests = match &relay {
        Some(relay) => relay.interests(input.as_fd(), output.as_fd()),
        None => [None, None],
    };
    let wanted = interests.each_ref().map(Option::is_some);
    let [in_interest, out_interest] = interests;
    // What is not waited for is looked at all the same, without events.
    let idle = || PollFd::new(pidfd, PollFlags::empty());
    let mut fds = [
        PollFd::new(pidfd, PollFlags::POLLIN),
        PollFd::new(signals.fd(), PollFlags::POLLIN),
        in_interest.unwrap_or_else(idle),
        out_interest.unwrap_or_else(idle),
        notify.map_or_else(idle, |notify| PollFd::new(notify.fd(), PollFlags::POLLIN)),
    ];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Error::system("wait for the program", errno as i32)),
    }
    let [ended, signal, input, output, message] = fds.map(|fd| fd.any().unwrap_or(true));
    if let Some(notify) = notify.filter(|_| message) {
        notify.forward();
    }
    if signal {
        while let Some(number) = signals.next() {
            match &relay {
                _ if number != SIGWINCH => program.forward(number),
                Some(relay) => relay.resize(),
                None => {}
            }
        }
    }
    if let Some(relay) = &mut relay {
        let [from_user, from_program] = wanted;
        relay.copy(from_user && input, from_program && output);
    }
    Ok(ended)
}
