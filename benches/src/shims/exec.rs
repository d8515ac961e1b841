//! One more process in a running container: Exec, Start, Wait, Delete.

use std::time::Instant;

use super::task::{Task, wait_for_end};
use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::Payload;
use crate::measure::{reap, reaped_so_far};
use crate::runtime::Runtime;
use crate::statistics::median;

const ROW: &str = "exec";

/// In one container. Their CPU time is what its life costs more than one without any.
const PROCESSES: u16 = 20;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.options.rounds.min(15);
    bench.interleave(ROW, rounds, |bench, shim| {
        let (without, _) = life(bench, shim, 0)?;
        let (with, walls) = life(bench, shim, PROCESSES)?;
        let cpu = (with - without) / f64::from(PROCESSES);
        let wall = median(&walls).unwrap_or_default();
        let all: Vec<(&'static str, Reading)> =
            vec![(ROW, ("cpu", "ms", cpu)), (ROW, ("wall", "ms", wall))];
        Ok(all)
    })
}

/// The CPU time of a container's life with this many further processes, and how long each took.
fn life(bench: &Bench, shim: &Runtime, processes: u16) -> Outcome<(f64, Vec<f64>)> {
    reap();
    let (cpu, _) = reaped_so_far()?;
    let mut task = Task::launch(bench, shim, ("exec", Payload::Pause), None)?;
    let server = task.shim;
    task.run()?;
    let mut walls = Vec::new();
    for number in 0..processes {
        let start = Instant::now();
        task.exec(&format!("exec{number}"))?;
        walls.push(start.elapsed().as_secs_f64() * 1e3);
    }
    task.end()?;
    wait_for_end(server)?;
    reap();
    Ok((reaped_so_far()?.0 - cpu, walls))
}
