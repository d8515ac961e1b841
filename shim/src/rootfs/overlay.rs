//! Overlays, whose options can be longer than mount(2) takes: a page.

use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::mount as mount_call;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chdir;

use super::attach;
use super::settings::Settings;
use crate::failure::Failure;

/// mount(2) takes a page, the last byte of which is zero.
const PAGE: usize = 4095;

/// Mounts an overlay. Lower directories that are too long together are named from their common parent.
///
/// # Errors
/// The options are too long even so; the failure of the system call.
pub(super) fn mount(source: &Path, target: &Path, settings: &Settings) -> Result<(), Failure> {
    let data = settings.data.join(",");
    if data.len() <= PAGE {
        return attach(source, target, ("overlay", settings.flags, &data));
    }
    let (directory, short) =
        shorten(&settings.data).filter(|(_, short)| short.len() <= PAGE).ok_or_else(|| {
            Failure::invalid(format!("the options of the overlay have {} bytes", data.len()))
        })?;
    let flags = settings.flags;
    // A thread can have a working directory of its own, and this one ends with the call.
    let mount_there = || {
        unshare(CloneFlags::CLONE_FS)?;
        chdir(&directory)?;
        mount_call(Some(source), target, Some("overlay"), flags, Some(short.as_str()))
    };
    let mounted = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, mount_there);
        thread.map(thread::ScopedJoinHandle::join)
    });
    match mounted.map_err(|error| Failure::from(error).context("make a thread"))? {
        Ok(mounted) => mounted.map_err(|errno| Failure::unknown(errno.to_string())),
        Err(_) => Err(Failure::unknown("the thread has failed")),
    }
}

/// The common parent of the lower directories, and the options with names that begin there.
fn shorten(options: &[String]) -> Option<(PathBuf, String)> {
    let lower = options.iter().find_map(|option| option.strip_prefix("lowerdir="))?;
    let lower: Vec<&Path> = lower.split(':').map(Path::new).collect();
    let mut common = lower.first()?.parent()?;
    while !lower.iter().all(|path| path.starts_with(common) && *path != common) {
        common = common.parent()?;
    }
    let short: Vec<String> = lower
        .iter()
        .map(|path| path.strip_prefix(common).map(|path| path.display().to_string()))
        .collect::<Result<_, _>>()
        .ok()?;
    let options: Vec<String> = options
        .iter()
        .map(|option| match option.starts_with("lowerdir=") {
            true => format!("lowerdir={}", short.join(":")),
            false => option.clone(),
        })
        .collect();
    Some((common.to_owned(), options.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(lower: &str) -> Option<(PathBuf, String)> {
        shorten(&["index=off".to_owned(), format!("lowerdir={lower}")])
    }

    #[test]
    fn names_begin_where_they_differ() {
        let expected = (PathBuf::from("/a/b"), "index=off,lowerdir=1/fs:2/fs".to_owned());
        assert_eq!(shortened("/a/b/1/fs:/a/b/2/fs"), Some(expected));
        let expected = (PathBuf::from("/"), "index=off,lowerdir=x:y/z".to_owned());
        assert_eq!(shortened("/x:/y/z"), Some(expected));
        assert_eq!(shorten(&["upperdir=/u".to_owned()]), None);
    }
}
