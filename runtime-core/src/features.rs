//! What this runtime supports, in the shape of the runtime specification's features.md and
//! features-linux.md.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan;
use crate::seccomp::{Machine, is_supported};
use crate::spec::seccomp::{ACTIONS, ARCHITECTURES, FLAGS, Flag, OPERATORS};
use crate::spec::{CAPABILITY_NAMES, MemoryPolicyFlag, MemoryPolicyMode, NamespaceKind};

/// The features document.
///
/// It says what the runtime can do where the kernel can: nothing of this host is looked at but, for
/// [`SeccompFeatures::supported_flags`], the kernel, as the specification asks. What is not in it is
/// refused when a configuration asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Features {
    /// The oldest version of the specification that is recognized.
    pub oci_version_min: &'static str,
    /// The newest version of the specification that is recognized.
    pub oci_version_max: &'static str,
    /// The kinds of hooks.
    pub hooks: Vec<&'static str>,
    /// The mount options, sorted; others are passed to the file system.
    pub mount_options: Vec<String>,
    /// What only Linux has.
    pub linux: LinuxFeatures,
    /// Facts about this runtime.
    pub annotations: BTreeMap<&'static str, &'static str>,
    /// Annotations of a configuration that change what the runtime does; one that ends with a dot stands
    /// for all that begin so.
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// Features that only Linux has (features-linux.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LinuxFeatures {
    /// The types of namespaces.
    pub namespaces: Vec<&'static str>,
    /// The names of capabilities.
    pub capabilities: Vec<&'static str>,
    /// How cgroups can be made.
    pub cgroup: CgroupFeatures,
    /// System call filters.
    pub seccomp: SeccompFeatures,
    /// `process.apparmorProfile`.
    pub apparmor: Enabled,
    /// `process.selinuxLabel`.
    pub selinux: Enabled,
    /// `linux.intelRdt`.
    pub intel_rdt: RdtFeatures,
    /// What mounts can do beyond their options.
    pub mount_extensions: MountExtensions,
    /// `linux.netDevices`.
    pub net_devices: Enabled,
    /// `linux.memoryPolicy`.
    pub memory_policy: MemoryPolicyFeatures,
}

/// NUMA memory policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryPolicyFeatures {
    /// The modes.
    pub modes: Vec<&'static str>,
    /// The flags.
    pub flags: Vec<&'static str>,
}

/// Whether something is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Enabled {
    /// Whether it is.
    pub enabled: bool,
}

/// Cache and memory bandwidth allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RdtFeatures {
    /// Whether it is supported.
    pub enabled: bool,
    /// Whether `linux.intelRdt.schemata` is.
    pub schemata: bool,
    /// Whether `linux.intelRdt.enableMonitoring` is.
    pub monitoring: bool,
}

/// How cgroups can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CgroupFeatures {
    /// Version 1, and the two versions side by side.
    pub v1: bool,
    /// Version 2.
    pub v2: bool,
    /// Through the system's systemd.
    pub systemd: bool,
    /// Through a user's systemd.
    pub systemd_user: bool,
    /// Limits of RDMA devices.
    pub rdma: bool,
}

/// System call filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SeccompFeatures {
    /// Whether filters can be made for the machine this was built for.
    pub enabled: bool,
    /// The actions.
    pub actions: Vec<&'static str>,
    /// The comparisons.
    pub operators: Vec<&'static str>,
    /// The architectures that a profile may name; one that the machine cannot run is left out.
    pub archs: Vec<&'static str>,
    /// The flags that a profile may name.
    pub known_flags: Vec<&'static str>,
    /// The flags that the kernel that runs knows.
    pub supported_flags: Vec<&'static str>,
}

/// What mounts can do beyond their options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MountExtensions {
    /// Mounts with ids of their own.
    pub idmap: Enabled,
}

/// What this runtime supports.
#[must_use]
pub fn features() -> Features {
    let mut mount_options: Vec<String> = plan::mount_option_names().collect();
    mount_options.sort_unstable();
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: "1.3.0",
        hooks: vec![
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options,
        linux: linux(),
        annotations: BTreeMap::from([
            ("io.github.coracle-containers.coracle.version", env!("CARGO_PKG_VERSION")),
            // The name under which engines look for it.
            ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ]),
        potentially_unsafe_config_annotations: vec![
            crate::container::CRIU_CONFIG,
            "org.systemd.property.",
            plan::KEEP_GROUPS,
            plan::CONTEXT_TYPE,
            "run.oci.pidfd_receiver",
            crate::spec::seccomp::RECEIVER,
        ],
    }
}

fn linux() -> LinuxFeatures {
    const YES: Enabled = Enabled { enabled: true };
    let mut namespaces: Vec<&str> = NamespaceKind::ALL.iter().map(|kind| kind.name()).collect();
    namespaces.sort_unstable();
    LinuxFeatures {
        namespaces,
        capabilities: CAPABILITY_NAMES.to_vec(),
        cgroup: CgroupFeatures {
            v1: true,
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: true,
        },
        seccomp: seccomp(),
        apparmor: YES,
        selinux: YES,
        intel_rdt: RdtFeatures { enabled: true, schemata: true, monitoring: true },
        mount_extensions: MountExtensions { idmap: YES },
        net_devices: YES,
        memory_policy: MemoryPolicyFeatures {
            modes: MemoryPolicyMode::ALL.iter().map(|mode| mode.name()).collect(),
            flags: MemoryPolicyFlag::ALL.iter().map(|flag| flag.name()).collect(),
        },
    }
}

fn seccomp() -> SeccompFeatures {
    let supported = Flag::ALL.iter().copied().filter(|flag| is_supported(*flag));
    SeccompFeatures {
        enabled: Machine::native().is_ok(),
        actions: ACTIONS.to_vec(),
        operators: OPERATORS.to_vec(),
        archs: ARCHITECTURES.to_vec(),
        known_flags: FLAGS.to_vec(),
        supported_flags: supported.map(|flag| flag.name()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Host, Labels};
    use crate::plan::{Plan, PlanOptions};
    use crate::spec::Spec;

    #[test]
    fn names_what_engines_ask_for() {
        let features = features();
        for option in ["ro", "rro", "rbind", "rslave", "nosymfollow", "lazytime"] {
            let known = features.mount_options.iter().any(|name| name == option);
            assert!(known, "{option}");
        }
        assert!(features.linux.namespaces.contains(&"user"));
    }

    #[test]
    fn lists_have_no_doubles() {
        let features = features();
        let mut options = features.mount_options.clone();
        options.dedup();
        assert_eq!(options, features.mount_options);
    }

    /// Whether a configuration with this in `linux`, or with a mount with these options, has a plan.
    fn accepted(linux: &str, mount: &str) -> bool {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"r"}},"process":{{"args":["a"],"cwd":"/"}},
                "mounts":[{{"destination":"/a","source":"/b","options":["bind"{mount}]}}],
                "linux":{{"namespaces":[{{"type":"mount"}},{{"type":"network"}},{{"type":"time"}}]
                {linux}}}}}"#
        );
        let spec = serde_json::from_str::<Spec>(&text).expect(&text);
        let labels = Labels { apparmor: true, selinux: true };
        let host = Host { labels, ..Host::default() };
        let options = PlanOptions::new("a".parse().expect("an id"), "/bundle".into());
        Plan::compile(&spec, &host, &options).is_ok()
    }

    #[test]
    fn what_is_promised_has_a_plan() {
        let Features { mount_options, linux, .. } = features();
        let option = |name: &str| mount_options.iter().any(|option| option == name);
        for (promised, in_linux, mount) in [
            (linux.namespaces.contains(&"time"), "", ""),
            (linux.intel_rdt.enabled, r#","intelRdt":{"closID":"a"}"#, ""),
            (linux.intel_rdt.schemata, r#","intelRdt":{"schemata":["L3:0=f"]}"#, ""),
            (linux.intel_rdt.monitoring, r#","intelRdt":{"enableMonitoring":true}"#, ""),
            (linux.net_devices.enabled, r#","netDevices":{"eth0":{"name":"n%d"}}"#, ""),
            (linux.selinux.enabled, r#","mountLabel":"a_u:a_r:a_t""#, ""),
            (option("rro"), "", r#","rro""#),
            (
                linux.seccomp.actions.contains(&"SCMP_ACT_NOTIFY"),
                r#","seccomp":{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}"#,
                "",
            ),
        ] {
            assert!(promised && accepted(in_linux, mount), "{in_linux} {mount}");
        }
        assert!(!accepted(r#","intelRdt":{"closID":"a/b"}"#, ""), "an invalid one has none");
        assert_eq!(linux.mount_extensions.idmap.enabled, option("idmap"));
    }

    #[cfg(feature = "oci-spec")]
    #[test]
    fn another_reader_of_the_specification_understands_it() {
        let json = serde_json::to_string(&features()).expect("JSON");
        let read: oci_spec::runtime::Features = serde_json::from_str(&json).expect("understood");
        let written: serde_json::Value = serde_json::to_value(&read).expect("JSON");
        assert_eq!(written["ociVersionMax"], "1.3.0");
        assert_eq!(written["linux"]["cgroup"]["v1"], true);
        assert_eq!(written["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(written["linux"]["memoryPolicy"]["modes"][1], "MPOL_BIND");
    }
}
