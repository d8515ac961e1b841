//! How long single calls take while a container runs.

use std::time::Instant;

use super::task::{Task, wait_for_end};
use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::Payload;
use crate::statistics::median;

/// The values of one container hardly vary.
const ROUNDS: usize = 10;
const CALLS: usize = 10;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.interleave("calls", ROUNDS, |bench, shim| {
        let mut task = Task::launch(bench, shim, ("calls", Payload::Pause), None)?;
        let server = task.shim;
        task.run()?;
        let readings = calls(&mut task)?;
        task.end()?;
        wait_for_end(server)?;
        Ok(readings)
    })
}

fn calls(task: &mut Task) -> Outcome<Vec<(&'static str, Reading)>> {
    let mut walls =
        [("Pids", Vec::new()), ("Kill", Vec::new()), ("Pause", Vec::new()), ("Resume", Vec::new())];
    for _ in 0..CALLS {
        for (method, walls) in &mut walls {
            let start = Instant::now();
            match *method {
                // Signal 0 only asks whether it could be sent.
                "Kill" => task.kill(0)?,
                method => task.call(method)?,
            }
            walls.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let reading = |(method, walls): (&'static str, Vec<f64>)| {
        (method, ("wall", "ms", median(&walls).unwrap_or_default()))
    };
    Ok(walls.into_iter().map(reading).collect())
}
