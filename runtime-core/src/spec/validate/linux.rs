//! The Linux section.

use std::path::Path;

use super::{
    check_absolute, check_id, intel_rdt, invalid, mappings, net_devices, scheduling, seccomp,
};
use crate::error::Result;
use crate::spec::{Device, DeviceKind, Linux, NamespaceKind, Spec, sysctl};

impl Spec {
    pub(super) fn check_linux(&self) -> Result<()> {
        let linux = &self.linux;
        check_namespaces(linux)?;
        mappings::check_user_namespace(self)?;
        let has = |kind| linux.namespace(kind).is_some();
        let named = [("hostname", &self.hostname), ("domainname", &self.domainname)];
        for (field, name) in named {
            let Some(name) = name else { continue };
            if !has(NamespaceKind::Uts) {
                return Err(invalid(field, "needs a uts namespace in linux.namespaces"));
            }
            // __NEW_UTS_LEN of the kernel.
            if name.len() > 64 {
                return Err(invalid(field, "is longer than 64 bytes"));
            }
        }
        for (index, device) in linux.devices.iter().enumerate() {
            check_device(device, &format!("linux.devices[{index}]"))?;
        }
        let lists =
            [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)];
        for (name, list) in lists {
            for (index, path) in list.iter().enumerate() {
                check_absolute(path, format!("linux.{name}[{index}]"))?;
            }
        }
        for (name, value) in &linux.sysctl {
            sysctl::check(linux, name, value)
                .map_err(|error| error.with_field(format!("linux.sysctl[\"{name}\"]")))?;
        }
        if let Some(profile) = &linux.seccomp {
            seccomp::check(profile)?;
        }
        scheduling::check_container(linux)?;
        check_time(linux)?;
        net_devices::check(linux)?;
        intel_rdt::check(linux)?;
        check_cgroup_path(linux)
    }
}

fn check_namespaces(linux: &Linux) -> Result<()> {
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let field = format!("linux.namespaces[{index}]");
        let earlier = linux.namespaces.iter().take(index);
        if earlier.into_iter().any(|other| other.kind == namespace.kind) {
            let name = namespace.kind.name();
            return Err(invalid(format!("{field}.type"), format!("{name} is given twice")));
        }
        if let Some(path) = &namespace.path {
            check_absolute(path, format!("{field}.path"))?;
        }
    }
    Ok(())
}

fn check_device(device: &Device, field: &str) -> Result<()> {
    check_absolute(&device.path, format!("{field}.path"))?;
    if device.kind != DeviceKind::Fifo {
        // The kernel's dev_t has 12 bits for the major number and 20 for the minor one.
        for (name, number, most) in
            [("major", device.major, (1 << 12) - 1), ("minor", device.minor, (1 << 20) - 1)]
        {
            match number {
                None => return Err(invalid(format!("{field}.{name}"), "required, but missing")),
                Some(number) if number > most => {
                    return Err(invalid(format!("{field}.{name}"), format!("is above {most}")));
                }
                Some(_) => {}
            }
        }
    }
    for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
        if let Some(id) = id {
            check_id(id, format!("{field}.{name}"))?;
        }
    }
    Ok(())
}

fn check_time(linux: &Linux) -> Result<()> {
    if linux.time_offsets.is_empty() {
        return Ok(());
    }
    if linux.namespace(NamespaceKind::Time).is_none() {
        return Err(invalid("linux.timeOffsets", "needs a time namespace in linux.namespaces"));
    }
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(invalid(
                format!("linux.timeOffsets.{clock}"),
                "is not a clock that has an offset",
            )
            .with_hint("monotonic and boottime have"));
        }
        if offset.nanosecs >= 1_000_000_000 {
            return Err(invalid(
                format!("linux.timeOffsets.{clock}.nanosecs"),
                "is a second or more",
            ));
        }
    }
    Ok(())
}

fn check_cgroup_path(linux: &Linux) -> Result<()> {
    let climbs = |path: &str| Path::new(path).components().any(|part| part.as_os_str() == "..");
    match &linux.cgroups_path {
        Some(path) if climbs(path) => Err(invalid("linux.cgroupsPath", "contains `..`")),
        _ => Ok(()),
    }
}
