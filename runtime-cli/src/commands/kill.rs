//! `kill`: sends a signal.

use coracle::{Container, ErrorKind, KillTarget, Signal, Status};

use super::{container, each_match};
use crate::args::{Globals, Matches};
use crate::failure::Failure;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let signal = matches.argument(1)?.map(str::parse::<Signal>);
    let signal = signal.transpose()?.unwrap_or(Signal::TERM);
    let all = matches.switch("all");
    if matches.switch("regex") {
        return each_match(globals, matches, |runtime, id| kill(&runtime.load(id)?, signal, all));
    }
    kill(&container(globals, matches)?, signal, all)
}

fn kill(container: &Container, signal: Signal, all: bool) -> Result<(), Failure> {
    if !all {
        container.kill(signal, KillTarget::Init)?;
        return Ok(());
    }
    match container.kill(signal, KillTarget::All) {
        // containerd kills what a stopped container left behind, which may be nothing.
        Err(error)
            if error.kind() == ErrorKind::WrongStatus
                && container.state()?.status == Status::Stopped =>
        {
            Ok(())
        }
        done => Ok(done?),
    }
}
