//! The smallest memory limit with which a static `true` starts.

use std::time::Duration;

use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::Payload;
use crate::host::check_interrupt;
use crate::measure::{prepare, reap, wait_at_most};
use crate::runtime::Runtime;

const PAGE: u64 = 4096;
/// The search ends here, in pages: 64 MiB.
const MOST: u64 = 16 * 1024;
/// A limit counts only if this many runs in a row succeed.
const REPEATED: usize = 3;
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    for runtime in bench.runtimes.clone() {
        match smallest(|pages| starts(bench, &runtime, pages))? {
            Some(pages) => {
                let kibibytes = u32::try_from(pages * PAGE / 1024)?;
                let reading = ("smallest", "KiB", f64::from(kibibytes));
                bench.record("memory limit", &runtime.name, reading);
            }
            None => bench.notes.push(format!("limit: {} does not start at 64 MiB", runtime.name)),
        }
    }
    Ok(())
}

/// The smallest number of pages that is enough, by bisection.
fn smallest(mut enough: impl FnMut(u64) -> Outcome<bool>) -> Outcome<Option<u64>> {
    if !enough(MOST)? {
        return Ok(None);
    }
    let (mut low, mut high) = (0, MOST);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if enough(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(Some(high))
}

fn starts(bench: &Bench, runtime: &Runtime, pages: u64) -> Outcome<bool> {
    for _ in 0..REPEATED {
        check_interrupt()?;
        let bundle = bench.bundle(runtime, "limit", Payload::True, Some(pages * PAGE))?;
        let mut command = runtime.command("run", &bundle);
        prepare(&mut command, &bench.messages())?;
        let status = wait_at_most(&mut command.spawn()?, PATIENCE)?;
        reap();
        if !status.is_some_and(|status| status.success()) {
            runtime.remove(&bundle);
            bench.workspace.clear(&[&bundle.id]);
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{MOST, smallest};

    #[test]
    fn bisection_finds_the_threshold() {
        for threshold in [1, 2, 77, 4096, MOST] {
            assert_eq!(smallest(|pages| Ok(pages >= threshold)).unwrap(), Some(threshold));
        }
        assert_eq!(smallest(|_| Ok(false)).unwrap(), None);
    }
}
