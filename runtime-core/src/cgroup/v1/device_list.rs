//! The device filter of cgroup v1 (kernel documentation, admin-guide/cgroup-v1/devices).

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::cgroup::conditions;
use crate::cgroup::devices::{Filter, Rule};
use crate::cgroup::tree::{Tree, write_value};
use crate::error::{Error, Result};
use crate::spec::resources::DeviceRule;

const ALLOW: &str = "devices.allow";
const DENY: &str = "devices.deny";
const LIST: &str = "devices.list";

/// Sets the filter of a cgroup that has none of its own yet.
pub(super) fn write(tree: &Tree, directory: &str, rules: &[DeviceRule]) -> Result<()> {
    let filter = Filter::new(rules);
    let exceptions = filter.exceptions()?;
    let (verdict, other) = if filter.allow { (ALLOW, DENY) } else { (DENY, ALLOW) };
    let failure = |file: &str, line: &str, errno| unwritten(tree, directory, (file, line), errno);
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
/// what is allowed before and after stays so throughout. When one is refused, the others are taken back.
pub(super) fn replace(tree: &Tree, directory: &str, rules: &[DeviceRule]) -> Result<()> {
    let filter = Filter::new(rules);
    let listed = tree.read(directory, LIST).map_err(|errno| {
        Error::system("read", errno as i32)
            .with_field("linux.resources.devices")
            .with_path(tree.absolute(&format!("{directory}/{LIST}")))
    })?;
    if filter.allow || allows_all(&listed) {
        return write(tree, directory, rules);
    }
    let wanted = filter.exceptions()?;
    let lines: Vec<String> = wanted.iter().map(Rule::to_string).collect();
    let always =
        |line: &str| wanted.iter().any(|rule| rule.is_always() && rule.to_string() == line);
    let mut done = Vec::new();
    for (file, line) in transition(&listed, &lines.iter().map(|line| &**line).collect::<Vec<_>>()) {
        match tree.write(directory, file, line) {
            Ok(()) => done.push((file, line)),
            // The creation did without it as well.
            Err(Errno::EPERM) if file == ALLOW && always(line) => {}
            Err(errno) => {
                for (file, line) in done.into_iter().rev() {
                    // The refusal is the error to report.
                    let _ = tree.write(directory, if file == ALLOW { DENY } else { ALLOW }, line);
                }
                return Err(unwritten(tree, directory, (file, line), errno));
            }
        }
    }
    Ok(())
}

/// What is denied and allowed, in this order, so that these lines are all that is allowed.
fn transition<'a>(listed: &'a str, wanted: &[&'a str]) -> Vec<(&'static str, &'a str)> {
    let gone = listed.lines().filter(|line| !wanted.contains(line));
    let new = wanted.iter().filter(|line| !listed.lines().any(|one| one == **line));
    gone.map(|line| (DENY, line)).chain(new.map(|line| (ALLOW, *line))).collect()
}

fn allows_all(listed: &str) -> bool {
    listed.lines().any(|line| line == "a *:* rwm")
}

/// The list in force. A cgroup that allows all but some does not tell which.
pub(super) fn exceptions(tree: &Tree, directory: &str) -> Option<String> {
    tree.read(directory, LIST).ok().filter(|listed| !allows_all(listed))
}

/// Puts such a list in force again, as well as can be: there is another error to report.
pub(super) fn restore(tree: &Tree, directory: &str, lines: &str) {
    let Ok(mut listed) = tree.read(directory, LIST) else { return };
    if allows_all(&listed) && tree.write(directory, DENY, "a").is_ok() {
        listed.clear();
    }
    for (file, line) in transition(&listed, &lines.lines().collect::<Vec<_>>()) {
        let _ = tree.write(directory, file, line);
    }
}

fn unwritten(tree: &Tree, directory: &str, (file, line): (&str, &str), errno: Errno) -> Error {
    let error = Error::system(format!("write {line:?} to"), errno as i32)
        .with_field("linux.resources.devices")
        .with_path(tree.absolute(&format!("{directory}/{file}")));
    match errno {
        Errno::EPERM => error.with_hint("the cgroup above does not allow this device"),
        Errno::EROFS => error.with_hint("the cgroup file system is mounted read-only here"),
        _ => error,
    }
}
