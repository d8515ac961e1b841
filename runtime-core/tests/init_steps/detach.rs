//! Taking mounts away.

use std::ffi::CStr;

use crate::harness::{Setup, failure, pivot, privileged, rootfs};
use crate::program::{Op, Step};

#[test]
fn a_mount_is_taken_away_by_its_own_path_only() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    std::os::unix::fs::symlink("/", root.path().join("around")).unwrap();
    std::os::unix::fs::symlink("/tmp", root.path().join("link")).unwrap();
    let setup = |path: &'static CStr| {
        let mut setup = Setup::caged(root.path());
        setup.mount(c"proc", b"", c"/proc");
        setup.mount(c"tmpfs", b"size=64k\0", c"/tmp");
        let step = setup.step(&Step::Detach { path });
        (setup, step)
    };
    let (mut taken, _) = setup(c"/tmp");
    pivot(&mut taken);
    taken.shell("grep -c ' /tmp ' /proc/self/mounts; true");
    assert_eq!(taken.prints(), "0\n");
    for (path, op, errno) in [
        (c"/around/tmp", Op::Open, libc::ELOOP),
        (c"/link", Op::Unmount, libc::EINVAL),
        (c"/bin", Op::Unmount, libc::EINVAL),
        (c"/", Op::Open, libc::EINVAL),
        (c"/missing/tmp", Op::Open, libc::ENOENT),
    ] {
        let (setup, step) = setup(path);
        let text = path.to_str().unwrap();
        assert_eq!(setup.fails().failure(), failure(step, op, errno, text), "{path:?}");
    }
}
