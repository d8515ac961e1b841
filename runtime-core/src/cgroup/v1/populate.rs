//! Making a container's directories in the v1 hierarchies.

use nix::errno::Errno;

use super::cpuset;
use crate::cgroup::conditions::is_rootless;
use crate::cgroup::record::{Place, Record};
use crate::cgroup::tree::Tree;
use crate::error::{Error, ErrorKind, Result};

/// A directory of the container.
#[derive(Debug)]
pub(super) struct Made {
    directory: String,
    /// Whether it is new.
    new: bool,
}

/// Makes the directory in every hierarchy. Hierarchies that are not mounted are dropped from the
/// record; so are those that the user may not write, if the container can do without. On failure
/// what was made is removed.
pub(super) fn make(tree: &Tree, record: &mut Record) -> Result<Vec<Made>> {
    let mut made = Vec::new();
    let mut failure = None;
    let optional = record.optional;
    let mut keep = |place: &Place| match make_place(tree, place) {
        Ok(directory) => {
            let is_mounted = directory.is_some();
            made.extend(directory);
            is_mounted
        }
        Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) if optional && is_rootless() => false,
        Err(errno) => {
            failure.get_or_insert_with(|| refused(tree, place, errno));
            true
        }
    };
    record.hierarchies.retain(&mut keep);
    if record.unified.as_ref().is_some_and(|place| !keep(place)) {
        record.unified = None;
    }
    match failure {
        None => Ok(made),
        Some(error) => {
            undo(tree, &made);
            Err(error)
        }
    }
}

/// Refuses directories that existed already and are in use. New ones are not looked at.
pub(super) fn check(tree: &Tree, record: &Record, made: &[Made]) -> Result<()> {
    for Made { directory, .. } in made.iter().filter(|made| !made.new) {
        let pids = tree.processes(directory).map_err(|errno| {
            Error::system("list the processes of", errno as i32).with_path(tree.absolute(directory))
        })?;
        if !pids.is_empty() {
            return Err(in_use(tree, directory, &format!("has {} processes", pids.len())));
        }
    }
    let freezer = record.hierarchies.iter().find(|place| place.has("freezer"));
    let Some(freezer) = freezer.map(Place::directory) else {
        return Ok(());
    };
    let old = made.iter().any(|made| !made.new && made.directory == freezer);
    if old && tree.read(&freezer, "freezer.state").is_ok_and(|state| state.trim_end() != "THAWED") {
        return Err(in_use(tree, &freezer, "is frozen"));
    }
    Ok(())
}

/// Removes the directories that are new.
pub(super) fn undo(tree: &Tree, made: &[Made]) {
    for Made { directory, .. } in made.iter().filter(|made| made.new) {
        // The failure that led here is the one to report.
        let _ = tree.remove(directory);
    }
}

fn in_use(tree: &Tree, directory: &str, how: &str) -> Error {
    Error::new(ErrorKind::System, format!("the container's cgroup exists and {how}:"))
        .with_path(tree.absolute(directory))
        .with_errno(libc::EBUSY)
        .with_hint("another container may be using it; choose another linux.cgroupsPath")
}

fn refused(tree: &Tree, place: &Place, errno: Errno) -> Error {
    let directory = place.directory();
    let error = Error::system("make the cgroup", errno as i32).with_path(tree.absolute(&directory));
    match errno {
        Errno::EROFS => error.with_hint("the cgroup file system is mounted read-only here"),
        Errno::EACCES | Errno::EPERM => {
            error.with_hint("this user may not make cgroups there; have it delegated")
        }
        Errno::EAGAIN => error.with_hint("cgroup.max.descendants or cgroup.max.depth is reached"),
        _ => error,
    }
}

/// Makes one directory with those above it; `None`: the hierarchy is not mounted.
fn make_place(tree: &Tree, place: &Place) -> nix::Result<Option<Made>> {
    let directory = place.directory();
    let is_cpuset = place.has("cpuset");
    let fill = |directory: &str, new| match is_cpuset {
        true => cpuset::fill(tree, directory, new),
        false => Ok(()),
    };
    let new = match tree.make(&directory) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(Errno::ENOENT) => {
            if !make_above(tree, place, &fill)? {
                return Ok(None);
            }
            match tree.make(&directory) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno) => return Err(errno),
            }
        }
        Err(errno) => return Err(errno),
    };
    if let Err(errno) = fill(&directory, new) {
        if new {
            let _ = tree.remove(&directory);
        }
        return Err(errno);
    }
    Ok(Some(Made { directory, new }))
}

/// Makes the directories above; `false`: the hierarchy is not mounted.
fn make_above(
    tree: &Tree,
    place: &Place,
    fill: &dyn Fn(&str, bool) -> nix::Result<()>,
) -> nix::Result<bool> {
    // The first is the root of the hierarchy, which is there or not.
    for directory in place.ancestors().into_iter().skip(1) {
        match tree.make(&directory) {
            Ok(()) => fill(&directory, true)?,
            Err(Errno::EEXIST) => {}
            Err(Errno::ENOENT) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
    Ok(place.path.contains('/'))
}
