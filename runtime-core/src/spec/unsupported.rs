//! What the specification knows and this version does not do yet.

use super::{NamespaceKind, PersonalityDomain, Spec};
use crate::error::{Error, ErrorKind};

/// Whether a configuration asks for it, and the field to name.
type Row = (fn(&Spec) -> bool, &'static str);

/// One row for each thing that is missing.
const MISSING: &[Row] = &[
    (
        |spec| process(spec, |process| process.scheduler.is_some()),
        "process.scheduler",
    ),
    (
        |spec| process(spec, |process| process.io_priority.is_some()),
        "process.ioPriority",
    ),
    (
        |spec| process(spec, |process| process.exec_cpu_affinity.is_some()),
        "process.execCPUAffinity",
    ),
    (
        |spec| spec.linux.memory_policy.is_some(),
        "linux.memoryPolicy",
    ),
    (
        |spec| {
            spec.linux.personality.as_ref().is_some_and(|personality| {
                personality.domain != PersonalityDomain::Linux || !personality.flags.is_empty()
            })
        },
        "linux.personality",
    ),
    (|spec| spec.linux.intel_rdt.is_some(), "linux.intelRdt"),
    (
        |spec| !spec.linux.net_devices.is_empty(),
        "linux.netDevices",
    ),
    (
        |spec| !spec.linux.time_offsets.is_empty(),
        "linux.timeOffsets",
    ),
    (
        |spec| spec.linux.namespace(NamespaceKind::Time).is_some(),
        "linux.namespaces",
    ),
    (|spec| spec.linux.mount_label.is_some(), "linux.mountLabel"),
];

fn process(spec: &Spec, asks: fn(&super::Process) -> bool) -> bool {
    spec.process.as_ref().is_some_and(asks)
}

/// The first thing in a configuration that this version cannot do, as an error of the kind
/// [`ErrorKind::Unsupported`] that names the field.
#[must_use]
pub fn unsupported(spec: &Spec) -> Option<Error> {
    let missing = |field: String| {
        Error::new(ErrorKind::Unsupported, "is not supported by this version").with_field(field)
    };
    if let Some((_, field)) = MISSING.iter().find(|(asks, _)| asks(spec)) {
        return Some(missing((*field).to_owned()));
    }
    let idmapped = |option: &String| matches!(option.as_str(), "idmap" | "ridmap");
    spec.mounts
        .iter()
        .position(|mount| !mount.uid_mappings.is_empty() || mount.options.iter().any(idmapped))
        .map(|index| missing(format!("mounts[{index}].uidMappings")))
}
