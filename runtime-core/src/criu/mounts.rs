//! Which mounts of a container are of the host: criu dumps what is in the others, and needs to be told of
//! these.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, makedev};

use crate::error::{Attempt, Result};
use crate::sys::mountinfo::{self, Mount};

/// The name of mounts that hide something behind /dev/null.
pub(super) const NULL: &str = "/dev/null";

/// The mounts of the host that the process `pid` sees: each by its mount point, and what it is named in
/// the images.
///
/// They are found by their file systems, which the caller has as well, and not from a configuration, which
/// may have changed. A file system that a container mounts is its own, but for those that exist once.
///
/// # Errors
/// The failure of a system call.
pub(crate) fn external(pid: i32, own_cgroups: bool) -> Result<Vec<(String, String)>> {
    let of_host = mountinfo::read().attempt("read /proc/self/mountinfo")?;
    let inside = mountinfo::read_of(pid).attempt("read the mounts of the container")?;
    let external =
        inside.iter().filter(|mount| is_external(mount, (&inside, &of_host), own_cgroups));
    let root = open_root(pid)?;
    let named = external.map(|mount| {
        let name = if is_null(root.as_fd(), &mount.point) { NULL } else { &mount.point };
        (mount.point.clone(), name.to_owned())
    });
    Ok(named.collect())
}

/// Whether criu cannot make this mount on its own.
fn is_external(mount: &Mount, (inside, of_host): (&[Mount], &[Mount]), own_cgroups: bool) -> bool {
    let same = |other: &&Mount| other.device == mount.device;
    match &*mount.kind {
        _ if mount.point == "/" => false,
        // With a namespace of its own the container's mounts are made anew; others show directories of the
        // host's.
        "cgroup" => !own_cgroups,
        "cgroup2" => !own_cgroups && mount.root != "/",
        // They exist once for each namespace, or once at all: a part is made of the whole, which must be
        // there.
        "proc" | "sysfs" | "mqueue" => !inside.iter().filter(same).any(|whole| whole.root == "/"),
        _ => of_host.iter().any(|other| same(&other)),
    }
}

fn open_root(pid: i32) -> Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/{pid}/root"));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, &path, flags, Mode::empty()).attempt_on("open", &path)
}

/// Mount points are written without links: one has been put there since by a process of the container.
fn is_null(root: BorrowedFd<'_>, point: &str) -> bool {
    let beneath = ResolveFlag::RESOLVE_IN_ROOT
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(beneath);
    let found = openat2(root, point, how).and_then(fstat);
    found.is_ok_and(|found| {
        let is_device = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
        is_device && found.st_rdev == makedev(1, 3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_has_as_well_is_external() {
        let of_host = mountinfo::parse(
            "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:6 / /dev rw - devtmpfs d rw\n\
             3 1 0:20 / /proc rw - proc proc rw\n4 1 0:21 / /sys rw - sysfs sysfs rw\n\
             5 4 0:30 / /sys/fs/cgroup/pids rw - cgroup c rw,pids\n",
        );
        let inside = mountinfo::parse(
            "10 9 8:1 /rootfs / rw - ext4 /dev/sda rw\n11 10 0:50 / /proc rw - proc proc rw\n\
             12 11 0:50 /bus /proc/bus ro - proc proc rw\n13 11 0:6 /null /proc/keys ro - devtmpfs d rw\n\
             14 10 0:51 / /dev rw - tmpfs tmpfs rw\n15 10 8:1 /data /my\\040data rw - ext4 /dev/sda rw\n\
             16 10 0:21 / /sys ro - sysfs sysfs rw\n17 16 0:30 /c /sys/fs/cgroup/pids ro - cgroup c rw\n\
             18 10 0:20 /net /hostnet ro - proc proc rw\n",
        );
        let external = |own_cgroups| -> Vec<&str> {
            let found =
                inside.iter().filter(|mount| is_external(mount, (&inside, &of_host), own_cgroups));
            found.map(|mount| &*mount.point).collect()
        };
        assert_eq!(external(true), ["/proc/keys", "/my data", "/hostnet"]);
        assert_eq!(external(false), ["/proc/keys", "/my data", "/sys/fs/cgroup/pids", "/hostnet"]);
    }

    #[test]
    fn a_mount_point_that_is_a_link_by_now_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/dev/null", directory.path().join("link")).expect("a link");
        std::os::unix::fs::symlink("/dev", directory.path().join("dev")).expect("a link");
        let own = open_root(i32::try_from(std::process::id()).expect("a pid")).expect("the root");
        assert!(is_null(own.as_fd(), "/dev/null"));
        assert!(!is_null(own.as_fd(), "/dev/zero"));
        let below = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        assert!(!is_null(own.as_fd(), &below("link")) && !is_null(own.as_fd(), &below("dev/null")));
    }
}
