//! `linux.netDevices`.

use std::collections::BTreeSet;

use super::invalid;
use crate::error::Result;
use crate::spec::{Linux, NamespaceKind};

/// Where the entry of a host's device stands.
pub(crate) fn field(host: &str) -> String {
    if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        format!("linux.netDevices.{host}")
    } else {
        format!("linux.netDevices[{host:?}]")
    }
}

pub(super) fn check(linux: &Linux) -> Result<()> {
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    if linux.namespace(NamespaceKind::Network).is_none() {
        return Err(invalid("linux.netDevices", "needs a network namespace in linux.namespaces"));
    }
    let mut taken = BTreeSet::new();
    for (host, device) in &linux.net_devices {
        if !is_valid(host) || host.contains('%') {
            let message = format!("{host:?} is not the name of a network device");
            return Err(invalid(field(host), message));
        }
        let (at, name) = match &device.name {
            Some(name) => (format!("{}.name", field(host)), name),
            None => (field(host), host),
        };
        if !is_valid(name) || !is_plain_or_template(name) {
            let message = format!("{name:?} cannot be the name of a network device");
            return Err(invalid(at, message).with_hint("one %d stands for a number"));
        }
        if !name.contains('%') && !taken.insert(name) {
            return Err(invalid(at, format!("a second device is to have the name {name}")));
        }
    }
    Ok(())
}

/// The kernel's rule, `dev_valid_name`.
fn is_valid(name: &str) -> bool {
    (1..16).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace())
        // isspace() of C, and of the kernel, counts the vertical tab.
        && !name.contains('\x0b')
}

/// The kernel's rule for templates, `__dev_alloc_name`.
fn is_plain_or_template(name: &str) -> bool {
    match name.split_once('%') {
        None => true,
        Some((_, rest)) => rest.starts_with('d') && !rest.contains('%'),
    }
}
