//! The program that the conformance suite runs inside containers and as a hook.
//!
//! Every argument is an operation, `name` or `name=argument,argument…`. They run in order and
//! each prints one JSON line: `{"op": …, "ok": …}` or `{"op": …, "errno": "EPERM"}`.

mod agent;
mod console;
mod ops;
mod report;
mod sys;

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use crate::ops::Step;

fn main() -> ExitCode {
    for op in std::env::args().skip(1) {
        let (name, argument) = op.split_once('=').unwrap_or((&op, ""));
        let line = match ops::perform(name, argument) {
            Ok(Step::Done(value)) => json!({ "op": op, "ok": value }),
            Ok(Step::Exit(code)) => return ExitCode::from(code),
            Ok(Step::Silent) => continue,
            Err(errno) => json!({ "op": op, "errno": errno }),
        };
        let mut text = line.to_string();
        text.push('\n');
        // A closed standard output must not change what the other operations do.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    ExitCode::SUCCESS
}
