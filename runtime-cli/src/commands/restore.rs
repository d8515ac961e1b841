//! `restore`: makes a running container of the images of a checkpoint, and waits for it unless detached.

use coracle::{Container, Error, RestoreOptions};

use super::{checkpoint, creation, id};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::foreground;
use crate::root;
use crate::signals::Signals;
use crate::terminal::Relay;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<u8, Failure> {
    checkpoint::warn_if_rootless("restore");
    let id = id(matches)?;
    let runtime = root::runtime(globals)?;
    let bundle = creation::bundle(matches)?;
    let detached = matches.switch("detach");
    let terminal = bundle.spec().process.as_ref().is_some_and(|process| process.terminal);
    let mut options = RestoreOptions::default();
    options.criu = checkpoint::criu(matches)?;
    options.console = creation::console(terminal, detached, matches.path("console-socket"))?;
    options.pid_file = matches.path("pid-file");
    options.pidfd_socket = matches.path("pidfd-socket");
    options.cgroup_driver = globals.cgroup_driver;
    options.lsm_profile = matches.text("lsm-profile")?.map(str::to_owned);
    options.lsm_mount_context = matches.text("lsm-mount-context")?.map(str::to_owned);
    root::prepare(globals)?;
    let signals = (!detached).then(Signals::block).transpose()?;
    let container = runtime.restore(&id, &bundle, &options)?;
    let Some(signals) = signals else { return Ok(0) };
    let done = attend(container, &signals);
    let deleted = runtime.delete(&id, true);
    let status = done?;
    deleted?;
    Ok(status)
}

fn attend(mut container: Container, signals: &Signals) -> Result<u8, Error> {
    let relay = container.take_console().map(Relay::new).transpose()?;
    foreground::attend(&container, signals, (relay, None))
}
