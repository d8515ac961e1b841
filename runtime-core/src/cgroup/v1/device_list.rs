//! The device filter of cgroup v1 (kernel documentation, admin-guide/cgroup-v1/devices).

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::cgroup::conditions;
use crate::cgroup::devices::{Filter, Rule};
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

/// Changes the filter of a cgroup in use to that for these rules, with as few writes as it takes:
/// what is allowed before and after stays so throughout.
pub(super) fn replace(tree: &Tree, directory: &str, rules: &[DeviceRule]) -> Result<()> {
    let filter = Filter::new(rules);
    let failure = |what: &str, file: &str, errno: Errno| {
        Error::system(what, errno as i32)
            .with_field("linux.resources.devices")
            .with_path(tree.absolute(&format!("{directory}/{file}")))
    };
    let listed = tree
        .read(directory, "devices.list")
        .map_err(|errno| failure("read", "devices.list", errno))?;
    let allows_all = listed.lines().any(|line| line == "a *:* rwm");
    if filter.allow || allows_all {
        return write(tree, directory, rules);
    }
    let wanted: Vec<String> = filter.exceptions()?.iter().map(Rule::to_string).collect();
    let gone = listed.lines().filter(|line| !wanted.iter().any(|one| one == line));
    let new = wanted.iter().map(String::as_str).filter(|one| !listed.lines().any(|l| l == *one));
    let changes =
        gone.map(|line| ("devices.deny", line)).chain(new.map(|line| ("devices.allow", line)));
    for (file, line) in changes {
        tree.write(directory, file, line)
            .map_err(|errno| failure(&format!("write {line:?} to"), file, errno))?;
    }
    Ok(())
}
