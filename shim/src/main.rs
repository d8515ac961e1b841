//! The coracle shim for containerd: one small process for each pod, which runs containers through the
//! library.

mod flags;
#[allow(dead_code, reason = "nothing serves yet")]
mod io;
#[allow(dead_code, reason = "nothing serves yet")]
mod log;
#[allow(dead_code, reason = "nothing serves yet")]
mod oom;
#[allow(dead_code, reason = "nothing serves yet")]
mod readiness;
#[allow(dead_code, reason = "nothing serves yet")]
mod stats;

use std::env;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use flags::{Action, Flags};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let done = Flags::parse(&arguments).and_then(|flags| run(&flags));
    match done {
        Ok(output) => match stdout().write_all(&output) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => {
            // When standard error is gone there is nobody left to tell.
            let _ = stderr().write_all(format!("{NAME}: {message}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for, and returns what belongs on standard output.
fn run(flags: &Flags) -> Result<Vec<u8>, String> {
    match flags.action {
        Action::Version => Ok(format!("{NAME}:\n  Version:  {VERSION}\n").into_bytes()),
        Action::Info | Action::Start | Action::Delete => {
            Err("running containers for containerd is not supported yet".to_owned())
        }
        Action::None => Err("nothing to do: start or delete is missing".to_owned()),
    }
}
