//! Statistics in the text format that Prometheus reads (its documentation, "Exposition formats").

use std::fmt::Write;

use coracle::rdt_stats::RdtStats;
use coracle::stats::{Stats, Usage};

/// The statistics of one container; each metric has its name as the label `id`.
pub(crate) fn page(id: &str, stats: &Stats, shares: &RdtStats) -> String {
    let mut page = Page { id, text: String::new() };
    page.processor(stats);
    page.memory(stats);
    page.tasks(stats);
    page.block_io(stats);
    let huge_pages = stats.hugetlb.iter().map(|(size, usage)| (label("page_size", size), *usage));
    page.amounts("hugetlb", "_bytes", "Huge pages", &huge_pages.collect::<Vec<_>>());
    let misc = stats.misc.iter().map(|(name, usage)| (label("resource", name), *usage));
    page.amounts("misc", "", "Resources of the misc controller", &misc.collect::<Vec<_>>());
    page.pressure(stats);
    page.monitoring(shares);
    page.text
}

/// Labels and a value.
type Sample = (String, String);

/// Metrics under construction.
#[derive(Debug)]
struct Page<'a> {
    id: &'a str,
    text: String,
}

fn label(key: &str, value: &str) -> String {
    format!(",{key}=\"{value}\"")
}

fn count(value: u64) -> Vec<Sample> {
    vec![(String::new(), value.to_string())]
}

/// A limit, if there is one; cgroup v1 says "none" by the greatest multiple of a page.
fn limit(value: u64) -> Option<String> {
    (value < u64::MAX / 2 - 0xffff).then(|| value.to_string())
}

/// Nanoseconds in seconds, exactly.
fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

impl Page<'_> {
    /// One metric; without samples it is left out.
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP coracle_{name} {help}.\n# TYPE coracle_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.text, "coracle_{name}{{id=\"{}\"{labels}}} {value}", self.id);
        }
    }

    fn processor(&mut self, stats: &Stats) {
        let (usage, held) = (&stats.cpu.usage, &stats.cpu.throttling);
        let mode = |name: &str, time| (label("mode", name), seconds(time));
        let modes = [mode("user", usage.user), mode("kernel", usage.kernel)];
        self.metric("cpu_seconds_total", "counter", "Processor time", &modes);
        let total = [(String::new(), seconds(usage.total))];
        self.metric("cpu_usage_seconds_total", "counter", "Processor time of all modes", &total);
        self.metric("cpu_periods_total", "counter", "Periods of the quota", &count(held.periods));
        let periods = count(held.throttled_periods);
        self.metric("cpu_throttled_periods_total", "counter", "Periods that ran out", &periods);
        let time = [(String::new(), seconds(held.throttled_time))];
        self.metric("cpu_throttled_seconds_total", "counter", "Time held back", &time);
    }

    fn memory(&mut self, stats: &Stats) {
        let memory = &stats.memory;
        let kinds =
            [(label("kind", "memory"), memory.usage), (label("kind", "memory+swap"), memory.swap)];
        self.amounts("memory", "_bytes", "Memory", &kinds);
        self.metric("memory_cache_bytes", "gauge", "Pages of files", &count(memory.cache));
        let event = |(name, count): (&String, &u64)| (label("event", name), count.to_string());
        let events: Vec<Sample> = memory.events.iter().map(event).collect();
        self.metric("memory_events_total", "counter", "Limits that were hit, and kills", &events);
        let raw = |(name, value): (&String, &u64)| (label("name", name), value.to_string());
        let raw: Vec<Sample> = memory.raw.iter().map(raw).collect();
        self.metric("memory_stat", "untyped", "The kernel's account of memory", &raw);
    }

    fn tasks(&mut self, stats: &Stats) {
        let pids = &stats.pids;
        self.metric("pids", "gauge", "Tasks", &count(pids.current));
        let limit = pids.limit.map(count).unwrap_or_default();
        self.metric("pids_limit", "gauge", "Most tasks", &limit);
        let refused = pids.failcnt.map(count).unwrap_or_default();
        self.metric("pids_refused_total", "counter", "Tasks that the limit refused", &refused);
    }

    fn block_io(&mut self, stats: &Stats) {
        for (name, help, entries) in [
            ("io_bytes_total", "Bytes of block I/O", &stats.blkio.io_service_bytes_recursive),
            ("io_operations_total", "Operations of block I/O", &stats.blkio.io_serviced_recursive),
        ] {
            let one = |entry: &coracle::stats::BlockIoEntry| {
                let device = label("device", &format!("{}:{}", entry.major, entry.minor));
                let labels = device + &label("operation", &entry.op.to_ascii_lowercase());
                (labels, entry.value.to_string())
            };
            self.metric(name, "counter", help, &entries.iter().map(one).collect::<Vec<_>>());
        }
    }

    /// Amounts with limit, peak and refusals.
    fn amounts(&mut self, name: &str, unit: &str, help: &str, all: &[(String, Usage)]) {
        let pick = |value: fn(&Usage) -> Option<String>| -> Vec<Sample> {
            all.iter().filter_map(|(labels, usage)| Some((labels.clone(), value(usage)?))).collect()
        };
        let usage = pick(|usage| Some(usage.usage.to_string()));
        self.metric(&format!("{name}{unit}"), "gauge", help, &usage);
        let limits = pick(|usage| limit(usage.limit));
        self.metric(
            &format!("{name}_limit{unit}"),
            "gauge",
            &format!("{help}, the limit"),
            &limits,
        );
        let peaks = pick(|usage| Some(usage.max?.to_string()));
        self.metric(&format!("{name}_peak{unit}"), "gauge", &format!("{help}, the most"), &peaks);
        let refused = pick(|usage| Some(usage.failcnt.to_string()));
        let help = format!("{help}, how often the limit was hit");
        self.metric(&format!("{name}_limit_hits_total"), "counter", &help, &refused);
    }

    /// What Intel RDT counts, by the number of the level 3 cache.
    fn monitoring(&mut self, shares: &RdtStats) {
        let domain = |domain: u32| label("domain", &domain.to_string());
        let caches = shares.cmt_stats.as_deref().unwrap_or_default().iter();
        let caches = caches.map(|one| (domain(one.domain), one.llc_occupancy.to_string()));
        let help = "Use of a level 3 cache";
        self.metric("llc_occupancy_bytes", "gauge", help, &caches.collect::<Vec<_>>());
        let one = |one: &coracle::rdt_stats::MbmStats| {
            let memory =
                |name, count: u64| (domain(one.domain) + &label("memory", name), count.to_string());
            [memory("all", one.mbm_total_bytes), memory("local", one.mbm_local_bytes)]
        };
        let bandwidth = shares.mbm_stats.as_deref().unwrap_or_default().iter().flat_map(one);
        let help = "Traffic between a level 3 cache and memory";
        let name = "memory_bandwidth_bytes_total";
        self.metric(name, "counter", help, &bandwidth.collect::<Vec<_>>());
    }

    fn pressure(&mut self, stats: &Stats) {
        let mut samples = Vec::new();
        for (resource, pressure) in
            [("cpu", stats.cpu.psi), ("memory", stats.memory.psi), ("io", stats.blkio.psi)]
        {
            let Some(pressure) = pressure else { continue };
            for (tasks, share) in [("some", pressure.some), ("full", pressure.full)] {
                let labels = label("resource", resource) + &label("tasks", tasks);
                samples.push((labels, seconds(share.total.saturating_mul(1000))));
            }
        }
        let help = "Time that tasks waited for a resource";
        self.metric("pressure_seconds_total", "counter", help, &samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_a_head_and_samples_with_labels() {
        let mut stats = Stats::default();
        stats.cpu.usage.user = 1_500_000_000;
        stats.memory.usage.limit = u64::MAX;
        stats.memory.events.insert("oom_kill".to_owned(), 3);
        let text = page("c1", &stats, &RdtStats::default());
        for line in [
            "# TYPE coracle_cpu_seconds_total counter",
            "coracle_cpu_seconds_total{id=\"c1\",mode=\"user\"} 1.500000000",
            "coracle_memory_events_total{id=\"c1\",event=\"oom_kill\"} 3",
            "coracle_pids{id=\"c1\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert!(!text.contains("kind=\"memory\"} 18446744073709551615"), "{text}");
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut once = heads.clone();
        once.dedup();
        assert_eq!(heads, once);
    }
}
