//! `linux.resources`: limits and device rules, as owned values.
//!
//! Source: runtime-spec, config-linux.md, "Control groups". A field that is absent (or `null`) is
//! `None` or empty; what a zero means is decided where it is applied (`cgroup`), not here.

use std::collections::BTreeMap;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::object::object;

object! {
    /// `linux.resources`.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Resources {
        /// Device rules, in order.
        pub devices: Vec<DeviceRule> = "devices",
        /// Memory limits.
        pub memory: Option<Memory> = "memory",
        /// Processor time and placement.
        pub cpu: Option<Cpu> = "cpu",
        /// The limit on tasks.
        pub pids: Option<Pids> = "pids",
        /// Block I/O weights and rates.
        pub block_io: Option<BlockIo> = "blockIO",
        /// Limits on huge pages, one for each page size.
        pub hugepage_limits: Vec<HugepageLimit> = "hugepageLimits",
        /// Traffic class and priorities (cgroup v1 only).
        pub network: Option<Network> = "network",
        /// RDMA limits by device name.
        pub rdma: BTreeMap<String, Rdma> = "rdma",
        /// Files of a cgroup v2 directory and the values to write to them.
        pub unified: BTreeMap<String, String> = "unified",
    }
}

object! {
    /// `linux.resources.memory`; sizes in bytes, −1 means unlimited.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Memory {
        /// The hard limit.
        pub limit: Option<i64> = "limit",
        /// The soft limit.
        pub reservation: Option<i64> = "reservation",
        /// The limit on memory and swap together.
        pub swap: Option<i64> = "swap",
        /// The limit on kernel memory (cgroup v1 only); deprecated, kernels since 5.16 refuse it.
        pub kernel: Option<i64> = "kernel",
        /// The limit on TCP buffers (cgroup v1 only); deprecated.
        pub kernel_tcp: Option<i64> = "kernelTCP",
        /// How readily the kernel swaps, 0 to 100 (cgroup v1 only).
        pub swappiness: Option<u64> = "swappiness",
        /// No OOM killer: tasks that reach the limit sleep (cgroup v1 only).
        pub disable_oom_killer: Option<bool> = "disableOOMKiller",
        /// Hierarchical accounting; the only behaviour since Linux 5.11.
        pub use_hierarchy: Option<bool> = "useHierarchy",
        /// Compare a new limit with the use before setting it.
        pub check_before_update: Option<bool> = "checkBeforeUpdate",
    }
}

object! {
    /// `linux.resources.cpu`; times in microseconds.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Cpu {
        /// Relative share of time, 2 to 262144, by default 1024.
        pub shares: Option<u64> = "shares",
        /// Time per period; −1 means unlimited.
        pub quota: Option<i64> = "quota",
        /// Unused time that may be used later, at most the quota.
        pub burst: Option<u64> = "burst",
        /// The period.
        pub period: Option<u64> = "period",
        /// Real-time scheduling: time per period (cgroup v1 only).
        pub realtime_runtime: Option<i64> = "realtimeRuntime",
        /// Real-time scheduling: the period (cgroup v1 only).
        pub realtime_period: Option<u64> = "realtimePeriod",
        /// The processors to run on, as in `0-3,7`.
        pub cpus: Option<String> = "cpus",
        /// The memory nodes to use, as in `0-1`.
        pub mems: Option<String> = "mems",
        /// 1 to run only when the machine is otherwise idle (SCHED_IDLE), 0 not.
        pub idle: Option<i64> = "idle",
    }
}

object! {
    /// `linux.resources.pids`.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Pids {
        /// The number of tasks; 0 is a limit like every other, −1 means unlimited.
        pub limit: Option<i64> = "limit",
    }
}

object! {
    /// `linux.resources.blockIO`.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct BlockIo {
        /// The weight, 10 to 1000.
        pub weight: Option<u16> = "weight",
        /// The weight against child cgroups, 10 to 1000 (cgroup v1 only).
        pub leaf_weight: Option<u16> = "leafWeight",
        /// Weights by device.
        pub weight_device: Vec<WeightDevice> = "weightDevice",
        /// Bytes read per second, by device.
        pub throttle_read_bps: Vec<ThrottleDevice> = "throttleReadBpsDevice",
        /// Bytes written per second, by device.
        pub throttle_write_bps: Vec<ThrottleDevice> = "throttleWriteBpsDevice",
        /// Read operations per second, by device.
        pub throttle_read_iops: Vec<ThrottleDevice> = "throttleReadIOPSDevice",
        /// Write operations per second, by device.
        pub throttle_write_iops: Vec<ThrottleDevice> = "throttleWriteIOPSDevice",
    }
}

object! {
    /// The weights of one block device.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct WeightDevice {
        /// Major number.
        pub major: i64 = required "major",
        /// Minor number.
        pub minor: i64 = required "minor",
        /// The weight, 10 to 1000.
        pub weight: Option<u16> = "weight",
        /// The weight against child cgroups, 10 to 1000 (cgroup v1 only).
        pub leaf_weight: Option<u16> = "leafWeight",
    }
}

object! {
    /// The rate limit of one block device.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ThrottleDevice {
        /// Major number.
        pub major: i64 = required "major",
        /// Minor number.
        pub minor: i64 = required "minor",
        /// Bytes or operations per second.
        pub rate: u64 = required "rate",
    }
}

object! {
    /// The limit on the use of huge pages of one size.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct HugepageLimit {
        /// The page size as the kernel names it: `2MB`, `1GB`.
        pub page_size: String = required "pageSize",
        /// The limit in bytes.
        pub limit: u64 = required "limit",
    }
}

object! {
    /// `linux.resources.network` (cgroup v1 only).
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Network {
        /// The traffic class of the container's packets.
        pub class_id: Option<u32> = "classID",
        /// Priorities by interface.
        pub priorities: Vec<InterfacePriority> = "priorities",
    }
}

object! {
    /// The priority of the container's traffic on one interface.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct InterfacePriority {
        /// The interface's name.
        pub name: String = required "name",
        /// The priority.
        pub priority: u32 = required "priority",
    }
}

object! {
    /// RDMA limits on one device.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Rdma {
        /// How many handles may be open.
        pub hca_handles: Option<u32> = "hcaHandles",
        /// How many objects may exist.
        pub hca_objects: Option<u32> = "hcaObjects",
    }
}

object! {
    /// One rule of `linux.resources.devices`. Later rules win over earlier ones.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct DeviceRule {
        /// Whether the rule allows (or denies).
        pub allow: bool = shown "allow",
        /// Which kind of device it is about.
        pub kind: DeviceKind = "type",
        /// The major number; `None` (or −1 in the file) is every one.
        pub major: DeviceNumber = "major",
        /// The minor number; `None` (or −1 in the file) is every one.
        pub minor: DeviceNumber = "minor",
        /// What is allowed or denied.
        pub access: Access = "access",
    }
}

/// Which kind of device a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum DeviceKind {
    /// Both kinds.
    #[default]
    #[serde(rename = "a")]
    All,
    /// Character devices.
    #[serde(rename = "c")]
    Character,
    /// Block devices.
    #[serde(rename = "b")]
    Block,
}

impl DeviceKind {
    /// The letter that the configuration and cgroup v1 use: `a`, `c` or `b`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::All => 'a',
            Self::Character => 'c',
            Self::Block => 'b',
        }
    }
}

impl<'de> Deserialize<'de> for DeviceKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*<std::borrow::Cow<'de, str>>::deserialize(deserializer)? {
            "a" | "" => Ok(Self::All),
            "c" | "u" => Ok(Self::Character),
            "b" => Ok(Self::Block),
            other => Err(de::Error::custom(format_args!(
                "device type {other:?} is none of \"a\", \"c\", \"u\", \"b\""
            ))),
        }
    }
}

/// A device number of a rule: `None` is every one, written −1 or left out in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DeviceNumber(pub Option<u32>);

impl<'de> Deserialize<'de> for DeviceNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        if number == -1 {
            return Ok(Self(None));
        }
        u32::try_from(number).map(|number| Self(Some(number))).map_err(|_| {
            de::Error::custom(format_args!("device number {number} is not in 0 to 4294967295"))
        })
    }
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("*"),
        }
    }
}

/// What may be done with a device: a set of read, write and mknod. The default is all three, which
/// is what an absent `access` means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access(u8);

impl Access {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Make a device node: `m`.
    pub const MKNOD: Self = Self(1);
    /// Open for reading: `r`.
    pub const READ: Self = Self(2);
    /// Open for writing: `w`.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// The set as the kernel's `BPF_DEVCG_ACC_*` bits: mknod 1, read 2, write 4.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// This set and the other together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the two sets share an element.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::ALL
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (access, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.meets(access) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for Access {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut access = Self::NONE;
        for letter in text.chars() {
            access = access.with(match letter {
                'r' => Self::READ,
                'w' => Self::WRITE,
                'm' => Self::MKNOD,
                _ => {
                    return Err(de::Error::custom(format_args!(
                        "device access {text:?} has letters other than r, w, m"
                    )));
                }
            });
        }
        if access.is_empty() {
            return Err(de::Error::custom("device access is empty"));
        }
        Ok(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Resources, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn reads_the_whole_range_of_every_number() {
        let resources = parse(
            r#"{"memory":{"limit":-1,"swap":9223372036854775807,"swappiness":18446744073709551615},
                "cpu":{"shares":18446744073709551615,"quota":-9223372036854775808,"idle":1},
                "pids":{"limit":0},"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}],
                "network":{"classID":4294967295}}"#,
        )
        .expect("valid");
        let memory = resources.memory.expect("memory");
        assert_eq!((memory.limit, memory.swap), (Some(-1), Some(i64::MAX)));
        assert_eq!(memory.swappiness, Some(u64::MAX));
        assert_eq!(resources.cpu.expect("cpu").quota, Some(i64::MIN));
        assert_eq!(resources.pids.expect("pids").limit, Some(0));
        assert_eq!(resources.network.expect("network").class_id, Some(u32::MAX));
    }

    #[test]
    fn keys_may_differ_in_case_null_is_absent_unknown_is_ignored() {
        let resources = parse(
            r#"{"MEMORY":{"Limit":1,"reservation":null,"new":{"x":[1]}},"blockio":{},"devices":null}"#,
        )
        .expect("valid");
        assert_eq!(resources.memory, Some(Memory { limit: Some(1), ..Memory::default() }));
        assert_eq!(resources.block_io, Some(BlockIo::default()));
        assert_eq!(resources.devices, []);
    }

    #[test]
    fn device_rules() {
        let resources = parse(
            r#"{"devices":[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":-1,"minor":5,"access":"mr"},{"type":"b"}]}"#,
        )
        .expect("valid");
        let [first, second, third] = &*resources.devices else { panic!("three rules") };
        assert_eq!(*first, DeviceRule::default());
        assert_eq!(second.major, DeviceNumber(None));
        assert_eq!(second.minor, DeviceNumber(Some(5)));
        assert_eq!(second.access, Access::READ.with(Access::MKNOD));
        assert_eq!((third.kind, third.access), (DeviceKind::Block, Access::ALL));
        for bad in [
            r#"{"devices":[{"type":"p"}]}"#,
            r#"{"devices":[{"access":"rx"}]}"#,
            r#"{"devices":[{"access":""}]}"#,
            r#"{"devices":[{"major":4294967296}]}"#,
            r#"{"devices":[{"minor":-2}]}"#,
            r#"{"memory":{"limit":"1"}}"#,
            r#"{"pids":[]}"#,
            r#"{"cpu":{"shares":-1}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn written_and_read_again_it_is_the_same() {
        let text = r#"{"devices":[{"allow":true,"type":"c","major":1,"access":"rw"}],
            "blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7}]},
            "rdma":{"mlx":{"hcaHandles":3}},"unified":{"memory.high":"max"}}"#;
        let resources = parse(text).expect("valid");
        let again = parse(&serde_json::to_string(&resources).expect("written")).expect("read");
        assert_eq!(resources, again);
    }
}
