//! The life of one task: `start` of the shim, Connect, Create, Start, Wait, Delete, Shutdown, and the
//! command `delete`, which containerd runs after every task.

use std::time::Instant;

use super::task::{Task, wait_for_end};
use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::Payload;
use crate::measure::{reap, reaped_so_far};
use crate::runtime::Runtime;

const ROW: &str = "task";

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.options.rounds;
    bench.interleave(ROW, rounds, life)
}

fn life(bench: &Bench, shim: &Runtime) -> Outcome<Vec<(&'static str, Reading)>> {
    reap();
    let (cpu, faults) = reaped_so_far()?;
    let start = Instant::now();
    let mut task = Task::launch(bench, shim, ("task", Payload::True), None)?;
    task.run()?;
    if task.wait("")? != 0 {
        return Err("the program failed".into());
    }
    let server = task.shim;
    task.retire()?;
    let wall = start.elapsed().as_secs_f64() * 1e3;
    wait_for_end(server)?;
    reap();
    let (cpu_after, faults_after) = reaped_so_far()?;
    Ok(vec![
        (ROW, ("cpu", "ms", cpu_after - cpu)),
        (ROW, ("wall", "ms", wall)),
        (ROW, ("faults", "", faults_after - faults)),
    ])
}
