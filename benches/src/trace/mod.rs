//! System calls of a program and of all processes it makes, by ptrace: how many, which, how long.

mod names;
mod timeline;
mod tracer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, raise};
use serde_json::{Value, json};

use crate::Outcome;

pub(crate) use names::name;
pub(crate) use timeline::show;
pub(crate) use tracer::{Trace, trace};

/// Stops, and becomes the program once the tracer has attached and continues it.
pub(crate) fn stop_then_execute(words: &[OsString]) -> Outcome<()> {
    let (program, arguments) = words.split_first().ok_or("a program is missing")?;
    raise(Signal::SIGSTOP)?;
    Err(Command::new(program).args(arguments).exec().into())
}

/// The number of calls by name.
pub(crate) fn by_name(trace: &Trace) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in &trace.calls {
        *counts.entry(name(call.number)).or_insert(0) += 1;
    }
    counts
}

/// The result of `count`.
pub(crate) fn count(words: &[OsString], messages: &Path) -> Outcome<Value> {
    let trace = trace(words, messages)?;
    let processes: std::collections::BTreeSet<i32> =
        trace.calls.iter().map(|call| call.pid).collect();
    Ok(json!({
        "total": trace.calls.len(),
        "processes": processes.len(),
        "calls": by_name(&trace),
    }))
}
