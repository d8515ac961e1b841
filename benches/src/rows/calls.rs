//! The system calls of one `create` and one `run`, of all processes together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::{Bundle, Payload};
use crate::runtime::Runtime;
use crate::statistics::count;
use crate::table::Table;
use crate::trace::{Trace, by_name, trace};

/// The numbers hardly vary (Go's scheduler makes some calls more or less), so few rounds will do.
const ROUNDS: usize = 3;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let mut columns: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for runtime in &bench.runtimes.clone() {
            for (row, verb) in [("create", "create"), ("run", "run")] {
                match once(bench, runtime, verb) {
                    Ok(trace) => {
                        let total = count(trace.calls.len());
                        bench.record(row, &runtime.name, ("syscalls", "", total));
                        if verb == "create" {
                            columns.insert(runtime.name.clone(), by_name(&trace));
                        }
                    }
                    Err(error) => {
                        crate::host::check_interrupt()?;
                        bench.notes.push(format!("calls: {} failed: {error}", runtime.name));
                    }
                }
            }
        }
    }
    if bench.options.trace_system_calls {
        let text = table(&bench.runtimes, &columns);
        bench.appendix.push(format!("system calls of one create\n{text}"));
    }
    Ok(())
}

/// Traces one command of a runtime in a fresh container and removes the container.
pub(crate) fn once(bench: &Bench, runtime: &Runtime, verb: &str) -> Outcome<Trace> {
    let payload = if verb == "run" { Payload::True } else { Payload::Pause };
    let bundle = bench.bundle(runtime, "calls", payload, None)?;
    let outcome = trace(&words(runtime, verb, &bundle), &bench.messages());
    if verb != "run" || outcome.is_err() {
        runtime.remove(&bundle);
    }
    outcome
}

fn words(runtime: &Runtime, verb: &str, bundle: &Bundle) -> Vec<OsString> {
    let command: Command = runtime.command(verb, bundle);
    let program = std::iter::once(command.get_program());
    program.chain(command.get_args()).map(OsString::from).collect()
}

/// One line per system call, one column per runtime, the most frequent first.
fn table(runtimes: &[Runtime], columns: &BTreeMap<String, BTreeMap<String, usize>>) -> String {
    let names: Vec<&str> = runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    let mut table = Table::new(&[&["call"], &names[..]].concat());
    let mut rows: BTreeMap<&String, Vec<usize>> = BTreeMap::new();
    for call in columns.values().flat_map(BTreeMap::keys) {
        let of = |name: &&str| columns.get(*name).and_then(|counts| counts.get(call)).copied();
        rows.insert(call, names.iter().map(|name| of(name).unwrap_or(0)).collect());
    }
    let mut rows: Vec<(&String, Vec<usize>)> = rows.into_iter().collect();
    rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().max().copied()));
    for (call, counts) in rows {
        let cells = counts
            .iter()
            .map(|count| if *count == 0 { String::from("-") } else { count.to_string() });
        table.push(std::iter::once(call.clone()).chain(cells).collect());
    }
    table.render()
}
