//! `run`: creates and starts a container, and waits for it unless detached.

use std::os::fd::BorrowedFd;

use coracle::{Container, Error, ExitStatus, KillTarget, Signal};

use super::{creation, id};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::foreground::{self, Program};
use crate::notify::Notify;
use crate::root;
use crate::signals::Signals;
use crate::terminal::Relay;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<u8, Failure> {
    let id = id(matches)?;
    let runtime = root::runtime(globals)?;
    let bundle = creation::bundle(matches)?;
    let detached = matches.switch("detach");
    let options = creation::options(globals, matches, &bundle, detached)?;
    root::prepare(globals)?;
    let signals = (!detached).then(Signals::block).transpose()?;
    let container = runtime.create(&id, &bundle, &options)?;
    let done = start(container, signals.as_ref());
    let delete = !matches.switch("keep") && (done.is_err() || !detached);
    if delete {
        let deleted = runtime.delete(&id, true);
        // The first failure is the one to report.
        if done.is_ok() {
            deleted?;
        }
    }
    Ok(done?)
}

/// Starts the container and, with signals to pass on, waits for its end.
fn start(mut container: Container, signals: Option<&Signals>) -> Result<u8, Error> {
    // Before the start, so that the program finds its terminal in the right size.
    let relay = container.take_console().map(Relay::new).transpose()?;
    let notify = Notify::open(&container)?;
    container.start()?;
    match (signals, notify) {
        (Some(signals), notify) => {
            foreground::attend(&container, signals, (relay, notify.as_ref()))
        }
        (None, Some(notify)) => notify.await_ready(&container).map(|()| 0),
        (None, None) => Ok(0),
    }
}

impl Program for Container {
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd()
    }

    fn forward(&self, signal: i32) {
        if let Some(signal) = Signal::from_number(signal) {
            // The container may have ended in between, and the pidfd says so next.
            let _ = self.kill(signal, KillTarget::Init);
        }
    }

    fn wait(&self) -> Result<ExitStatus, Error> {
        self.wait()
    }
}
