//! `run` of a static `true`: the whole life of a container in one command.

use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::Payload;
use crate::rows::readings;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.options.rounds;
    bench.interleave("run", rounds, |bench, runtime| {
        let bundle = bench.bundle(runtime, "run", Payload::True, None)?;
        bench
            .measure(runtime, "run", &bundle)
            .map(|cost| readings("run", &cost))
            .inspect_err(|_| runtime.remove(&bundle))
    })
}
