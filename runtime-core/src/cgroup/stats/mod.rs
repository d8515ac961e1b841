//! What a container uses: statistics of its cgroup, in the shape of `runc events --stats`.
//!
//! The keys are runc's, so that its consumers understand them; what runc leaves out (memory events
//! and peaks, pressure on hybrid hosts, RDMA and misc resources, the details of block I/O) has keys
//! of its own. What the kernel does not account for is absent or zero.

mod figures;
mod pressure;
pub(super) mod v1;
pub(super) mod v2;

use std::collections::BTreeMap;

use serde::Serialize;

pub use pressure::{Pressure, PressureShare};

/// The statistics of a container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Where it may run.
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidStats,
    /// Block I/O.
    pub blkio: BlockIoStats,
    /// Huge pages, by their size as in `2MB`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hugetlb: BTreeMap<String, Usage>,
    /// RDMA resources, by device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, BTreeMap<String, u64>>,
    /// Resources of the misc controller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub misc: BTreeMap<String, Usage>,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CpuStats {
    /// Time used.
    pub usage: CpuUsage,
    /// What the quota has held back.
    pub throttling: Throttling,
    /// Time that tasks waited for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Processor time used, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuUsage {
    /// All of it.
    pub total: u64,
    /// By processor (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, by processor (cgroup v1).
    #[serde(rename = "percpu_kernel", skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In programs, by processor (cgroup v1).
    #[serde(rename = "percpu_user", skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What the quota has held back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Throttling {
    /// Periods that have passed.
    pub periods: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// How long tasks were held back, in nanoseconds.
    pub throttled_time: u64,
    /// Periods in which saved time was used.
    pub bursts: u64,
    /// How much of it, in nanoseconds.
    pub burst_time: u64,
}

/// Where the container may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpusetStats {
    /// Processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
}

/// An amount in use, with its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// The limit; the greatest number where there is none.
    pub limit: u64,
    /// In use.
    pub usage: u64,
    /// The most that was ever in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Of it, pages of files.
    pub cache: u64,
    /// Memory.
    pub usage: Usage,
    /// Memory and swap together.
    pub swap: Usage,
    /// Kernel memory (cgroup v1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Usage>,
    /// TCP buffers (cgroup v1).
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<Usage>,
    /// `memory.stat`.
    pub raw: BTreeMap<String, u64>,
    /// How often limits were hit and processes killed, with all below (`memory.events`; on cgroup v1
    /// only `oom_kill`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, u64>,
    /// The same for swap (`memory.swap.events`).
    #[serde(rename = "swapEvents", skip_serializing_if = "BTreeMap::is_empty")]
    pub swap_events: BTreeMap<String, u64>,
    /// Time that tasks waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PidStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most that there ever were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// How often the limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failcnt: Option<u64>,
}

/// Block I/O, with everything below.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BlockIoStats {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlockIoEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlockIoEntry>,
    /// `io.stat` by device (`8:0`), every key of the kernel and of its I/O controllers (cgroup v2).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, BTreeMap<String, u64>>,
    /// Time that tasks waited for block I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One count of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockIoEntry {
    /// The device's major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// What is counted: `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`.
    pub op: String,
    /// The count.
    pub value: u64,
}
