//! The `coracle` command: a drop-in replacement for runc over the `coracle` library.
//!
//! The standard library has opened /dev/null on those of the file descriptors 0 to 2 that were
//! closed before `main` runs, so nothing that is opened here can be taken for a standard stream.

mod allocator;
mod args;
mod commands;
mod duration;
mod failure;
mod foreground;
mod log;
mod notify;
mod output;
mod pattern;
mod prometheus;
mod root;
mod signals;
mod size;
mod terminal;
mod version;
mod window;

use std::env;
use std::process::ExitCode;

use args::{Globals, Request};
use failure::Failure;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let program = arguments.next();
    let (globals, request) = args::parse(arguments);
    let done = match log::open(&globals) {
        Ok(()) => request.map_err(Failure::Usage),
        Err(error) => Err(error.into()),
    };
    let (status, failure_status) = match done {
        Ok(Request::Version) => (print(&version::text(program.as_deref())), 1),
        Ok(Request::Help(command)) => (print(&args::help::text(command)), 1),
        Ok(Request::Run(matches)) => {
            let failure_status = matches.command.failure;
            (run(&globals, &matches), failure_status)
        }
        Err(failure) => (Err(failure), 1),
    };
    ExitCode::from(status.unwrap_or_else(|failure| {
        log::failure(&failure);
        failure.status(failure_status)
    }))
}

fn print(text: &str) -> Result<u8, Failure> {
    output::text(text)?;
    Ok(0)
}

fn run(globals: &Globals, matches: &args::Matches) -> Result<u8, Failure> {
    commands::run(globals, matches)
}
