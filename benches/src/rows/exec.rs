//! `exec` of a static `true` in a running container.

use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::Payload;
use crate::rows::readings;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.options.rounds;
    let runtimes = bench.runtimes.clone();
    for runtime in &runtimes {
        let bundle = bench.bundle(runtime, "exec", Payload::Pause, None)?;
        let started = bench.measure(runtime, "create", &bundle);
        if let Err(error) = started.and_then(|_| bench.measure(runtime, "start", &bundle)) {
            bench.notes.push(format!("exec: {} failed: {error}", runtime.name));
        }
    }
    let outcome = bench.interleave("exec", rounds, |bench, runtime| {
        let bundle = bench.bundle(runtime, "exec", Payload::Pause, None)?;
        Ok(readings("exec", &bench.measure(runtime, "exec", &bundle)?))
    });
    for runtime in &runtimes {
        runtime.remove(&bench.bundle(runtime, "exec", Payload::Pause, None)?);
    }
    outcome
}
