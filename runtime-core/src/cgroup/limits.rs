//! Limits whose files and values are the same in both versions of control groups.

use super::setting::{Absent, Setting};
use crate::spec::resources::{Cpu, HugepageLimit, Resources};

/// The value of `pids.max` for the first process to come: it can be born into a cgroup with 1
/// (`CLONE_INTO_CGROUP`), not into one with 0, which [`allows_no_task`] sets afterwards.
pub(super) fn task_limit(limit: i64) -> String {
    match limit {
        0 => "1".to_owned(),
        limit if limit < 0 => "max".to_owned(),
        limit => limit.to_string(),
    }
}

/// Whether the limit is one that no further task fits under, not even by its number.
pub(super) fn allows_no_task(resources: &Resources) -> bool {
    resources.pids.as_ref().is_some_and(|pids| pids.limit == Some(0))
}

/// The processors and memory nodes, whose files have the same names in both versions.
pub(super) fn processor_set(cpu: &Cpu, list: &mut Vec<Setting>) {
    for (file, value, field) in [
        ("cpuset.cpus", &cpu.cpus, "linux.resources.cpu.cpus"),
        ("cpuset.mems", &cpu.mems, "linux.resources.cpu.mems"),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            list.push(Setting::new("cpuset", file, value, field));
        }
    }
}

/// The two limits on huge pages; the one on reservations is newer (Linux 5.7).
pub(super) fn huge_pages(
    index: usize,
    limit: &HugepageLimit,
    files: [&str; 2],
    list: &mut Vec<Setting>,
) {
    let [used, reserved] = files;
    let size = &limit.page_size;
    let field = format!("linux.resources.hugepageLimits[{index}]");
    let file = |end: &str| format!("hugetlb.{size}.{end}");
    list.push(Setting::new("hugetlb", file(used), limit.limit, field.clone()));
    list.push(Setting::new("hugetlb", file(reserved), limit.limit, field).or(Absent::Skip));
}

/// RDMA limits, which are the same in both versions.
pub(super) fn rdma(resources: &Resources, list: &mut Vec<Setting>) {
    for (device, limits) in &resources.rdma {
        let pairs = [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)];
        let mut value = device.clone();
        for (name, limit) in pairs {
            if let Some(limit) = limit {
                value = format!("{value} {name}={limit}");
            }
        }
        let field = format!("linux.resources.rdma[{device:?}]");
        list.push(Setting::new("rdma", "rdma.max", value, field));
    }
}
