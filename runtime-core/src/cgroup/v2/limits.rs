//! `linux.resources` as values for the control files of cgroup v2 (kernel documentation,
//! admin-guide/cgroup-v2).
//!
//! As in runc, a zero means "not set", except in `pids.limit` and `cpu.idle`.

use std::borrow::Cow;

use crate::cgroup::limits::{huge_pages, processor_set, rdma, task_limit};
use crate::cgroup::setting::{Absent, Setting};
use crate::cgroup::weight;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::{BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice};

/// Everything but the device rules, in the order of writing: the `unified` map last, so that it
/// wins.
///
/// # Errors
/// When memory and swap contradict each other, or a key of the `unified` map is not a file name.
pub(super) fn settings(resources: &Resources) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    if let Some(cpu) = &resources.cpu {
        processor(cpu, &mut list);
    }
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut list)?;
    }
    if let Some(Pids { limit: Some(limit) }) = resources.pids {
        list.push(Setting::new(
            "pids",
            "pids.max",
            task_limit(limit),
            "linux.resources.pids.limit",
        ));
    }
    if let Some(io) = &resources.block_io {
        block_io(io, &mut list);
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        huge_pages(index, limit, ["max", "rsvd.max"], &mut list);
    }
    rdma(resources, &mut list);
    for (file, value) in &resources.unified {
        unified(file, value, &mut list)?;
    }
    Ok(list)
}

fn memory(memory: &Memory, list: &mut Vec<Setting>) -> Result<()> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        let field = "linux.resources.memory.limit";
        list.push(Setting::new("memory", "memory.max", amount(limit), field));
    }
    if let Some(swap) = swap_alone(limit, memory.swap.filter(|swap| *swap != 0))? {
        // Without the file there is no swap accounting, so no swap to allow or to forbid: then
        // only a positive amount is a limit that cannot be held.
        let absent = if swap <= 0 { Absent::Skip } else { Absent::Fail };
        let field = "linux.resources.memory.swap";
        list.push(Setting::new("memory", "memory.swap.max", amount(swap), field).or(absent));
    }
    if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
        let field = "linux.resources.memory.reservation";
        list.push(Setting::new("memory", "memory.low", amount(reservation), field));
    }
    Ok(())
}

/// The configuration limits memory and swap together, cgroup v2 swap alone.
fn swap_alone(limit: Option<i64>, both: Option<i64>) -> Result<Option<i64>> {
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::InvalidSpec, why).with_field("linux.resources.memory.swap"))
    };
    match (limit, both) {
        (_, Some(-1)) | (Some(-1), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(both)) if both < 0 => refuse("is negative, but not -1"),
        (None | Some(..0), Some(_)) => {
            refuse("limits memory and swap together, but memory has no limit")
        }
        (Some(limit), Some(both)) if both < limit => {
            refuse("limits memory and swap together to less than memory alone")
        }
        (Some(limit), Some(both)) => Ok(Some(both - limit)),
    }
}

fn amount(bytes: i64) -> Cow<'static, str> {
    if bytes < 0 { Cow::Borrowed("max") } else { Cow::Owned(bytes.to_string()) }
}

fn processor(cpu: &Cpu, list: &mut Vec<Setting>) {
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        let weight = weight::from_shares(shares);
        list.push(Setting::new("cpu", "cpu.weight", weight, "linux.resources.cpu.shares"));
    }
    if let Some(idle) = cpu.idle {
        list.push(Setting::new("cpu", "cpu.idle", idle, "linux.resources.cpu.idle"));
    }
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    let field = if quota.is_some() { "quota" } else { "period" };
    let quota = quota.map(|quota| if quota < 0 { "max".to_owned() } else { quota.to_string() });
    let value = match (quota, period) {
        (None, None) => None,
        (Some(quota), None) => Some(quota),
        (quota, Some(period)) => Some(format!("{} {period}", quota.as_deref().unwrap_or("max"))),
    };
    if let Some(value) = value {
        list.push(Setting::new("cpu", "cpu.max", value, format!("linux.resources.cpu.{field}")));
    }
    if let Some(burst) = cpu.burst {
        list.push(Setting::new("cpu", "cpu.max.burst", burst, "linux.resources.cpu.burst"));
    }
    processor_set(cpu, list);
}

fn block_io(io: &BlockIo, list: &mut Vec<Setting>) {
    let path = "linux.resources.blockIO";
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        // The BFQ scheduler takes 1 to 1000 as the configuration does, the io.cost model 1 to
        // 10000.
        let cost = weight::from_block_io(weight).to_string();
        let bfq = Setting::new("io", "io.bfq.weight", weight, format!("{path}.weight"));
        list.push(bfq.or(Absent::Instead("io.weight", cost)));
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        if let Some(weight) = device.weight {
            let line = |weight: u32| format!("{}:{} {weight}", device.major, device.minor);
            let field = format!("{path}.weightDevice[{index}]");
            let cost = Absent::Instead("io.weight", line(weight::from_block_io(weight)));
            list.push(Setting::new("io", "io.bfq.weight", line(weight.into()), field).or(cost));
        }
    }
    let mut throttle = |key: &str, devices: &[ThrottleDevice], name: &str| {
        for (index, device) in devices.iter().enumerate() {
            let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            list.push(Setting::new("io", "io.max", value, format!("{path}.{name}[{index}]")));
        }
    };
    throttle("rbps", &io.throttle_read_bps, "throttleReadBpsDevice");
    throttle("wbps", &io.throttle_write_bps, "throttleWriteBpsDevice");
    throttle("riops", &io.throttle_read_iops, "throttleReadIOPSDevice");
    throttle("wiops", &io.throttle_write_iops, "throttleWriteIOPSDevice");
}

/// One entry of the `unified` map; files such as `io.max` take one line at a time.
fn unified(file: &str, value: &str, list: &mut Vec<Setting>) -> Result<()> {
    let field = format!("linux.resources.unified[{file:?}]");
    let controller = file.split_once('.').map(|(controller, _)| controller);
    let Some(controller) = controller.filter(|name| !name.is_empty() && !file.contains('/')) else {
        return Err(Error::new(ErrorKind::InvalidSpec, "is not the name of a cgroup file")
            .with_field(field));
    };
    for line in value.lines().filter(|line| !line.is_empty()) {
        let setting = Setting::new("", file.to_owned(), line, field.clone());
        list.push(Setting { controller: Cow::Owned(controller.to_owned()), ..setting });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        let resources = serde_json::from_str(text).expect("valid resources");
        let one = |setting: &Setting| format!("{}={}", setting.file, setting.value);
        settings(&resources).expect("valid").iter().map(one).collect()
    }

    fn refused(text: &str) -> Error {
        let resources = serde_json::from_str(text).expect("valid resources");
        settings(&resources).expect_err(text)
    }

    #[test]
    fn memory_and_swap() {
        assert_eq!(
            written(r#"{"memory":{"limit":10,"swap":30,"reservation":5}}"#),
            ["memory.max=10", "memory.swap.max=20", "memory.low=5"]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":10,"swap":10}}"#),
            ["memory.max=10", "memory.swap.max=0"]
        );
        assert_eq!(
            written(r#"{"memory":{"limit":-1}}"#),
            ["memory.max=max", "memory.swap.max=max"]
        );
        assert_eq!(written(r#"{"memory":{"swap":-1}}"#), ["memory.swap.max=max"]);
        for bad in [r#"{"limit":10,"swap":9}"#, r#"{"swap":9}"#, r#"{"limit":-1,"swap":9}"#] {
            let error = refused(&format!("{{\"memory\":{bad}}}"));
            assert_eq!(error.field(), Some("linux.resources.memory.swap"));
        }
    }

    #[test]
    fn processor_time() {
        assert_eq!(written(r#"{"cpu":{"quota":5000}}"#), ["cpu.max=5000"]);
        assert_eq!(written(r#"{"cpu":{"quota":-1,"period":7}}"#), ["cpu.max=max 7"]);
        assert_eq!(
            written(r#"{"cpu":{"shares":1024,"period":7,"burst":0,"cpus":"0"}}"#),
            ["cpu.weight=100", "cpu.max=max 7", "cpu.max.burst=0", "cpuset.cpus=0"]
        );
    }

    #[test]
    fn the_unified_map_comes_last_line_by_line() {
        assert_eq!(
            written(
                r#"{"unified":{"io.max":"8:0 rbps=1\n8:1 rbps=2\n","memory.max":"9"},
                    "memory":{"limit":10}}"#
            ),
            ["memory.max=10", "io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.max=9"]
        );
        refused(r#"{"unified":{"../memory.max":"1"}}"#);
        refused(r#"{"unified":{"memory":"1"}}"#);
    }

    #[test]
    fn block_io_and_huge_pages() {
        assert_eq!(
            written(
                r#"{"blockIO":{"weight":10,"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":3}]},
                    "hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#
            ),
            [
                "io.bfq.weight=10",
                "io.max=8:0 wiops=3",
                "hugetlb.2MB.max=4194304",
                "hugetlb.2MB.rsvd.max=4194304"
            ]
        );
    }
}
