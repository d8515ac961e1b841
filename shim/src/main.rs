//! The coracle shim for containerd: one small process for each pod, which runs containers through the
//! library.
//!
//! All state is on one loop ([`shim`], [`task`]); whatever can block runs on threads that end with it
//! ([`worker`]). The processes are children of the shim and their ends are seen by their descriptors.

mod bootstrap;
mod children;
mod delete;
mod events;
mod failure;
mod flags;
mod frame;
mod info;
mod io;
mod log;
mod message;
mod oom;
mod options;
mod place;
mod readiness;
mod rootfs;
mod run;
mod server;
mod service;
mod sha256;
mod shim;
mod start;
mod stats;
mod sys;
mod task;
mod worker;

use std::env;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use failure::Failure;
use flags::{Action, Flags};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let done = Flags::parse(&arguments).map_err(Failure::invalid).and_then(|flags| act(&flags));
    match done {
        Ok(output) => match stdout().write_all(&output) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            // When standard error is gone there is nobody left to tell.
            let _ = stderr().write_all(format!("{NAME}: {failure}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for, and returns what belongs on standard output.
fn act(flags: &Flags) -> Result<Vec<u8>, Failure> {
    match flags.action {
        Action::Version => Ok(format!("{NAME}:\n  Version:  {VERSION}\n").into_bytes()),
        Action::Info => info::info(),
        Action::Start => start::start(flags).map(Option::unwrap_or_default),
        Action::Delete => delete::delete(flags),
        Action::None => Err(Failure::invalid("nothing to do: start or delete is missing")),
    }
}
