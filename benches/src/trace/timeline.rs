//! Where the time of one create goes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::table::Table;
use crate::trace::names::name;
use crate::trace::tracer::{Call, Trace};

/// How many of the slowest calls are shown.
const SHOWN: usize = 30;

/// The processes, then the slowest calls, then (if `all`) the whole timeline.
pub(crate) fn show(trace: &Trace, all: bool) -> String {
    let mut text = format!("{} system calls\n\n{}", trace.calls.len(), processes(trace).render());
    let mut slowest: Vec<&Call> = trace.calls.iter().collect();
    slowest.sort_by_key(|call| std::cmp::Reverse(duration(call)));
    slowest.truncate(SHOWN);
    text.push_str(&format!("\nthe {SHOWN} slowest calls\n{}", table(trace, slowest).render()));
    if all {
        text.push_str(&format!("\nall calls\n{}", table(trace, trace.calls.iter()).render()));
    }
    text
}

fn duration(call: &Call) -> Duration {
    call.exit.map_or(Duration::ZERO, |exit| exit.saturating_sub(call.entry))
}

fn microseconds(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e6)
}

/// Process ids as p1, p2 … in the order of appearance.
fn short(trace: &Trace) -> BTreeMap<i32, String> {
    let mut names = BTreeMap::new();
    for call in &trace.calls {
        let next = names.len() + 1;
        names.entry(call.pid).or_insert_with(|| format!("p{next}"));
    }
    names
}

fn processes(trace: &Trace) -> Table {
    let mut table = Table::new(&["process", "calls", "first us", "last us", "inside calls us"]);
    for (pid, name) in short(trace) {
        let calls: Vec<&Call> = trace.calls.iter().filter(|call| call.pid == pid).collect();
        let inside: Duration = calls.iter().map(|call| duration(call)).sum();
        let edge = |call: Option<&&Call>| call.map_or_else(String::new, |c| microseconds(c.entry));
        table.push(vec![
            name,
            calls.len().to_string(),
            edge(calls.first()),
            edge(calls.last()),
            microseconds(inside),
        ]);
    }
    table
}

fn table<'a>(trace: &'a Trace, calls: impl IntoIterator<Item = &'a Call>) -> Table {
    let names = short(trace);
    let mut table = Table::new(&["at us", "took us", "process", "call", "text"]);
    for call in calls {
        table.push(vec![
            microseconds(call.entry),
            call.exit.map_or_else(|| "-".to_owned(), |_| microseconds(duration(call))),
            names.get(&call.pid).cloned().unwrap_or_default(),
            name(call.number),
            call.text.clone(),
        ]);
    }
    table
}
