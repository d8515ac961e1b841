//! The root file system of a container: the mounts that a request asks for, on the bundle's `rootfs`.

mod id_map;
mod loop_device;
mod overlay;
mod settings;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use containerd_shim_protos::api::Mount;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::failure::Failure;
use id_map::IdMap;
use settings::Settings;

/// How often and how long to wait for a mount that is in use.
const BUSY: (u32, Duration) = (50, Duration::from_millis(50));

/// Programs that mount file systems in user space, by the beginning of the type.
const FUSE: [(&str, &str); 2] = [("fuse3", "mount.fuse3"), ("fuse", "mount.fuse")];

/// What was mounted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rootfs {
    target: Option<PathBuf>,
}

impl Rootfs {
    /// Whatever is mounted on `target`.
    pub(crate) fn at(target: PathBuf) -> Self {
        Self { target: Some(target) }
    }

    /// Mounts all on `target`, one after the other. A failure takes away what was mounted before.
    ///
    /// # Errors
    /// The mount that failed.
    pub(crate) fn mount(mounts: &[Mount], target: &Path) -> Result<Self, Failure> {
        if mounts.is_empty() {
            return Ok(Self::default());
        }
        fs::create_dir_all(target)?;
        let rootfs = Self::at(target.to_owned());
        for wanted in mounts {
            if let Err(failure) = mount_one(wanted, target) {
                rootfs.unmount();
                let what =
                    format!("mount {} {:?} on {}", wanted.type_, wanted.source, target.display());
                return Err(failure.context(&what));
            }
        }
        Ok(rootfs)
    }

    /// Takes all away that is mounted there. What cannot be is only logged: nobody could do better.
    pub(crate) fn unmount(&self) {
        let Some(target) = &self.target else { return };
        if let Err(errno) = unmount(target) {
            log::error!("unmount {}: {errno}", target.display());
        }
    }
}

/// Unmounts `target` until nothing is left there; what is mounted below first.
fn unmount(target: &Path) -> nix::Result<()> {
    let mut attempts = 0;
    loop {
        match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINTR) => {}
            // Nothing is mounted there, or it does not exist.
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(Errno::EBUSY) if attempts == 0 => {
                unmount_below(target);
                attempts = 1;
            }
            Err(Errno::EBUSY) if attempts < BUSY.0 => {
                thread::sleep(BUSY.1);
                attempts += 1;
            }
            Err(Errno::EBUSY) => umount2(target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)?,
            Err(errno) => return Err(errno),
        }
    }
}

/// Unmounts what is mounted below `target`, the last one first.
fn unmount_below(target: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let below: Vec<PathBuf> = points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(target) && point != target)
        .collect();
    for point in below.iter().rev() {
        let _left = umount2(point, MntFlags::UMOUNT_NOFOLLOW);
    }
}

/// Undoes the escapes of mountinfo: `\040` for a space, say.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn mount_one(wanted: &Mount, rootfs: &Path) -> Result<(), Failure> {
    let settings = Settings::read(&wanted.options)?;
    let target = place(rootfs, &wanted.target)?;
    for (kind, program) in FUSE {
        if wanted.type_ == kind || wanted.type_.starts_with(&format!("{kind}.")) {
            return mount_by(program, (kind, wanted), &target);
        }
    }
    let source = if settings.loop_device {
        let read_only = settings.flags.contains(MsFlags::MS_RDONLY);
        Some(loop_device::attach(Path::new(&wanted.source), read_only)?)
    } else {
        None
    };
    // Until it is mounted the device is held open, or it would be given up again.
    let path = source.as_ref().map_or(Path::new(&wanted.source), |(path, _)| path.as_path());
    match IdMap::make(&settings)? {
        Some(map) => mount_mapped((&map, &settings), (wanted.type_.as_str(), path), &target)?,
        None => mount_plain(&settings, (wanted.type_.as_str(), path), &target)?,
    }
    // A bind mount takes its source's flags, and others only when it is changed.
    let own = settings.flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
    if settings.flags.contains(MsFlags::MS_BIND) && !own.is_empty() {
        let flags = settings.flags | MsFlags::MS_REMOUNT;
        attach(path, &target, ("", flags, ""))?;
    }
    if let Some(propagation) = settings.propagation {
        attach(path, &target, ("", propagation, ""))?;
    }
    Ok(())
}

fn mount_plain(
    settings: &Settings,
    (kind, source): (&str, &Path),
    target: &Path,
) -> Result<(), Failure> {
    match kind {
        "overlay" => overlay::mount(source, target, settings),
        kind => attach(source, target, (kind, settings.flags, &settings.data.join(","))),
    }
}

/// The same with mapped ids: those of an overlay's lower directories, of a bind mount's source, or of
/// the whole of another file system.
fn mount_mapped(
    (map, settings): (&IdMap, &Settings),
    (kind, source): (&str, &Path),
    target: &Path,
) -> Result<(), Failure> {
    if kind == "overlay" {
        let (settings, _until_mounted) = map.lower(settings)?;
        return overlay::mount(source, target, &settings);
    }
    if settings.flags.contains(MsFlags::MS_BIND) {
        return map.attach(source, target, settings.flags.contains(MsFlags::MS_REC));
    }
    mount_plain(settings, (kind, source), target)?;
    map.attach(target, target, false)
}

/// One mount(2).
fn attach(
    source: &Path,
    target: &Path,
    (kind, flags, data): (&str, MsFlags, &str),
) -> Result<(), Failure> {
    let kind = (!kind.is_empty()).then_some(kind);
    let data = (!data.is_empty()).then_some(data);
    mount(Some(source), target, kind, flags, data)
        .map_err(|errno| Failure::unknown(errno.to_string()))
}

/// Where a mount goes: below the root file system, whose links never lead out of it.
fn place(rootfs: &Path, below: &str) -> Result<PathBuf, Failure> {
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
    let below = below.trim_matches('/');
    if below.is_empty() {
        return Ok(rootfs.to_owned());
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let failed =
        |errno: Errno| Failure::unknown(format!("open {below:?} below the rootfs: {errno}"));
    let root =
        open(rootfs, flags | OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).map_err(failed)?;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags).resolve(resolve);
    let found = openat2(&root, below, how).map_err(failed)?;
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    Ok(fs::read_link(link)?)
}

/// Mounts a file system in user space by its program.
fn mount_by(program: &str, (kind, wanted): (&str, &Mount), target: &Path) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.arg(&wanted.source).arg(target);
    if !wanted.options.is_empty() {
        command.arg("-o").arg(wanted.options.join(","));
    }
    if let Some(subtype) = wanted.type_.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) {
        command.arg("-t").arg(subtype);
    }
    let output = command
        .output()
        .map_err(|error| Failure::unknown(format!("execute {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(Failure::unknown(format!("{program}: {}: {}", output.status, told.trim())))
}

#[cfg(test)]
mod tests;
