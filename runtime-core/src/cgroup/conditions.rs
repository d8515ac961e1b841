//! Conditions under which limits can be set.

use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::Resources;

use super::record::Version;

/// Whether the caller is not the host's root: it may then lack the right to make cgroups and to
/// filter devices, and the kernel lets it make no device nodes either.
pub(super) fn is_rootless() -> bool {
    const ALL: [&str; 3] = ["0", "0", "4294967295"];
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !nix::unistd::geteuid().is_root() || !map.split_ascii_whitespace().eq(ALL)
}

/// The first thing that this version of control groups cannot do, by field and reason.
pub(super) fn impossible(resources: &Resources, version: Version) -> Option<(String, String)> {
    let found = if version == Version::V2 { only_v1(resources) } else { only_v2(resources) };
    found.map(|(field, why)| (format!("linux.resources.{field}"), why.to_owned()))
}

/// The same as an error.
pub(super) fn refuse(resources: &Resources, version: Version) -> Result<()> {
    match impossible(resources, version) {
        Some((field, why)) => Err(Error::new(ErrorKind::Unsupported, why).with_field(field)),
        None => Ok(()),
    }
}

fn only_v2(resources: &Resources) -> Option<(&'static str, &'static str)> {
    let why = "needs cgroup v2; this host's controllers are in cgroup v1 hierarchies";
    (!resources.unified.is_empty()).then_some(("unified", why))
}

fn only_v1(resources: &Resources) -> Option<(&'static str, &'static str)> {
    let memory = resources.memory.as_ref();
    let cpu = resources.cpu.as_ref();
    let io = resources.block_io.as_ref();
    let network = resources.network.as_ref();
    let asked = [
        ("memory.swappiness", memory.is_some_and(|memory| memory.swappiness.is_some())),
        (
            "memory.disableOOMKiller",
            memory.is_some_and(|memory| memory.disable_oom_killer == Some(true)),
        ),
        ("memory.useHierarchy", memory.is_some_and(|memory| memory.use_hierarchy == Some(false))),
        (
            "memory.kernel",
            memory.is_some_and(|memory| memory.kernel.is_some_and(|limit| limit > 0)),
        ),
        (
            "memory.kernelTCP",
            memory.is_some_and(|memory| memory.kernel_tcp.is_some_and(|limit| limit > 0)),
        ),
        (
            "cpu.realtimeRuntime",
            cpu.is_some_and(|cpu| cpu.realtime_runtime.is_some_and(|time| time != 0)),
        ),
        (
            "cpu.realtimePeriod",
            cpu.is_some_and(|cpu| cpu.realtime_period.is_some_and(|time| time != 0)),
        ),
        (
            "blockIO.leafWeight",
            io.is_some_and(|io| io.leaf_weight.is_some_and(|weight| weight != 0)),
        ),
        (
            "blockIO.weightDevice",
            io.is_some_and(|io| io.weight_device.iter().any(|one| one.leaf_weight.is_some())),
        ),
        (
            "network.classID",
            network.is_some_and(|network| network.class_id.is_some_and(|class| class != 0)),
        ),
        ("network.priorities", network.is_some_and(|network| !network.priorities.is_empty())),
    ];
    let field = asked.into_iter().find_map(|(field, asked)| asked.then_some(field));
    field.map(|field| (field, "has no counterpart in cgroup v2, which this host uses"))
}

/// `memory.checkBeforeUpdate`: refuses a memory limit that is below the current use.
pub(super) fn check_usage(resources: &Resources, usage: &dyn Fn() -> Option<String>) -> Result<()> {
    let Some(memory) = &resources.memory else {
        return Ok(());
    };
    let limit = memory.limit.and_then(|limit| u64::try_from(limit).ok()).filter(|one| *one != 0);
    let (Some(true), Some(limit)) = (memory.check_before_update, limit) else {
        return Ok(());
    };
    let usage = usage().and_then(|text| text.trim_end().parse::<u64>().ok()).unwrap_or(0);
    if limit < usage {
        let message = format!("the limit of {limit} bytes is below the current use of {usage}");
        return Err(Error::new(ErrorKind::System, message)
            .with_errno(libc::EBUSY)
            .with_field("linux.resources.memory.limit")
            .with_hint("memory.checkBeforeUpdate asks to refuse this"));
    }
    Ok(())
}

/// What it means that devices cannot be filtered.
pub(super) fn without_device_filter(cause: &str) -> Result<()> {
    if is_rootless() {
        log::debug!("no device filter: {cause}; the kernel gives this user no device nodes");
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, format!("cannot filter devices: {cause}"))
        .with_field("linux.resources.devices"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, version: Version) -> Option<String> {
        let resources = serde_json::from_str(text).expect("valid resources");
        impossible(&resources, version).map(|(field, _)| field)
    }

    #[test]
    fn each_version_lacks_what_the_other_has() {
        let unified = r#"{"unified":{"memory.high":"1"}}"#;
        assert_eq!(field(unified, Version::Hybrid).as_deref(), Some("linux.resources.unified"));
        assert_eq!(field(unified, Version::V2), None);
        for (text, name) in [
            (r#"{"memory":{"swappiness":0}}"#, "memory.swappiness"),
            (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller"),
            (r#"{"memory":{"kernel":1}}"#, "memory.kernel"),
            (r#"{"memory":{"kernelTCP":1}}"#, "memory.kernelTCP"),
            (r#"{"memory":{"useHierarchy":false}}"#, "memory.useHierarchy"),
            (r#"{"network":{"classID":1}}"#, "network.classID"),
            (r#"{"cpu":{"realtimeRuntime":5}}"#, "cpu.realtimeRuntime"),
        ] {
            assert_eq!(field(text, Version::V2), Some(format!("linux.resources.{name}")));
            assert_eq!(field(text, Version::V1), None);
        }
        let harmless = r#"{"memory":{"disableOOMKiller":false,"kernel":-1,"kernelTCP":-1,
            "useHierarchy":true}}"#;
        assert_eq!(field(harmless, Version::V2), None);
    }

    #[test]
    fn a_limit_below_the_use_is_refused_when_asked() {
        let usage = || Some("100\n".to_owned());
        let check =
            |text: &str| check_usage(&serde_json::from_str(text).expect("valid resources"), &usage);
        assert!(check(r#"{"memory":{"limit":99,"checkBeforeUpdate":true}}"#).is_err());
        assert!(check(r#"{"memory":{"limit":100,"checkBeforeUpdate":true}}"#).is_ok());
        assert!(check(r#"{"memory":{"limit":-1,"checkBeforeUpdate":true}}"#).is_ok());
        assert!(check(r#"{"memory":{"limit":99}}"#).is_ok());
    }
}
