//! The plan: what a configuration means on a host, decided before anything is done.
//!
//! [`Plan::compile`] is a pure function of the configuration, the host's facts and the options. The
//! steps of the init program are kept in their final, encoded form; what they are in words is worked
//! out when somebody asks ([`Plan`]'s `Display`, error messages).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

use crate::id::ContainerId;
use crate::program::{Gate, Program, Step};
use crate::spec::{
    Hooks, IntelRdt, MemoryPolicy, NamespaceKind, NetDevice, Personality, Process, Resources,
    Rlimit, Seccomp,
};

mod annotations;
mod cgroup_mount;
mod cgroup_owner;
mod compile;
mod describe;
mod devices;
mod document;
mod draft;
mod explain;
mod filesystem;
mod id_maps;
mod id_option;
mod labels;
mod mount_changes;
mod mount_options;
mod mounts;
mod namespaces;
mod notify;
mod origin;
mod payload;
mod scheduling;
mod trees;

pub(crate) use annotations::{CONTEXT_TYPE, KEEP_GROUPS, keeps_groups};
pub(crate) use compile::Container;
pub(crate) use describe::describe;
pub(crate) use document::StateDocument;
pub(crate) use id_maps::IdMaps;
pub(crate) use mount_changes::{Addition, Mounting};
pub(crate) use mount_options::names as mount_option_names;
pub(crate) use namespaces::flag as namespace_flag;
pub(crate) use notify::{DIRECTORY as NOTIFY_DIRECTORY, SOCKET as NOTIFY_SOCKET};
pub(crate) use origin::Origin;
pub(crate) use trees::MountIds;

/// What the caller decides about a container, beside its configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanOptions {
    /// The container's name.
    pub id: ContainerId,
    /// The bundle, absolute: relative paths of the configuration are taken from here.
    pub bundle: PathBuf,
    /// Move the root instead of pivot_root(2), for hosts whose root is the initial RAM disk.
    pub no_pivot: bool,
    /// Leave the session keyring of the caller in place.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on are sockets for the program (`sd_listen_fds(3)`).
    pub listen_fds: u32,
    /// How many more descriptors the program keeps.
    pub preserve_fds: u32,
    /// The directory on the host with the socket for messages to the service manager, if there is one;
    /// the program finds it by its variable `NOTIFY_SOCKET` (`sd_notify(3)`).
    pub notify_directory: Option<PathBuf>,
    /// Whether the program gets other standard streams than the caller's.
    pub streams: bool,
}

impl PlanOptions {
    /// The usual choices for a container in a bundle.
    #[must_use]
    pub const fn new(id: ContainerId, bundle: PathBuf) -> Self {
        Self {
            id,
            bundle,
            no_pivot: false,
            no_new_keyring: false,
            listen_fds: 0,
            preserve_fds: 0,
            notify_directory: None,
            streams: false,
        }
    }
}

/// What will be done to create a container (or to start a process in one), step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The encoded program of the init program.
    pub(crate) program: Vec<u8>,
    /// Which field of the configuration each step comes from; as many as there are steps.
    pub(crate) origins: Vec<Origin>,
    /// What is opened before the spawn, with the field it comes from; slot `i` of the program is
    /// `sources[i]`.
    pub(crate) sources: Vec<(Source, Origin)>,
    /// `CLONE_NEW*` flags of the spawn itself.
    pub(crate) clone_flags: u64,
    /// `CLONE_NEW*` kinds of all namespaces that differ from the caller's, new or joined.
    pub(crate) namespaces: u64,
    /// The maps of a new user namespace.
    pub(crate) id_maps: Option<IdMaps>,
    /// The maps that a joined user namespace must have.
    pub(crate) joined_maps: Option<IdMaps>,
    /// Whether the container lives below a root of its own in a mount namespace of others.
    pub(crate) shares_mounts: bool,
    /// Whether the caller can write any id map and make mounts itself.
    pub(crate) privileged: bool,
    /// `process.oomScoreAdj`.
    pub(crate) oom_score_adj: Option<i32>,
    /// Limits whose hard value the caller may have to raise; the init program sets all of them.
    pub(crate) rlimits: Vec<Rlimit>,
    /// `linux.cgroupsPath`.
    pub(crate) cgroups_path: Option<String>,
    /// The user and the group that the container's cgroup is given to.
    pub(crate) cgroup_owner: Option<(u32, u32)>,
    /// `linux.resources`.
    pub(crate) resources: Option<Resources>,
    /// `linux.intelRdt`.
    pub(crate) intel_rdt: Option<IntelRdt>,
    /// `linux.netDevices`.
    pub(crate) net_devices: BTreeMap<String, NetDevice>,
    /// The profile to compile while the init program mounts.
    pub(crate) seccomp: Option<Seccomp>,
    /// Hooks in the runtime's namespaces, and those still to run after the create.
    pub(crate) hooks: Hooks,
    /// The process settings, recorded for processes that join later.
    pub(crate) process: Option<Process>,
    /// The execution domain, recorded as well.
    pub(crate) personality: Option<Personality>,
    /// The NUMA memory policy, recorded as well.
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// Whether the program sends the master of a terminal.
    pub(crate) terminal: bool,
    /// How many descriptors from 3 on the payload keeps.
    pub(crate) keep_fds: u32,
    /// What was odd but not wrong in the configuration.
    pub(crate) warnings: Vec<String>,
    /// Nodes of the host that are shown for devices of the configuration.
    pub(crate) shown_devices: Vec<(ShownDevice, Origin)>,
}

/// A device node that the caller makes for a container whose user namespace cannot have one made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Type and permissions.
    pub(crate) mode: u32,
    /// The major number.
    pub(crate) major: u32,
    /// The minor number.
    pub(crate) minor: u32,
    /// The owner, in the caller's ids.
    pub(crate) uid: u32,
    /// The group, in the caller's ids.
    pub(crate) gid: u32,
}

/// A node of the host that stands for a device of the configuration, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownDevice {
    /// The path, on the host as in the container.
    pub(crate) path: PathBuf,
    /// The type of the file, as stat(2) has it.
    pub(crate) kind: u32,
    /// Major and minor number.
    pub(crate) number: (u32, u32),
}

/// Something that the caller opens before the spawn and hands to the init program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A detached copy of the mount at this path of the host.
    Tree {
        /// The path.
        path: PathBuf,
        /// With the mounts below it.
        recursive: bool,
    },
    /// The same with ids of its own (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
    MappedTree {
        /// The path.
        path: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// The ids.
        ids: MountIds,
        /// The ids are for the mounts below as well.
        whole: bool,
    },
    /// A new file system that nobody sees yet, with ids of its own.
    MappedFilesystem {
        /// Its type.
        kind: CString,
        /// What it is made of, mostly only a name.
        source: CString,
        /// Its options, each ended by a NUL: `key` or `key=value`.
        options: Vec<u8>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
        /// The ids.
        ids: MountIds,
    },
    /// A detached copy of a mount that shows a new node and nothing else.
    Node(Node),
    /// A namespace by its file.
    Namespace {
        /// The file.
        path: PathBuf,
        /// What it must be.
        kind: NamespaceKind,
    },
    /// A detached copy of the container's own directory in the v1 hierarchy with this name, as
    /// `cgroup::Layout` names it.
    Cgroup {
        /// The name of the hierarchy's mount point.
        hierarchy: String,
    },
    /// The socket on which the init program waits for the start.
    StartSocket,
    /// The pidfd of the container's init process.
    InitPidfd,
    /// The root directory of the container's init process.
    InitRoot,
    /// The program's standard input (0), output (1) or error (2), where they are not the caller's.
    Stream(usize),
}

impl Plan {
    /// The steps with the field that each comes from.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Step<'_>, &Origin)> {
        Program::decode(&self.program)
            .into_iter()
            .flat_map(|program| program.steps())
            .flatten()
            .zip(&self.origins)
    }

    /// Whether the init program comes to this gate.
    pub(crate) fn has_gate(&self, wanted: Gate) -> bool {
        self.steps().any(|(step, _)| match step {
            Step::Gate { gate } => gate == wanted as u32,
            Step::AwaitStart { .. } => wanted == Gate::Ready,
            _ => false,
        })
    }

    /// Whether the process must not be born in the container's cgroup, but moved there.
    pub(crate) fn enters_cgroup_late(&self) -> bool {
        let affinity = self.process.as_ref().and_then(|process| process.exec_cpu_affinity.as_ref());
        let initial = affinity.and_then(|affinity| affinity.initial.as_ref());
        initial.is_some_and(|list| !list.is_empty())
    }

    /// What was odd but not wrong in the configuration, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
