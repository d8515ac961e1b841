//! What shims hold while their containers run and nothing happens: ten with one container each, and one
//! with a pod of twenty.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::task::{Task, wait_for_end};
use crate::Outcome;
use crate::bench::Bench;
use crate::bundle::Payload;
use crate::host::check_interrupt;
use crate::statistics::median;

const SHIMS: u16 = 10;
const MEMBERS: u16 = 20;

/// The shims written in Go give memory back every 30 seconds.
const REST: Duration = Duration::from_secs(33);

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let mut all = Vec::new();
    for shim in bench.runtimes.clone() {
        let mut single = Vec::new();
        for number in 0..SHIMS {
            let name = format!("rest{number}");
            single.push(launch(bench, &shim, &name, None)?);
        }
        let mut pod = Vec::new();
        for number in 0..MEMBERS {
            let name = if number == 0 { "pod".to_owned() } else { format!("pod{number}") };
            pod.push(launch(bench, &shim, &name, Some("pod"))?);
        }
        all.push((shim.name, single, pod));
    }
    let end = Instant::now() + REST;
    while Instant::now() < end {
        check_interrupt()?;
        thread::sleep(Duration::from_millis(100));
    }
    for (name, single, pod) in &all {
        record(bench, name, single, pod)?;
    }
    for (_, single, pod) in all {
        let mut servers: Vec<i32> = single.iter().map(|task| task.shim).collect();
        servers.extend(pod.first().map(|task| task.shim));
        single.into_iter().chain(pod).try_for_each(Task::end)?;
        servers.into_iter().try_for_each(wait_for_end)?;
    }
    Ok(())
}

fn launch(
    bench: &Bench,
    shim: &crate::runtime::Runtime,
    name: &str,
    pod: Option<&str>,
) -> Outcome<Task> {
    let mut task = Task::launch(bench, shim, (name, Payload::Pause), pod)?;
    task.run()?;
    Ok(task)
}

/// What one process holds.
#[derive(Debug)]
struct Held {
    resident: f64,
    proportional: f64,
    threads: f64,
    descriptors: f64,
}

fn record(bench: &mut Bench, name: &str, single: &[Task], pod: &[Task]) -> Outcome<()> {
    let mut held = Vec::new();
    for task in single {
        held.push(Held::of(task.shim)?);
    }
    for one in &held {
        bench.record("10 shims", name, ("resident, each", "KiB", one.resident));
        bench.record("10 shims", name, ("proportional, each", "KiB", one.proportional));
        bench.record("10 shims", name, ("threads, each", "", one.threads));
        bench.record("10 shims", name, ("descriptors, each", "", one.descriptors));
    }
    let server = pod.first().map_or(0, |task| task.shim);
    if pod.iter().any(|task| task.shim != server) {
        bench.notes.push(format!("{name}: the pod has several shims"));
        return Ok(());
    }
    let whole = Held::of(server)?;
    let further = |whole: f64, part: fn(&Held) -> f64| {
        let alone: Vec<f64> = held.iter().map(part).collect();
        (whole - median(&alone).unwrap_or_default()) / f64::from(MEMBERS - 1)
    };
    let resident = further(whole.resident, |one| one.resident);
    let descriptors = further(whole.descriptors, |one| one.descriptors);
    bench.record("pod of 20", name, ("resident", "KiB", whole.resident));
    bench.record("pod of 20", name, ("resident, per further container", "KiB", resident));
    bench.record("pod of 20", name, ("descriptors, per further container", "", descriptors));
    bench.record("pod of 20", name, ("threads", "", whole.threads));
    Ok(())
}

impl Held {
    fn of(pid: i32) -> Outcome<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let find = |text: &str, key: &str| {
            figure(text, key).ok_or(format!("no {key} of the process {pid}"))
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self {
            resident: find(&rollup, "Rss:")?,
            proportional: find(&rollup, "Pss:")?,
            threads: find(&status, "Threads:")?,
            descriptors: u32::try_from(descriptors).map_or(f64::MAX, f64::from),
        })
    }
}

/// The number in a line such as `Rss:   123 kB`.
fn figure(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_are_those_of_their_own_line() {
        let text = "[rollup]\nRss:      2732 kB\nPss:       393 kB\nPss_Dirty: 1 kB\nThreads:\t1\n";
        assert_eq!(figure(text, "Pss:"), Some(393.0));
        assert_eq!(figure(text, "Threads:"), Some(1.0));
        assert_eq!(figure(text, "Swap:"), None);
    }
}
