//! Runs one container from inside a program: `embed BUNDLE [STATE_ROOT]`.
//!
//! The program is an ordinary multi-threaded one; nothing about it changes while containers are made.
#![allow(clippy::print_stderr, reason = "an example talks to its user")]

use std::process::ExitCode;

use coracle::{Bundle, CreateOptions, Result, Runtime};

fn main() -> ExitCode {
    env_logger::init();
    let mut args = std::env::args().skip(1);
    let Some(bundle) = args.next() else {
        eprintln!("usage: embed BUNDLE [STATE_ROOT]");
        return ExitCode::from(2);
    };
    let root = args.next().unwrap_or_else(|| "/run/coracle-embed".to_owned());
    match run(&bundle, &root) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bundle: &str, root: &str) -> Result<u8> {
    let runtime = Runtime::new(root);
    let bundle = Bundle::load(bundle)?;
    let id = format!("embed-{}", std::process::id()).parse()?;
    let container = runtime.create(&id, &bundle, &CreateOptions::default())?;
    let status = container.start().and_then(|()| {
        eprintln!("{} is {}", container.id(), container.state()?.status);
        container.wait()
    });
    runtime.delete(&id, true)?;
    Ok(u8::try_from(status?.code()).unwrap_or(u8::MAX))
}
