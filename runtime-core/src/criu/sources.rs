//! Where the mounts of a restored container come from: the counterpart of [`external`](super::external),
//! by the configuration that the container is restored with.

use std::path::{Path, PathBuf};

use nix::sys::stat::{SFlag, makedev, stat};

use super::mountpoints::{Shape, Tree, relative};
use super::mounts::NULL;
use crate::cgroup::MountPoint;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::plan::NOTIFY_DIRECTORY;
use crate::spec::{Device, DeviceKind, Mount, NamespaceKind, Spec};
use crate::sys::mountinfo;

/// What the mounts are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    /// The configuration.
    pub(crate) spec: &'a Spec,
    /// The bundle's directory.
    pub(crate) bundle: &'a Path,
    /// The root file system on the host.
    pub(crate) rootfs: &'a Path,
    /// The container's cgroups.
    pub(crate) cgroups: &'a [MountPoint],
    /// The directory of the socket to the service manager.
    pub(crate) notify: &'a Path,
}

/// The devices that every container has.
const DEVICES: [&str; 6] =
    [NULL, "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Makes the mount points that are missing, and says for every mount that may be in the images what on the
/// host it is: pairs of mount point and path. What is not in the images does no harm.
///
/// # Errors
/// The failure of a system call, with the field.
pub(crate) fn sources(of: &Sources<'_>) -> Result<Vec<(String, String)>> {
    let mut found = Found { of, covers: Vec::new(), pairs: Vec::new() };
    for (index, mount) in of.spec.mounts.iter().enumerate() {
        found.add(mount).map_err(|error| error.with_field(format!("mounts[{index}]")))?;
    }
    found.name(Path::new(NOTIFY_DIRECTORY), of.notify);
    for device in DEVICES.map(Path::new) {
        found.name(device, device);
    }
    // Of a user namespace: its nodes are mounts. Elsewhere they are in the images.
    if of.spec.linux.namespace(NamespaceKind::User).is_some() {
        for (index, device) in of.spec.linux.devices.iter().enumerate() {
            check(device).map_err(|error| error.with_field(format!("linux.devices[{index}]")))?;
            found.name(&device.path, &device.path);
        }
    }
    Ok(found.pairs)
}

/// Makes sure that the host's node of this path is the device that the configuration means.
fn check(device: &Device) -> Result<()> {
    let kind = match device.kind {
        DeviceKind::Char | DeviceKind::Unbuffered => SFlag::S_IFCHR,
        DeviceKind::Block => SFlag::S_IFBLK,
        // It is made like any file.
        DeviceKind::Fifo => return Ok(()),
    };
    let number = |number: Option<u32>| u64::from(number.unwrap_or(0));
    let number = makedev(number(device.major), number(device.minor));
    let found = stat(&device.path);
    let is = |found: &libc::stat| {
        found.st_mode & SFlag::S_IFMT.bits() == kind.bits() && found.st_rdev == number
    };
    if found.as_ref().is_ok_and(is) {
        return Ok(());
    }
    let message = "in a user namespace a device is restored from the host's node of its path, which \
                   is missing or another device:";
    Err(Error::new(ErrorKind::Unsupported, message)
        .with_path(&device.path)
        .with_hint("make this node on the host, or take the device out of the configuration"))
}

/// What covers a part of the root file system.
struct Cover {
    /// Where, as it was asked for.
    asked: PathBuf,
    /// Where, without links.
    real: PathBuf,
    /// The directory of the host that is shown, if it is one.
    source: Option<PathBuf>,
}

struct Found<'a> {
    of: &'a Sources<'a>,
    covers: Vec<Cover>,
    pairs: Vec<(String, String)>,
}

impl Found<'_> {
    fn add(&mut self, mount: &Mount) -> Result<()> {
        if matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")) && !mount.is_bind() {
            self.add_cgroups(&mount.destination);
            return Ok(());
        }
        let source = mount.source.as_ref().filter(|_| mount.is_bind());
        let source = source.map(|source| self.of.bundle.join(source));
        let shape = match &source {
            Some(source) if !source.is_dir() => Shape::File,
            _ => Shape::Directory,
        };
        let point = self.make(&mount.destination, shape)?;
        if let Some(source) = &source {
            self.name(&point, source);
            // criu would look for it under the name that the configuration had at the dump.
            self.name(&Path::new("/").join(relative(&mount.destination)), source);
            self.add_below(mount, &point, source)?;
        }
        let asked = Path::new("/").join(relative(&mount.destination));
        self.covers.push(Cover { asked, real: point, source });
        Ok(())
    }

    /// Makes the mount point in what covers its place, unless criu restores what is in that.
    fn make(&self, destination: &Path, shape: Shape) -> Result<PathBuf> {
        let path = Path::new("/").join(relative(destination));
        let cover = self.covers.iter().rev().find_map(|cover| {
            let below = |point: &Path| path.strip_prefix(point).ok().map(Path::to_owned);
            let rest = below(&cover.asked).or_else(|| below(&cover.real))?;
            Some((cover, rest))
        });
        match cover {
            None => Tree::open(self.of.rootfs)?.make(&path, shape),
            Some((Cover { real, source: Some(source), .. }, rest)) if source.is_dir() => {
                let inside = Tree::open(source)?.make(&rest, shape)?;
                Ok(real.join(relative(&inside)))
            }
            Some((cover, rest)) => Ok(cover.real.join(rest)),
        }
    }

    /// A mount of cgroups is one for each hierarchy with cgroup v1, and one with v2.
    fn add_cgroups(&mut self, destination: &Path) {
        for point in self.of.cgroups {
            self.name(&destination.join(&point.name), &point.source);
        }
    }

    /// A recursive bind mount shows the mounts below its source as well.
    fn add_below(&mut self, mount: &Mount, point: &Path, source: &Path) -> Result<()> {
        if !mount.options.iter().any(|option| option == "rbind") {
            return Ok(());
        }
        let Ok(source) = source.canonicalize() else { return Ok(()) };
        for below in mountinfo::read().attempt("read /proc/self/mountinfo")? {
            let path = Path::new(&below.point);
            match path.strip_prefix(&source) {
                Ok(rest) if !rest.as_os_str().is_empty() => self.name(&point.join(rest), path),
                _ => {}
            }
        }
        Ok(())
    }

    fn name(&mut self, point: &Path, source: &Path) {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let pair = (text(point), text(source));
        if !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(destination: &str, kind: &str, source: &Path) -> Mount {
        Mount {
            destination: destination.into(),
            kind: Some(kind.to_owned()),
            source: Some(source.to_owned()),
            ..Mount::default()
        }
    }

    #[test]
    fn every_bind_mount_has_its_source_by_its_real_mount_point() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["root/run", "data", "inner"] {
            std::fs::create_dir_all(path(name)).expect("a directory");
        }
        std::fs::write(path("file"), "").expect("a file");
        std::os::unix::fs::symlink("run", path("root/link")).expect("a link");
        let spec = Spec {
            mounts: vec![
                mount("/proc", "proc", Path::new("proc")),
                mount("/proc/x", "bind", &path("file")),
                mount("/link/data", "bind", Path::new("data")),
                mount("/link/data/inner", "bind", &path("inner")),
                mount("/etc/file", "bind", &path("file")),
                mount("/sys/fs/cgroup", "cgroup", Path::new("cgroup")),
            ],
            ..Spec::default()
        };
        let point = MountPoint {
            name: "pids".to_owned(),
            options: String::new(),
            source: "/c/pids".into(),
            links: Vec::new(),
        };
        let pairs = sources(&Sources {
            spec: &spec,
            bundle: directory.path(),
            rootfs: &path("root"),
            cgroups: &[point],
            notify: Path::new("/state/notify"),
        })
        .expect("sources");
        let has = |point: &str, source: &Path| {
            let pair = (point.to_owned(), source.to_string_lossy().into_owned());
            assert!(pairs.contains(&pair), "{pair:?} in {pairs:?}");
        };
        has("/proc/x", &path("file"));
        has("/run/data", &path("data"));
        has("/link/data", &path("data"));
        has("/run/data/inner", &path("inner"));
        has("/etc/file", &path("file"));
        has("/sys/fs/cgroup/pids", Path::new("/c/pids"));
        has("/dev/null", Path::new("/dev/null"));
        has("/run/notify", Path::new("/state/notify"));
        assert!(path("root/proc").is_dir() && !path("root/proc/x").exists());
        assert!(path("root/etc/file").is_file() && path("root/run/data").is_dir());
        assert!(path("data/inner").is_dir() && !path("root/run/data/inner").exists());
    }

    #[test]
    fn a_device_is_the_one_of_the_configuration_or_refused() {
        let device = |kind, minor| Device {
            kind,
            path: "/dev/zero".into(),
            major: Some(1),
            minor: Some(minor),
            file_mode: None,
            uid: None,
            gid: None,
        };
        check(&device(DeviceKind::Char, 5)).expect("it is /dev/zero");
        for other in [device(DeviceKind::Char, 3), device(DeviceKind::Block, 5)] {
            let error = check(&other).expect_err("another device");
            assert_eq!(error.path(), Some(Path::new("/dev/zero")));
        }
        check(&device(DeviceKind::Fifo, 0)).expect("it is made");
        let missing = Device { path: "/dev/none".into(), ..device(DeviceKind::Char, 5) };
        check(&missing).expect_err("a missing device");
    }
}
