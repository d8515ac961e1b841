//! The memory of a created container whose init waits for `start`.

use std::fs;

use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::{Bundle, Payload};
use crate::runtime::Runtime;

/// The values hardly vary.
const ROUNDS: usize = 3;
const ROW: &str = "waiting init";

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.interleave("init", ROUNDS, |bench, runtime| {
        let bundle = bench.bundle(runtime, "init", Payload::Pause, None)?;
        let outcome = once(bench, runtime, &bundle);
        runtime.remove(&bundle);
        outcome
    })
}

fn once(
    bench: &Bench,
    runtime: &Runtime,
    bundle: &Bundle,
) -> Outcome<Vec<(&'static str, Reading)>> {
    bench.measure(runtime, "create", bundle)?;
    let pid = runtime.pid(bundle)?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let mut readings = Vec::new();
    for (metric, key) in [("resident", "Rss:"), ("proportional", "Pss:")] {
        let value = kibibytes(&rollup, key).ok_or(format!("smaps_rollup has no {key}"))?;
        readings.push((ROW, (metric, "KiB", value)));
    }
    Ok(readings)
}

/// The value of a line such as `Rss:   123 kB`.
fn kibibytes(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn reads_a_line_of_smaps_rollup() {
        let text =
            "00400000-7ffe [rollup]\nRss:                  12 kB\nPss:  5 kB\nPss_Anon: 1 kB\n";
        assert_eq!(kibibytes(text, "Rss:"), Some(12.0));
        assert_eq!(kibibytes(text, "Pss:"), Some(5.0));
        assert_eq!(kibibytes(text, "Swap:"), None);
    }
}
