//! `events`: what a container uses and when it runs out of memory, as lines of JSON.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use coracle::rdt_stats::RdtStats;
use coracle::stats::Stats;
use coracle::{Container, Error, ErrorKind, OomWatch};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::container;
use crate::args::{Globals, Matches, Usage};
use crate::failure::Failure;
use crate::{duration, output, prometheus};

const INTERVAL: Duration = Duration::from_secs(5);

/// One line, as runc writes it.
#[derive(Debug, Serialize)]
struct Event<'a> {
    r#type: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    stats: &'a Stats,
    intel_rdt: RdtStats,
    /// Nobody fills this in runc either, but consumers know the key.
    network_interfaces: Option<()>,
}

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let interval = match matches.text("interval")? {
        None => INTERVAL,
        Some(text) => duration::parse(text)
            .ok_or_else(|| Usage::new(format!("--interval: {text:?} is no duration such as 5s")))?,
    };
    let metrics = match matches.text("format")? {
        None | Some("json") => false,
        Some("prometheus") => true,
        Some(name) => return Err(Usage::new(format!("invalid format option: {name}")).into()),
    };
    let container = container(globals, matches)?;
    if metrics {
        let (stats, shares) = (container.stats()?, container.rdt_stats()?.unwrap_or_default());
        output::text(&prometheus::page(container.id().as_str(), &stats, &shares))?;
    } else if matches.switch("stats") {
        stats(&container)?;
    } else {
        follow(&container, interval)?;
    }
    Ok(())
}

fn stats(container: &Container) -> Result<(), Error> {
    let stats = container.stats()?;
    let intel_rdt = container.rdt_stats()?.unwrap_or_default();
    let data = Data { stats: &stats, intel_rdt, network_interfaces: None };
    output::json(&Event { r#type: "stats", id: container.id().as_str(), data: Some(data) })
}

/// Writes lines until the container ends.
fn follow(container: &Container, interval: Duration) -> Result<(), Error> {
    container.stats()?;
    // Without a memory controller there are only statistics.
    let mut watch = match container.oom_watch() {
        Ok(watch) => Some(watch),
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        Err(error) => return Err(error),
    };
    let Some(init) = container.pidfd() else { return Ok(()) };
    let mut next = Instant::now() + interval;
    loop {
        let ready = wait(init, watch.as_ref(), next)?;
        if let Some(kills) = watch.as_mut().filter(|_| ready.watch).map(OomWatch::kills) {
            for _ in 0..kills.unwrap_or_default() {
                output::json(&Event { r#type: "oom", id: container.id().as_str(), data: None })?;
            }
            if kills.is_none() {
                watch = None;
            }
        }
        if ready.init {
            return Ok(());
        }
        if Instant::now() >= next {
            // After a stop of this command nobody wants to be told of all that was missed at once.
            next = next_tick(next, Instant::now(), interval);
            match stats(container) {
                Err(error) if error.kind() == ErrorKind::WrongStatus => return Ok(()),
                done => done?,
            }
        }
    }
}

/// The first moment after `now` that is a whole number of intervals after `last`.
fn next_tick(last: Instant, now: Instant, interval: Duration) -> Instant {
    let missed = now.saturating_duration_since(last).as_nanos() / interval.as_nanos().max(1);
    let skipped = u32::try_from(missed).ok().and_then(|missed| interval.checked_mul(missed));
    let next = skipped.and_then(|skipped| last.checked_add(skipped)?.checked_add(interval));
    next.unwrap_or(now + interval)
}

#[derive(Debug, Default)]
struct Ready {
    init: bool,
    watch: bool,
}

fn wait(init: BorrowedFd<'_>, watch: Option<&OomWatch>, until: Instant) -> Result<Ready, Error> {
    let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    let mut fds = vec![PollFd::new(init, PollFlags::POLLIN)];
    fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), watch.events())));
    match poll(&mut fds, left) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Error::system("wait for events", errno as i32)),
    }
    let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
    Ok(Ready { init: ready.next().unwrap_or(false), watch: ready.next().unwrap_or(false) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_moments_are_skipped() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        for (now, next) in [(0, 1000), (1, 1000), (999, 1000), (1000, 2000), (9500, 10_000)] {
            let found = next_tick(begin, begin + Duration::from_millis(now), second);
            assert_eq!((found - begin).as_millis(), next, "{now}");
        }
    }
}
