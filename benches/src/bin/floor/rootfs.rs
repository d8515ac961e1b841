//! The file systems of the default configuration, in the child.

use std::ffi::CStr;
use std::ptr;

use crate::child::{Plan, step};

const QUIET: libc::c_ulong = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
];
/// Masked by an empty read-only file system.
const MASKED_DIRECTORIES: [&CStr; 4] =
    [c"proc/acpi", c"proc/asound", c"proc/scsi", c"sys/firmware"];
/// Masked by /dev/null.
const MASKED_FILES: [&CStr; 6] = [
    c"proc/kcore",
    c"proc/keys",
    c"proc/latency_stats",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"proc/sched_debug",
];
const READ_ONLY: [&CStr; 5] =
    [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];

fn try_mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> i32 {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: NUL-terminated strings or null pointers, all of which outlive the call.
    unsafe {
        let data = pointer(data).cast();
        libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, data)
    }
}

fn mount(kind: &CStr, target: &CStr, flags: libc::c_ulong, data: Option<&CStr>) {
    step(try_mount(Some(kind), target, Some(kind), flags, data), target);
}

fn make_directory(path: &CStr) {
    // SAFETY: a NUL-terminated path that outlives the call.
    step(unsafe { libc::mkdir(path.as_ptr(), 0o755) }, path);
}

/// Makes all mounts and moves into them.
pub(crate) fn enter(plan: &Plan<'_>) {
    step(try_mount(None, c"/", None, libc::MS_REC | libc::MS_SLAVE, None), c"end propagation");
    let bind = libc::MS_BIND | libc::MS_REC;
    step(try_mount(Some(plan.rootfs), plan.rootfs, None, bind, None), c"mount the rootfs");
    // SAFETY: a NUL-terminated path that outlives the call; umask takes no pointers.
    unsafe {
        step(libc::chdir(plan.rootfs.as_ptr()), c"enter the rootfs");
        libc::umask(0);
    }
    mount(c"proc", c"proc", 0, None);
    devices();
    mount(c"sysfs", c"sys", QUIET | libc::MS_RDONLY, None);
    if plan.is_v2() {
        cgroup_v2();
    } else {
        cgroup_v1(plan);
    }
    pivot();
    hide();
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
    step(try_mount(None, c"/", None, flags, None), c"make the rootfs read-only");
}

fn devices() {
    let flags = libc::MS_NOSUID | libc::MS_STRICTATIME;
    mount(c"tmpfs", c"dev", flags, Some(c"mode=755,size=65536k"));
    make_directory(c"dev/pts");
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(c"devpts", c"dev/pts", libc::MS_NOSUID | libc::MS_NOEXEC, Some(options));
    make_directory(c"dev/shm");
    mount(c"tmpfs", c"dev/shm", QUIET, Some(c"mode=1777,size=65536k"));
    make_directory(c"dev/mqueue");
    mount(c"mqueue", c"dev/mqueue", QUIET, None);
    for (path, major, minor) in DEVICES {
        let device = libc::makedev(major, minor);
        // SAFETY: a NUL-terminated path that outlives the call.
        step(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, device) }, path);
    }
    for (target, path) in LINKS {
        // SAFETY: NUL-terminated paths that outlive the call.
        step(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }, path);
    }
}

/// A tmpfs with the container's own cgroup of each hierarchy, made read-only in one call.
fn cgroup_v1(plan: &Plan<'_>) {
    let view = c"sys/fs/cgroup";
    mount(c"tmpfs", view, QUIET, Some(c"mode=755"));
    // SAFETY: a NUL-terminated path that outlives the call.
    step(unsafe { libc::chdir(view.as_ptr()) }, view);
    for hierarchy in plan.hierarchies {
        make_directory(&hierarchy.view);
        let result = try_mount(Some(&hierarchy.path), &hierarchy.view, None, libc::MS_BIND, None);
        step(result, c"show a cgroup");
    }
    // SAFETY: mount_attr is plain data; the path is empty and the descriptor the working directory.
    unsafe {
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_RDONLY
                | libc::MOUNT_ATTR_NOSUID
                | libc::MOUNT_ATTR_NODEV
                | libc::MOUNT_ATTR_NOEXEC,
            attr_clr: 0,
            propagation: 0,
            userns_fd: 0,
        };
        let size = std::mem::size_of::<libc::mount_attr>();
        let flags = libc::AT_RECURSIVE;
        let (number, place) = (libc::SYS_mount_setattr, &raw const attributes);
        let result = libc::syscall(number, libc::AT_FDCWD, c".".as_ptr(), flags, place, size);
        step(result, c"make the cgroups read-only");
        step(libc::chdir(plan.rootfs.as_ptr()), c"enter the rootfs");
    }
}

fn cgroup_v2() {
    // SAFETY: no pointers.
    step(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }, c"unshare the cgroup namespace");
    mount(c"cgroup2", c"sys/fs/cgroup", QUIET | libc::MS_RDONLY | libc::MS_RELATIME, None);
}

/// The new root is mounted over the old one, which is then detached.
fn pivot() {
    let here = c".".as_ptr();
    // SAFETY: NUL-terminated paths that outlive the calls.
    unsafe {
        step(libc::syscall(libc::SYS_pivot_root, here, here), c"pivot the root");
        step(libc::umount2(here, libc::MNT_DETACH), c"detach the old root");
    }
}

/// Paths that this kernel does not have are skipped.
fn hide() {
    for path in MASKED_DIRECTORIES {
        try_mount(Some(c"tmpfs"), path, Some(c"tmpfs"), libc::MS_RDONLY, None);
    }
    for path in MASKED_FILES {
        try_mount(Some(c"dev/null"), path, None, libc::MS_BIND, None);
    }
    let read_only = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
    for path in READ_ONLY {
        if try_mount(Some(path), path, None, libc::MS_BIND | libc::MS_REC, None) == 0 {
            step(try_mount(None, path, None, read_only, None), path);
        }
    }
}
