//! `linux.resources` as properties of a unit (systemd.resource-control(5)).
//!
//! Only those that systemd writes itself and would write again with its own values when it is
//! reloaded; everything else, and the exact values of these, go straight to the control files.

use super::message::{Property, Value};
use crate::cgroup::record::Version;
use crate::cgroup::setting::Previous;
use crate::cgroup::weight;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::{Cpu, Memory, Resources};

/// "No limit" of a property.
const INFINITY: u64 = u64::MAX;
/// The weight that stands for cpu.idle.
const IDLE: u64 = 0;
const SECOND: i64 = 1_000_000;
/// systemd keeps quotas in steps of this many microseconds a second.
const STEP: i64 = 10_000;
/// The kernel's period where none is given, in microseconds.
const PERIOD: i64 = 100_000;

/// The properties that set the limits.
///
/// # Errors
/// When a list of processors or nodes is malformed.
pub(super) fn limits(resources: &Resources, version: Version) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    let unified = version == Version::V2;
    if let Some(memory) = &resources.memory {
        self::memory(memory, unified, &mut list);
    }
    if let Some(cpu) = &resources.cpu {
        processor(cpu, unified, &mut list)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        // 0 and 1 are the same limit, and systemd has no 0.
        list.push(number("TasksMax", amount(limit.max(-1)).max(1)));
    }
    let weight = resources.block_io.as_ref().and_then(|io| io.weight).filter(|one| *one != 0);
    if let Some(weight) = weight {
        list.push(if unified {
            number("IOWeight", weight::from_block_io(weight).into())
        } else {
            number("BlockIOWeight", weight.into())
        });
    }
    if unified {
        for (file, value) in &resources.unified {
            self::unified(file, value, &mut list);
        }
    }
    Ok(list)
}

/// The properties of what control files held before an update.
pub(super) fn previous(before: &[Previous], version: Version) -> Vec<Property> {
    let mut list = Vec::new();
    for Previous { file, value, .. } in before {
        match version {
            Version::V2 => unified(file, value, &mut list),
            Version::V1 | Version::Hybrid => separate(file, value, &mut list),
        }
    }
    if version != Version::V2 {
        let value = |name: &str| {
            let one = before.iter().find(|one| one.file == name)?;
            one.value.trim().parse::<i64>().ok()
        };
        let period = value("cpu.cfs_period_us").filter(|period| *period > 0);
        if let (Some(quota), Some(period)) = (value("cpu.cfs_quota_us"), period) {
            list.push(number("CPUQuotaPeriodUSec", amount(period)));
            list.push(number("CPUQuotaPerSecUSec", a_second(quota, period)));
        }
    }
    list
}

/// A file of a v1 hierarchy that systemd also knows.
fn separate(file: &str, value: &str, list: &mut Vec<Property>) {
    /// The least "no limit" of the kernel: the greatest number of whole pages, of up to 64 KiB.
    const NO_LIMIT: u64 = u64::MAX / 2 - 0xffff;
    let name = match file {
        "memory.limit_in_bytes" => "MemoryLimit",
        "cpu.shares" => "CPUShares",
        "pids.max" => "TasksMax",
        "blkio.weight" | "blkio.bfq.weight" => "BlockIOWeight",
        "cpuset.cpus" | "cpuset.mems" => return unified(file, value, list),
        _ => return,
    };
    let value = value.trim().parse().ok().filter(|value| *value < NO_LIMIT).unwrap_or(INFINITY);
    list.push(number(name, value));
}

fn number(name: &str, value: u64) -> Property {
    (name.to_owned(), Value::U64(value))
}

fn amount(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(INFINITY)
}

fn memory(memory: &Memory, unified: bool, list: &mut Vec<Property>) {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    if let Some(limit) = set(memory.limit) {
        list.push(number(if unified { "MemoryMax" } else { "MemoryLimit" }, amount(limit)));
    }
    if !unified {
        return;
    }
    if let Some(reservation) = set(memory.reservation) {
        list.push(number("MemoryLow", amount(reservation)));
    }
    match (set(memory.limit), set(memory.swap)) {
        (_, Some(-1)) | (Some(-1), None) => list.push(number("MemorySwapMax", INFINITY)),
        (Some(limit), Some(both)) if both >= limit => {
            list.push(number("MemorySwapMax", amount(both - limit)));
        }
        _ => {}
    }
}

fn processor(cpu: &Cpu, unified: bool, list: &mut Vec<Property>) -> Result<()> {
    let idle = cpu.idle.is_some_and(|idle| idle != 0);
    match cpu.shares.filter(|shares| *shares != 0) {
        _ if idle && unified => list.push(number("CPUWeight", IDLE)),
        Some(shares) if unified => {
            list.push(number("CPUWeight", weight::from_shares(shares).into()));
        }
        Some(shares) => list.push(number("CPUShares", shares)),
        None => {}
    }
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        list.push(number("CPUQuotaPeriodUSec", period));
    }
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        let period = cpu.period.and_then(|period| i64::try_from(period).ok());
        let period = period.filter(|period| *period > 0).unwrap_or(PERIOD);
        list.push(number("CPUQuotaPerSecUSec", a_second(quota, period)));
    }
    for (name, text, field) in [
        ("AllowedCPUs", &cpu.cpus, "linux.resources.cpu.cpus"),
        ("AllowedMemoryNodes", &cpu.mems, "linux.resources.cpu.mems"),
    ] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            let bits = bits(text).ok_or_else(|| {
                Error::new(ErrorKind::InvalidSpec, format!("{text:?} is no list such as 0-3,7"))
                    .with_field(field)
            })?;
            list.push((name.to_owned(), Value::Bytes(bits)));
        }
    }
    Ok(())
}

/// The quota of one second, rounded up to a step so that it is never less than asked.
fn a_second(quota: i64, period: i64) -> u64 {
    if quota < 0 {
        return INFINITY;
    }
    let exact = quota.saturating_mul(SECOND) / period;
    let rounded = exact.saturating_add(STEP - 1) / STEP * STEP;
    u64::try_from(rounded).unwrap_or(INFINITY)
}

/// A list such as `0-3,7` as bits, the first byte with the lowest numbers.
fn bits(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // More than any kernel has processors.
        if first > last || last >= 8192 {
            return None;
        }
        for index in first..=last {
            if bytes.len() <= index / 8 {
                bytes.resize(index / 8 + 1, 0);
            }
            *bytes.get_mut(index / 8)? |= 1 << (index % 8);
        }
    }
    Some(bytes)
}

/// A file that systemd also knows; the others are written directly.
fn unified(file: &str, value: &str, list: &mut Vec<Property>) {
    // Written, this changes nothing; a line without a word empties a list.
    if value.is_empty() {
        return;
    }
    let value = value.trim();
    let amount = || match value {
        "max" => Some(INFINITY),
        number => number.parse().ok(),
    };
    let name = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "cpu.weight" => "CPUWeight",
        // The other value stands for no weight of its own.
        "cpu.idle" if value == "1" => return list.push(number("CPUWeight", IDLE)),
        "pids.max" => {
            // 0 and 1 are the same limit, and systemd has no 0.
            list.extend(amount().map(|amount| number("TasksMax", amount.max(1))));
            return;
        }
        "io.weight" => {
            let default = value.strip_prefix("default ").unwrap_or(value);
            list.extend(default.parse().ok().map(|weight| number("IOWeight", weight)));
            return;
        }
        "io.bfq.weight" => {
            // systemd gives the scheduler's usual weight for its own usual one.
            let weight = |weight| if weight == 100 { 100 } else { weight::from_block_io(weight) };
            list.extend(value.parse().ok().map(|old| number("IOWeight", weight(old).into())));
            return;
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            let bits = if value.is_empty() { Some(Vec::new()) } else { bits(value) };
            list.extend(bits.map(|bits| (name.to_owned(), Value::Bytes(bits))));
            return;
        }
        "cpu.max" => {
            let (quota, period) = value.split_once(' ').unwrap_or((value, ""));
            let period: i64 = period.trim().parse().unwrap_or(PERIOD);
            let quota = if quota == "max" { Some(-1) } else { quota.parse().ok() };
            if let (Some(quota), Ok(length)) = (quota, u64::try_from(period.max(1))) {
                list.push(number("CPUQuotaPeriodUSec", length));
                list.push(number("CPUQuotaPerSecUSec", a_second(quota, period.max(1))));
            }
            return;
        }
        "memory.oom.group" => {
            let policy = if value == "1" { "kill" } else { "continue" };
            list.push(("OOMPolicy".to_owned(), Value::Text(policy.to_owned())));
            return;
        }
        _ => return,
    };
    list.extend(amount().map(|amount| number(name, amount)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, version: Version) -> Vec<String> {
        let resources = serde_json::from_str(text).expect("valid resources");
        let list = limits(&resources, version).expect("valid");
        list.iter().map(|(name, value)| format!("{name}={value:?}")).collect()
    }

    #[test]
    fn each_version_has_its_properties() {
        let text = r#"{"memory":{"limit":100,"swap":150,"reservation":7},"pids":{"limit":0},
            "cpu":{"shares":1024,"quota":15,"period":1000,"cpus":"0,9-10"},"blockIO":{"weight":10}}"#;
        assert_eq!(
            shown(text, Version::V2),
            [
                "MemoryMax=U64(100)",
                "MemoryLow=U64(7)",
                "MemorySwapMax=U64(50)",
                "CPUWeight=U64(100)",
                "CPUQuotaPeriodUSec=U64(1000)",
                "CPUQuotaPerSecUSec=U64(20000)",
                "AllowedCPUs=Bytes([1, 6])",
                "TasksMax=U64(1)",
                "IOWeight=U64(1)",
            ]
        );
        assert_eq!(
            shown(
                r#"{"memory":{"limit":-1},"cpu":{"shares":9,"quota":-1},"pids":{"limit":-1}}"#,
                Version::Hybrid
            ),
            [
                "MemoryLimit=U64(18446744073709551615)",
                "CPUShares=U64(9)",
                "CPUQuotaPerSecUSec=U64(18446744073709551615)",
                "TasksMax=U64(18446744073709551615)",
            ]
        );
    }

    #[test]
    fn the_unified_map_is_told_where_systemd_would_overwrite_it() {
        let text = r#"{"unified":{"cpu.max":"max 7","memory.high":"max","io.max":"8:0 rbps=1",
            "memory.oom.group":"1","cpuset.mems":"0"}}"#;
        assert_eq!(
            shown(text, Version::V2),
            [
                "CPUQuotaPeriodUSec=U64(7)",
                "CPUQuotaPerSecUSec=U64(18446744073709551615)",
                "AllowedMemoryNodes=Bytes([1])",
                "MemoryHigh=U64(18446744073709551615)",
                "OOMPolicy=Text(\"kill\")",
            ]
        );
        assert!(shown(text, Version::Hybrid).is_empty());
    }

    #[test]
    fn a_malformed_list_is_refused_by_field() {
        for bad in ["x", "3-1", "1,,2", "99999999"] {
            let cpu = Cpu { cpus: Some(bad.to_owned()), ..Cpu::default() };
            let resources = Resources { cpu: Some(cpu), ..Resources::default() };
            let error = limits(&resources, Version::V2).expect_err(bad);
            assert_eq!(error.field(), Some("linux.resources.cpu.cpus"));
        }
    }

    #[test]
    fn what_files_held_reads_back_as_properties() {
        let shown = |files: &[(&'static str, &str)], version| {
            let all: Vec<Previous> =
                files.iter().map(|(file, value)| Previous::holding(file, value)).collect();
            let one = |(name, value): &Property| format!("{name}={value:?}");
            previous(&all, version).iter().map(one).collect::<Vec<_>>().join(" ")
        };
        let files = [
            ("memory.max", "max"),
            ("cpu.max", "50000 200000"),
            ("pids.max", "0"),
            ("io.bfq.weight", "100"),
            ("io.max", "8:0 rbps=max"),
        ];
        assert_eq!(
            shown(&files, Version::V2),
            "MemoryMax=U64(18446744073709551615) CPUQuotaPeriodUSec=U64(200000) \
             CPUQuotaPerSecUSec=U64(250000) TasksMax=U64(1) IOWeight=U64(100)"
        );
        let files = [
            ("cpuset.cpus", "\n"),
            ("cpuset.mems", "0-1"),
            ("cpu.weight", "59"),
            ("cpu.idle", "0"),
        ];
        assert_eq!(
            shown(&files, Version::V2),
            "AllowedCPUs=Bytes([]) AllowedMemoryNodes=Bytes([3]) CPUWeight=U64(59)"
        );
        assert_eq!(shown(&[("cpuset.mems", "\n")], Version::V1), "AllowedMemoryNodes=Bytes([])");
        assert_eq!(shown(&[("cpu.idle", "1")], Version::V2), "CPUWeight=U64(0)");
        assert_eq!(shown(&[("cpu.idle", "1")], Version::V1), "");
        let files = [
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("cpu.shares", "512"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "-1"),
            ("pids.max", "max"),
        ];
        assert_eq!(
            shown(&files, Version::V1),
            "MemoryLimit=U64(18446744073709551615) CPUShares=U64(512) \
             TasksMax=U64(18446744073709551615) CPUQuotaPeriodUSec=U64(100000) \
             CPUQuotaPerSecUSec=U64(18446744073709551615)"
        );
    }
}
