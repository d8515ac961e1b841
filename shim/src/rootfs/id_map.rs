//! Mounts whose ids are mapped, for containers with user namespaces on images that belong to root.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::settings::Settings;
use crate::failure::Failure;
use crate::sys;

/// A user namespace that has the maps.
#[derive(Debug)]
pub(super) struct IdMap(File);

impl IdMap {
    /// Makes it; `None` if no maps are asked for.
    ///
    /// # Errors
    /// Maps that the kernel does not take.
    pub(super) fn make(settings: &Settings) -> Result<Option<Self>, Failure> {
        let (Some(uids), Some(gids)) = (&settings.uid_map, &settings.gid_map) else {
            return Ok(None);
        };
        let pid = sys::idle_in_user_namespace()
            .map_err(|error| Failure::from(error).context("make a user namespace"))?;
        let open = || {
            fs::write(format!("/proc/{pid}/uid_map"), lines(uids))?;
            fs::write(format!("/proc/{pid}/gid_map"), lines(gids))?;
            File::open(format!("/proc/{pid}/ns/user"))
        };
        let opened: io::Result<File> = open();
        let pid = Pid::from_raw(pid);
        let _killed = kill(pid, Signal::SIGKILL);
        let _reaped = waitpid(pid, None);
        let what = || format!("map ids as uidmap={uids} and gidmap={gids} say");
        opened
            .map(|namespace| Some(Self(namespace)))
            .map_err(|error| Failure::from(error).context(&what()))
    }

    /// Attaches what is at `source` to `target`, with mapped ids.
    ///
    /// # Errors
    /// The file system cannot do it.
    pub(super) fn attach(
        &self,
        source: &Path,
        target: &Path,
        recursive: bool,
    ) -> Result<(), Failure> {
        let attach = || {
            let copy = sys::copy_mount(source, recursive)?;
            sys::map_ids(copy.as_fd(), self.0.as_fd())?;
            sys::attach_mount(copy.as_fd(), target)
        };
        let attached: io::Result<()> = attach();
        let what = || format!("map the ids of {}", source.display());
        attached.map_err(|error| Failure::from(error).context(&what()))
    }

    /// Lower directories of an overlay with mapped ids, under names of their own, until the overlay has
    /// them.
    ///
    /// # Errors
    /// As [`IdMap::attach`].
    pub(super) fn lower(&self, settings: &Settings) -> Result<(Settings, Lower), Failure> {
        let mut mapped = settings.clone();
        let mut lower = Lower { directory: temporary()?, names: Vec::new() };
        for option in &mut mapped.data {
            let Some(paths) = option.strip_prefix("lowerdir=") else { continue };
            let mut names = Vec::new();
            for (number, path) in paths.split(':').enumerate() {
                let name = lower.directory.join(number.to_string());
                fs::create_dir(&name)?;
                lower.names.push(name.clone());
                self.attach(Path::new(path), &name, false)?;
                names.push(name.display().to_string());
            }
            *option = format!("lowerdir={}", names.join(":"));
        }
        Ok((mapped, lower))
    }
}

/// The maps in the form of /proc/PID/uid_map: `0:1000:10,10:2000:10` has two.
fn lines(maps: &str) -> String {
    maps.split(',').map(|map| map.replace(':', " ") + "\n").collect()
}

fn temporary() -> io::Result<PathBuf> {
    let template = std::env::temp_dir().join("coracle-lower-XXXXXX");
    Ok(nix::unistd::mkdtemp(&template)?)
}

/// Names for lower directories. They go with this; the overlay keeps the mounts.
#[derive(Debug)]
pub(super) struct Lower {
    directory: PathBuf,
    names: Vec<PathBuf>,
}

impl Drop for Lower {
    fn drop(&mut self) {
        for name in &self.names {
            let _gone = umount2(name, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
            let _gone = fs::remove_dir(name);
        }
        let _gone = fs::remove_dir(&self.directory);
    }
}
