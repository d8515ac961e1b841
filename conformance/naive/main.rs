//! An INSECURE container runtime. It exists to be attacked, and must never be installed.
//!
//! It does everything the obvious way: paths are strings that are joined and used, what the image
//! says is believed, numbers are cut to fit, and whatever the caller or this program has open, set or
//! raised goes on into the container. A test for an attack is worth something only if it fails here:
//! `expect/naive.txt` lists the cases that must.
//!
//! It refuses to run unless `CONFORMANCE_NAIVE=insecure` is in its environment, and it makes files
//! only in the folder that holds its state root, so that an attack which succeeds cannot harm the
//! machine. The programs in its containers are not confined.

mod exec;
mod image;
mod init;
mod life;
mod line;
mod mounts;
mod users;

use std::io::Write;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::line::Line;

/// What goes wrong, in words.
pub(crate) type Done<T = ()> = Result<T, String>;

/// The most memory that this program may take: an image that makes it read without end must not
/// take the machine's.
const MEMORY: u64 = 512 << 20;

fn main() -> ExitCode {
    let allowed = std::env::var("CONFORMANCE_NAIVE").is_ok_and(|word| word == "insecure");
    let line = Line::read();
    let result = if allowed && line.option("--version").is_some() {
        std::io::stdout().write_all(b"naive: insecure\n").map(|()| 0).map_err(|e| e.to_string())
    } else if allowed {
        verb(&line)
    } else {
        Err("an insecure runtime for tests; set CONFORMANCE_NAIVE=insecure to run it".to_owned())
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "naive: {message}");
            ExitCode::FAILURE
        }
    }
}

fn verb(line: &Line) -> Done<u8> {
    let (_, hard) = getrlimit(Resource::RLIMIT_AS).map_err(|error| error.to_string())?;
    setrlimit(Resource::RLIMIT_AS, MEMORY.min(hard), hard).map_err(|error| error.to_string())?;
    match line.verb.as_str() {
        "create" => life::create(line, false),
        "run" => life::create(line, true),
        "start" => life::start(line),
        "state" => life::state(line),
        "kill" => life::kill(line),
        "delete" => life::delete(line),
        "exec" => exec::exec(line),
        "mounts add" => mounts::add(line),
        "mounts remove" => mounts::remove(line),
        "mounts" if line.option("--help").is_some() => Ok(0),
        "spec" => life::spec(),
        "init" => init::main(line),
        "exec-init" => exec::main(line),
        other => Err(format!("Usage: naive VERB; {other:?} is none")),
    }
}
