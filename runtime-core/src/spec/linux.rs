//! `linux`: what only Linux has (config-linux.md).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::object::{names, object};
use super::resources::Resources;
use super::seccomp::Seccomp;

object! {
    /// The Linux section (config-linux.md).
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Linux {
        /// The namespaces to make or join; a kind that is absent is the caller's.
        pub namespaces: Vec<Namespace> = "namespaces",
        /// The user ids of the user namespace.
        pub uid_mappings: Vec<IdMapping> = "uidMappings",
        /// The group ids of the user namespace.
        pub gid_mappings: Vec<IdMapping> = "gidMappings",
        /// The clocks of the time namespace, by the names `monotonic` and `boottime`.
        pub time_offsets: BTreeMap<String, TimeOffset> = "timeOffsets",
        /// Device nodes to make, beside the default ones.
        pub devices: Vec<Device> = "devices",
        /// Host network interfaces to move into the network namespace, by their host name.
        pub net_devices: BTreeMap<String, NetDevice> = "netDevices",
        /// Where the container's cgroup is; absent leaves the choice to the runtime.
        pub cgroups_path: Option<String> = "cgroupsPath",
        /// The cgroup's limits.
        pub resources: Option<Resources> = "resources",
        /// Cache and memory bandwidth allocation.
        pub intel_rdt: Option<IntelRdt> = "intelRdt",
        /// Kernel parameters of the container's namespaces, by their name in dots.
        pub sysctl: BTreeMap<String, String> = "sysctl",
        /// The system call filter.
        pub seccomp: Option<Seccomp> = "seccomp",
        /// How mount events travel between the root file system and the host's.
        pub rootfs_propagation: Option<Propagation> = "rootfsPropagation",
        /// Paths that the container cannot read.
        pub masked_paths: Vec<PathBuf> = "maskedPaths",
        /// Paths that the container cannot write.
        pub readonly_paths: Vec<PathBuf> = "readonlyPaths",
        /// The SELinux context of the mounts.
        pub mount_label: Option<String> = "mountLabel",
        /// The execution domain (`personality(2)`).
        pub personality: Option<Personality> = "personality",
        /// The NUMA memory policy (`set_mempolicy(2)`).
        pub memory_policy: Option<MemoryPolicy> = "memoryPolicy",
    }

    /// A namespace to make, or to join when it has a path.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Namespace {
        /// The kind, the key `type`.
        pub kind: NamespaceKind = required "type",
        /// The file of an existing namespace, absolute, on the host.
        pub path: Option<PathBuf> = "path",
    }

    /// A range of ids of a user namespace or of an id-mapped mount (`user_namespaces(7)`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IdMapping {
        /// The first id in the container.
        pub container_id: u32 = required "containerID",
        /// The first id on the host.
        pub host_id: u32 = required "hostID",
        /// How many ids.
        pub size: u32 = required "size",
    }

    /// The offset of a clock in a time namespace.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct TimeOffset {
        /// Seconds.
        pub secs: i64 = "secs",
        /// Nanoseconds, below a second.
        pub nanosecs: u32 = "nanosecs",
    }

    /// A device node.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Device {
        /// The kind, the key `type`.
        pub kind: DeviceKind = required "type",
        /// Where, absolute, inside the container.
        pub path: PathBuf = required "path",
        /// The major number; required but for a FIFO.
        pub major: Option<u32> = "major",
        /// The minor number; required but for a FIFO.
        pub minor: Option<u32> = "minor",
        /// The mode; bits of the file's type may be set and mean nothing.
        pub file_mode: Option<u32> = "fileMode",
        /// The owner, as seen in the container.
        pub uid: Option<u32> = "uid",
        /// The group, as seen in the container.
        pub gid: Option<u32> = "gid",
    }

    /// A network interface to move into the container.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct NetDevice {
        /// Its name there, if another.
        pub name: Option<String> = "name",
    }

    /// Intel Resource Director Technology (`resctrl`).
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct IntelRdt {
        /// The class of service.
        pub clos_id: Option<String> = "closID",
        /// Lines of its `schemata` file.
        pub schemata: Vec<String> = "schemata",
        /// The lines for the level 3 cache.
        pub l3_cache_schema: Option<String> = "l3CacheSchema",
        /// The lines for the memory bandwidth.
        pub mem_bw_schema: Option<String> = "memBwSchema",
        /// Whether to make a monitoring group.
        pub enable_monitoring: bool = "enableMonitoring",
        /// Older form of [`enable_monitoring`](Self::enable_monitoring), for the cache.
        pub enable_cmt: bool = "enableCMT",
        /// Older form of [`enable_monitoring`](Self::enable_monitoring), for the bandwidth.
        pub enable_mbm: bool = "enableMBM",
    }

    /// An execution domain.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Personality {
        /// The domain.
        pub domain: PersonalityDomain = required "domain",
        /// Flags; the specification names none.
        pub flags: Vec<String> = "flags",
    }

    /// A NUMA memory policy.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MemoryPolicy {
        /// The mode.
        pub mode: MemoryPolicyMode = required "mode",
        /// The nodes, as a list like `0-3,7`.
        pub nodes: Option<String> = "nodes",
        /// Flags of the mode.
        pub flags: Vec<MemoryPolicyFlag> = "flags",
    }
}

names! {
    /// A kind of namespace (`namespaces(7)`).
    pub enum NamespaceKind, "namespace type" {
        /// Process ids.
        Pid = "pid",
        /// The network stack.
        Network = "network",
        /// Mounts.
        Mount = "mount",
        /// System V IPC and POSIX message queues.
        Ipc = "ipc",
        /// Host and domain name.
        Uts = "uts",
        /// User and group ids, and capabilities.
        User = "user",
        /// The root of the cgroup hierarchy.
        Cgroup = "cgroup",
        /// Boot and monotonic clocks.
        Time = "time",
    }

    /// A kind of device node.
    pub enum DeviceKind, "device type" {
        /// A character device.
        Char = "c",
        /// An unbuffered character device, which Linux has no difference for.
        Unbuffered = "u",
        /// A block device.
        Block = "b",
        /// A FIFO.
        Fifo = "p",
    }

    /// How mount events travel (`mount_namespaces(7)`).
    pub enum Propagation, "propagation" {
        /// Both ways.
        Shared = "shared",
        /// From the host to the container.
        Slave = "slave",
        /// Not at all.
        Private = "private",
        /// Not at all, and it cannot be bind mounted.
        Unbindable = "unbindable",
        /// [`Shared`](Self::Shared), with all mounts below.
        RecursiveShared = "rshared",
        /// [`Slave`](Self::Slave), with all mounts below.
        RecursiveSlave = "rslave",
        /// [`Private`](Self::Private), with all mounts below.
        RecursivePrivate = "rprivate",
        /// [`Unbindable`](Self::Unbindable), with all mounts below.
        RecursiveUnbindable = "runbindable",
    }

    /// An execution domain.
    pub enum PersonalityDomain, "execution domain" {
        /// Plain Linux.
        Linux = "LINUX",
        /// Linux that calls itself 32-bit.
        Linux32 = "LINUX32",
    }

    /// A mode of `set_mempolicy(2)`.
    pub enum MemoryPolicyMode, "memory policy mode" {
        /// The kernel's default.
        Default = "MPOL_DEFAULT",
        /// Only these nodes.
        Bind = "MPOL_BIND",
        /// Spread over these nodes.
        Interleave = "MPOL_INTERLEAVE",
        /// Spread over these nodes by weight.
        WeightedInterleave = "MPOL_WEIGHTED_INTERLEAVE",
        /// This node first.
        Preferred = "MPOL_PREFERRED",
        /// These nodes first.
        PreferredMany = "MPOL_PREFERRED_MANY",
        /// The node of the CPU.
        Local = "MPOL_LOCAL",
    }

    /// A flag of `set_mempolicy(2)`.
    pub enum MemoryPolicyFlag, "memory policy flag" {
        /// Pages move to the node that uses them.
        NumaBalancing = "MPOL_F_NUMA_BALANCING",
        /// Nodes count from the first of the cpuset.
        RelativeNodes = "MPOL_F_RELATIVE_NODES",
        /// Nodes are the machine's.
        StaticNodes = "MPOL_F_STATIC_NODES",
    }
}

impl Linux {
    /// The namespace of this kind, if the container has one of its own.
    #[must_use]
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// The names of those id maps that are given.
    pub(crate) fn mapped_fields(&self) -> impl Iterator<Item = &'static str> {
        [("linux.uidMappings", &self.uid_mappings), ("linux.gidMappings", &self.gid_mappings)]
            .into_iter()
            .filter(|(_, map)| !map.is_empty())
            .map(|(name, _)| name)
    }
}
