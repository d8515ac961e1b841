//! create, start, kill and delete as separate commands, as an engine calls them.

use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::{Bundle, Payload};
use crate::measure::{of_living, reaped_so_far, wait_for};
use crate::rows::readings;
use crate::runtime::Runtime;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.options.rounds;
    bench.interleave("life", rounds, |bench, runtime| {
        let bundle = bench.bundle(runtime, "life", Payload::Pause, None)?;
        life(bench, runtime, &bundle).inspect_err(|_| runtime.remove(&bundle))
    })
}

fn life(
    bench: &Bench,
    runtime: &Runtime,
    bundle: &Bundle,
) -> Outcome<Vec<(&'static str, Reading)>> {
    let (cpu_before, faults_before) = reaped_so_far()?;
    let mut create = bench.measure(runtime, "create", bundle)?;
    let pid = runtime.pid(bundle)?;
    // The init lives on, so its share is read from /proc and added.
    let (cpu, faults) = of_living(pid);
    create.cpu += cpu;
    create.faults += faults;
    let start = bench.measure(runtime, "start", bundle)?;
    let kill = bench.measure(runtime, "kill", bundle)?;
    wait_for(pid);
    let delete = bench.measure(runtime, "delete", bundle)?;
    let (cpu_after, faults_after) = reaped_so_far()?;
    let mut all = readings("create", &create);
    for (row, cost) in [("start", start), ("kill", kill), ("delete", delete)] {
        all.push((row, ("wall", "ms", cost.wall)));
    }
    all.push(("life", ("wall", "ms", create.wall + start.wall + kill.wall + delete.wall)));
    all.push(("life", ("cpu", "ms", cpu_after - cpu_before)));
    all.push(("life", ("faults", "", faults_after - faults_before)));
    Ok(all)
}
