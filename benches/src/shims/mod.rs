//! Shims of containerd side by side, without containerd: each is started, called and ended over TTRPC
//! as containerd does it, on an overlay, with fifos, and with somebody who takes its events.

mod at_rest;
mod calls;
mod events;
mod exec;
mod life;
mod relay;
mod task;
mod wire;

use crate::Outcome;
use crate::bench::Bench;
use crate::rows;

/// Measures one row.
type Row = fn(&mut Bench) -> Outcome<()>;

/// All rows in the order of the report.
const ROWS: [(&str, Row); 5] = [
    ("shim-task", life::measure),
    ("shim-process", exec::measure),
    ("shim-call", calls::measure),
    ("shim-relay", relay::measure),
    ("shim-rest", at_rest::measure),
];

/// Measures every row that is asked for.
pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    events::serve(&bench.workspace.directory)?;
    for (name, row) in ROWS {
        if bench.options.wants(name) {
            eprintln!("measuring {name}");
            row(bench)?;
        }
        rows::sort(bench);
    }
    Ok(())
}
