//! The coracle shim for containerd.
//!
//! Only `-v` and `--version` work in this version; everything else is refused with a clear error.

use std::env;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use lexopt::Arg;

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let mut parser = lexopt::Parser::from_args(env::args_os().skip(1));
    let first = parser.next();
    if let Ok(Some(Arg::Short('v') | Arg::Long("version"))) = first {
        let text = format!("{NAME}:\n  Version:  {VERSION}\n");
        return match stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let text = format!("{NAME}: running containers for containerd is not supported yet\n");
    // When standard error is gone there is nobody left to tell.
    let _ = stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}
