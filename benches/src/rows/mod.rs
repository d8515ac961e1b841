//! The rows of the comparison, one file each.

pub(crate) mod calls;
mod embed;
mod exec;
mod existing;
mod init;
mod life;
mod limit;
mod parallel;
mod run;

use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::measure::Cost;

/// Measures one row.
type Row = fn(&mut Bench) -> Outcome<()>;

/// All rows in the order of the report.
const ROWS: [(&str, Row); 9] = [
    ("run", run::measure),
    ("life", life::measure),
    ("exec", exec::measure),
    ("parallel", parallel::measure),
    ("calls", calls::measure),
    ("init", init::measure),
    ("limit", limit::measure),
    ("embed", embed::measure),
    ("existing", existing::measure),
];

/// Measures every row that is asked for.
pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    for (name, row) in ROWS {
        if bench.options.wants(name) {
            eprintln!("measuring {name}");
            row(bench)?;
        }
        sort(bench);
    }
    Ok(())
}

/// Puts the runtimes of each series in the order of the command line.
pub(crate) fn sort(bench: &mut Bench) {
    let names: Vec<&str> = bench.runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    for series in &mut bench.series {
        series.runtimes.sort_by_key(|values| names.iter().position(|name| *name == values.runtime));
    }
}

/// Wall time, CPU time and page faults as readings of a row.
fn readings(row: &'static str, cost: &Cost) -> Vec<(&'static str, Reading)> {
    vec![
        (row, ("wall", "ms", cost.wall)),
        (row, ("cpu", "ms", cost.cpu)),
        (row, ("faults", "", cost.faults)),
    ]
}
