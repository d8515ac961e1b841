//! What a case is.

use std::path::Path;

use crate::failure::Check;
use crate::host::{self, Host};
use crate::network::Network;
use crate::offers::Offers;
use crate::trial::Trial;

/// One promise of a runtime and the steps that check it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// `group/name`.
    pub(crate) name: &'static str,
    /// Section of the specification or the convention, and what it promises.
    pub(crate) promise: &'static str,
    /// The rows of the checklist that the case proves.
    pub(crate) rows: &'static [&'static str],
    /// What the machine must offer.
    pub(crate) needs: &'static [Need],
    /// The steps.
    pub(crate) body: fn(&Trial) -> Check,
}

/// Something that not every machine or user has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// User id 0 with its capabilities.
    Root,
    /// A cgroup hierarchy in which this user may make cgroups.
    Cgroup,
    /// The runtime makes the cgroups itself, and not through systemd.
    Cgroupfs,
    /// systemd makes the cgroups.
    Systemd,
    /// The controller of this name, usable by this user.
    Controller(&'static str),
    /// A pure version 2 hierarchy.
    CgroupV2,
    /// A user other than root.
    OrdinaryUser,
    /// newuidmap and newgidmap, and ranges of ids for this user in /etc/subuid and /etc/subgid.
    SubordinateIds,
    /// The program of this name, in PATH.
    Program(&'static str),
    /// Controllers in cgroup v1 hierarchies.
    CgroupV1,
    /// A device that the RDMA controller can limit.
    RdmaDevice,
    /// Mounts with ids of their own of the file system with the temporary files.
    MappedMounts,
    /// User namespaces.
    UserNamespace,
    /// Time namespaces.
    TimeNamespace,
    /// `/bin/busybox`, static.
    Busybox,
    /// A kernel at least this new.
    Kernel(u32, u32),
    /// Real-time policies for this user.
    RealTime,
    /// The deadline policy for this user.
    Deadline,
    /// Policies for memory nodes.
    MemoryPolicy,
    /// AppArmor, and the program that loads profiles.
    AppArmor,
    /// No AppArmor.
    NoAppArmor,
    /// SELinux with a policy for containers.
    Selinux,
    /// No SELinux.
    NoSelinux,
    /// criu, on a kernel that has what it needs.
    Criu,
    /// The runtime has this command, which the specification does not ask for.
    Command(&'static str),
    /// The runtime has this option before the command, which the specification does not ask for.
    GlobalOption(&'static str),
    /// Pairs of network devices can be made.
    NetworkDevices,
    /// The runtime says that it has this newer feature: the pointer to an object with `enabled` in its features.
    Feature(&'static str),
    /// The runtime offers this action of seccomp.
    SeccompAction(&'static str),
}

impl Case {
    /// A case without needs.
    pub(crate) const fn new(
        name: &'static str,
        promise: &'static str,
        body: fn(&Trial) -> Check,
    ) -> Self {
        Self { name, promise, rows: &[], needs: &[], body }
    }

    /// The same case as a proof of rows of the checklist, by their ids.
    #[must_use]
    pub(crate) const fn rows(self, rows: &'static [&'static str]) -> Self {
        Self { rows, ..self }
    }

    /// The same case with needs.
    #[must_use]
    pub(crate) const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    /// Why this case cannot run here.
    pub(crate) fn missing(&self, host: &Host, offers: &Offers) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing(host, offers))
    }
}

impl Need {
    fn missing(self, host: &Host, offers: &Offers) -> Option<String> {
        let (there, reason) = match self {
            Self::Root => (host.root, "needs root".to_owned()),
            Self::Cgroup => (host.cgroup_writable, "needs a writable cgroup".to_owned()),
            Self::Cgroupfs => (host.systemd.is_none(), "needs the cgroupfs driver".to_owned()),
            Self::Systemd => (host.systemd.is_some(), "needs the systemd driver".to_owned()),
            Self::Controller(name) => {
                (host.has_controller(name), format!("needs the cgroup controller {name}"))
            }
            Self::CgroupV2 => (host.v2, "needs a pure cgroup v2 host".to_owned()),
            Self::OrdinaryUser => (!host.root, "needs an ordinary user".to_owned()),
            Self::SubordinateIds => {
                (host.subordinate.is_some(), "needs newuidmap and ids in /etc/subuid".to_owned())
            }
            Self::Program(name) => {
                (crate::host::find_program(name).is_some(), format!("needs the program {name}"))
            }
            Self::CgroupV1 => (!host.v2, "needs controllers in cgroup v1 hierarchies".to_owned()),
            Self::RdmaDevice => (host.rdma_device, "needs an RDMA device".to_owned()),
            Self::MappedMounts => {
                (host.mapped_mounts, "needs id-mapped mounts of the temporary files".to_owned())
            }
            Self::UserNamespace => (host.user_namespace, "needs user namespaces".to_owned()),
            Self::TimeNamespace => (host.time_namespace, "needs time namespaces".to_owned()),
            Self::Busybox => (host.busybox, "needs /bin/busybox".to_owned()),
            Self::Kernel(major, minor) => {
                (host.kernel >= (major, minor), format!("needs Linux {major}.{minor}"))
            }
            Self::RealTime => {
                (host::schedules(&["-f", "1"]), "needs real-time policies".to_owned())
            }
            Self::Deadline => (
                host::schedules(&["-d", "-T", "1000000", "-P", "10000000", "0"]),
                "needs the deadline policy".to_owned(),
            ),
            Self::MemoryPolicy => {
                (Path::new("/proc/self/numa_maps").exists(), "needs NUMA policies".to_owned())
            }
            Self::AppArmor => {
                (host.root && host::apparmor(), "needs AppArmor and apparmor_parser".to_owned())
            }
            Self::NoAppArmor => (!host::apparmor(), "AppArmor is on".to_owned()),
            Self::Selinux => (host.root && host::selinux(), "needs SELinux".to_owned()),
            Self::NoSelinux => (!host::selinux(), "SELinux is on".to_owned()),
            Self::NetworkDevices => {
                (Network::is_possible(), "needs network devices of the kind veth".to_owned())
            }
            Self::Criu => (host::criu(), "needs criu, and a kernel for it".to_owned()),
            Self::Command(_)
            | Self::GlobalOption(_)
            | Self::Feature(_)
            | Self::SeccompAction(_) => {
                return self.not_offered(offers);
            }
        };
        (!there).then_some(reason)
    }

    /// Of what is the runtime's: why this case cannot run with it.
    fn not_offered(self, offers: &Offers) -> Option<String> {
        let (there, what) = match self {
            Self::Command(name) => (offers.has_command(name), format!("has no command {name}")),
            Self::GlobalOption(name) => (offers.has_option(name), format!("has no option {name}")),
            Self::Feature(place) => (offers.has_feature(place), format!("does not offer {place}")),
            Self::SeccompAction(name) => {
                (offers.has_seccomp_action(name), format!("does not offer {name}"))
            }
            _ => return None,
        };
        (!there).then(|| format!("the runtime {what}"))
    }
}
