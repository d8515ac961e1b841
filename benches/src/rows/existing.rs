//! The same create with no other container and beside many.

use std::thread;

use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::{Bundle, Payload};
use crate::host::check_interrupt;
use crate::measure::{Cost, wait_for};
use crate::runtime::Runtime;
use crate::statistics::median;

const ALONE: &str = "create alone";
const BESIDE: &str = "create beside many";

/// One runtime after the other: the others' containers would weigh on the kernel as well.
pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let present = bench.options.existing;
    for runtime in bench.runtimes.clone() {
        let crowd: Vec<Bundle> = (0..present)
            .map(|index| bench.bundle(&runtime, &format!("crowd-{index}"), Payload::Pause, None))
            .collect::<Outcome<_>>()?;
        let outcome = one(bench, &runtime, &crowd);
        eprintln!("  {}: removing what it created", runtime.name);
        for bundle in crowd.iter().filter(|bundle| runtime.root.join(&bundle.id).exists()) {
            runtime.remove(bundle);
        }
        check_interrupt()?;
        compare(bench, &runtime.name);
        if let Err(error) = outcome {
            bench.notes.push(format!("existing: {} failed: {error}", runtime.name));
        }
    }
    bench.notes.push(format!("\"{BESIDE}\" means beside {present} containers of the same runtime"));
    Ok(())
}

fn one(bench: &mut Bench, runtime: &Runtime, crowd: &[Bundle]) -> Outcome<()> {
    rounds(bench, runtime, ALONE)?;
    eprintln!("  {}: creating {} containers", runtime.name, crowd.len());
    for bundle in crowd {
        bench.measure(runtime, "create", bundle)?;
    }
    rounds(bench, runtime, BESIDE)
}

/// The ratio of the medians, which is what the row is about.
fn compare(bench: &mut Bench, runtime: &str) {
    for (metric, result) in [("wall", "wall, × alone"), ("cpu of the command", "cpu, × alone")] {
        let middle = |row| median(bench.values(row, metric, runtime)?);
        if let (Some(alone), Some(beside)) = (middle(ALONE), middle(BESIDE)) {
            bench.record(BESIDE, runtime, (result, "", beside / alone));
        }
    }
}

fn rounds(bench: &mut Bench, runtime: &Runtime, row: &str) -> Outcome<()> {
    let warm_up = bench.options.warm_up();
    for round in 0..warm_up + bench.options.rounds {
        thread::sleep(bench.options.pause);
        let bundle = bench.bundle(runtime, "existing", Payload::Pause, None)?;
        let cost =
            create_and_delete(bench, runtime, &bundle).inspect_err(|_| runtime.remove(&bundle))?;
        if round >= warm_up {
            bench.record(row, &runtime.name, ("wall", "ms", cost.wall));
            bench.record(row, &runtime.name, ("cpu of the command", "ms", cost.cpu));
        }
    }
    Ok(())
}

fn create_and_delete(bench: &Bench, runtime: &Runtime, bundle: &Bundle) -> Outcome<Cost> {
    let cost = bench.measure(runtime, "create", bundle)?;
    let pid = runtime.pid(bundle)?;
    bench.measure(runtime, "kill", bundle)?;
    wait_for(pid);
    bench.measure(runtime, "delete", bundle)?;
    Ok(cost)
}
