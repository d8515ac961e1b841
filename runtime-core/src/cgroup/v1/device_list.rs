//! The device filter of cgroup v1 (kernel documentation, admin-guide/cgroup-v1/devices).

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::cgroup::conditions;
use crate::cgroup::devices::Filter;
use crate::cgroup::tree::{Tree, write_value};
use crate::error::{Error, Result};
use crate::spec::resources::DeviceRule;

/// Sets the filter of a cgroup that has none of its own yet.
pub(super) fn write(tree: &Tree, directory: &str, rules: &[DeviceRule]) -> Result<()> {
    let filter = Filter::new(rules);
    let exceptions = filter.exceptions()?;
    let (verdict, other) = if filter.allow {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    let failure = |file: &str, line: &str, errno: Errno| {
        let error = Error::system(format!("write {line:?} to"), errno as i32)
            .with_field("linux.resources.devices")
            .with_path(tree.absolute(&format!("{directory}/{file}")));
        match errno {
            Errno::EPERM => error.with_hint("the cgroup above does not allow this device"),
            Errno::EROFS => error.with_hint("the cgroup file system is mounted read-only here"),
            _ => error,
        }
    };
    // "a" drops all exceptions. Below a cgroup that does not allow all, the new one has the same
    // exceptions already and cannot have more.
    match (tree.write(directory, verdict, "a"), filter.allow) {
        (Err(Errno::EPERM), true) | (Ok(()), _) => {}
        (Err(errno @ (Errno::EACCES | Errno::EPERM)), false) if conditions::is_rootless() => {
            return conditions::without_device_filter(errno.desc());
        }
        (Err(errno), _) => return Err(failure(verdict, "a", errno)),
    }
    if exceptions.is_empty() {
        return Ok(());
    }
    let file = tree.writable(directory, other).map_err(|errno| failure(other, "", errno))?;
    for rule in &exceptions {
        let line = rule.to_string();
        match write_value(file.as_fd(), &line) {
            Err(Errno::EPERM) if rule.is_always() => {}
            done => done.map_err(|errno| failure(other, &line, errno))?,
        }
    }
    Ok(())
}
