//! Removing cgroup directories that may be busy for a moment.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::manager::{Leftover, Manager};
use super::tree::Tree;
use crate::error::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(50);

/// Removes directories with all below, each at most until the common deadline, which is set when the
/// first is busy: a clock costs a system call where the kernel has no vDSO for it.
///
/// A killed process leaves its cgroup a moment after its end can be seen, so `EBUSY` is normal.
pub(super) fn remove_all(
    manager: &dyn Manager,
    tree: &Tree,
    directories: &[String],
    leftover: Leftover,
) -> Result<()> {
    if !manager.record().created {
        return remove_unclaimed(tree, directories);
    }
    let mut deadline = None;
    let mut failure = None;
    for directory in directories {
        let mut pause = SHORTEST;
        while let Err(errno) = tree.remove(directory) {
            // A tree that changes during the walk shows as ENOENT or ENODEV.
            let passing = matches!(
                errno,
                Errno::EBUSY | Errno::ENOTEMPTY | Errno::ENOENT | Errno::ENODEV | Errno::EINTR
            );
            let end = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            if !passing || Instant::now() >= end {
                // The others are removed all the same.
                failure = failure.or(Some((directory, errno)));
                break;
            }
            if leftover == Leftover::Kill {
                manager.kill()?;
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST);
        }
    }
    match failure {
        None => Ok(()),
        Some((directory, errno)) => Err(remaining(tree, directory, errno)),
    }
}

/// Removes what a creation that did not come to its end may have made: empty directories. One that
/// is in use was there before and is another's.
fn remove_unclaimed(tree: &Tree, directories: &[String]) -> Result<()> {
    for directory in directories {
        match tree.remove_one(directory) {
            Ok(()) | Err(Errno::ENOENT | Errno::EBUSY | Errno::ENOTEMPTY) => {}
            Err(errno) => return Err(remaining(tree, directory, errno)),
        }
    }
    Ok(())
}

fn remaining(tree: &Tree, directory: &str, errno: Errno) -> Error {
    let error =
        Error::system("remove the cgroup", errno as i32).with_path(tree.absolute(directory));
    match tree.processes(directory) {
        Ok(pids) if !pids.is_empty() => {
            let first: Vec<String> = pids.iter().take(8).map(ToString::to_string).collect();
            let more = if pids.len() > 8 { ", …" } else { "" };
            error.with_hint(format!("processes are in it: {}{more}", first.join(", ")))
        }
        _ if errno == Errno::EROFS => error.with_hint("the file system is mounted read-only"),
        _ => error,
    }
}
