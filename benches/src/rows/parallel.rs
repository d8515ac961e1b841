//! Several `run`s at once.

use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::{Bundle, Payload};
use crate::measure::{prepare, reap, succeed};
use crate::runtime::Runtime;
use crate::statistics::count;

/// How many workers, and the name of the row.
const WORKERS: [(usize, &str); 3] =
    [(1, "run, 1 worker"), (2, "run, 2 workers"), (8, "run, 8 workers")];
/// Runs of each round, shared by the workers.
const RUNS: usize = 16;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let rounds = (bench.options.rounds / 4).max(3);
    for (workers, row) in WORKERS {
        bench.interleave(row, rounds, |bench, runtime| {
            let elapsed = round(bench, runtime, workers)?;
            let each: Reading = ("wall per container", "ms", elapsed / count(RUNS));
            Ok(vec![(row, each)])
        })?;
    }
    Ok(())
}

/// Milliseconds for all runs.
fn round(bench: &Bench, runtime: &Runtime, workers: usize) -> Outcome<f64> {
    let bundles: Vec<Bundle> = (0..workers)
        .map(|index| bench.bundle(runtime, &format!("parallel-{index}"), Payload::True, None))
        .collect::<Outcome<_>>()?;
    let start = Instant::now();
    let outcomes: Vec<Outcome<()>> = thread::scope(|scope| {
        let worker = |bundle| scope.spawn(move || work(bench, runtime, bundle, RUNS / workers));
        let handles: Vec<_> = bundles.iter().map(worker).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| Err("a worker panicked".into())))
            .collect()
    });
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    reap();
    let outcome: Outcome<()> = outcomes.into_iter().collect();
    if outcome.is_err() {
        bundles.iter().for_each(|bundle| runtime.remove(bundle));
    }
    outcome.map(|()| elapsed)
}

fn work(bench: &Bench, runtime: &Runtime, bundle: &Bundle, runs: usize) -> Outcome<()> {
    let messages = bench.workspace.directory.join(format!("messages-{}", bundle.id));
    for _ in 0..runs {
        let mut command: Command = runtime.command("run", bundle);
        prepare(&mut command, &messages)?;
        let status = command.spawn()?.wait()?;
        succeed(&command, status, &messages)?;
    }
    Ok(())
}
