//! Look-ups in an image that tries to lead them out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Setup, failure, filesystem, pivot, privileged, rootfs};
use crate::program::{Op, Slot, Step};

/// Mounts a tmpfs at `target` and lists where it is mounted.
fn mount_point(root: &Path, target: &std::ffi::CStr) -> String {
    let mut setup = Setup::caged(root);
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"mode=711\0", target);
    pivot(&mut setup);
    setup.shell("grep ' tmpfs ' /proc/self/mountinfo | while read a b c d e f; do echo $e; done");
    setup.prints()
}

#[test]
fn missing_directories_are_made() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    assert_eq!(mount_point(root.path(), c"/a/b//c/./d"), "/a/b/c/d\n");
    assert_eq!(mount_point(root.path(), c"/a/b/x/"), "/a/b/x\n");
}

#[test]
fn links_stay_in_the_root() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("real")).unwrap();
    symlink("../../../../real", root.path().join("relative")).unwrap();
    symlink("/real", root.path().join("absolute")).unwrap();
    symlink(outside.path(), root.path().join("host")).unwrap();
    assert_eq!(mount_point(root.path(), c"/relative/x"), "/real/x\n");
    assert_eq!(mount_point(root.path(), c"/absolute/y"), "/real/y\n");
    assert_eq!(mount_point(root.path(), c"/../../real"), "/real\n");
    // A link that exists on the host only: what it names is made inside.
    let inside = format!("{}/z\n", outside.path().display());
    assert_eq!(mount_point(root.path(), c"/host/z"), inside);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_dangling_link_is_followed_inside() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    symlink("../run/stub/resolv.conf", root.path().join("etc/resolv.conf")).unwrap();
    symlink("/loop/b", root.path().join("etc/a")).unwrap();
    let file = root.path().join("tmp/source");
    fs::write(&file, "nameserver\n").unwrap();
    let mut setup = Setup::mounts();
    let tree = setup.send(crate::harness::clone_tree(root.path()));
    let source = setup.send(crate::harness::clone_tree(&file));
    setup.step(&Step::Root { tree, path: &crate::harness::path_text(root.path()), propagation: 0 });
    setup.attach(source, c"/etc/resolv.conf");
    pivot(&mut setup);
    setup.shell("cat /etc/resolv.conf; ls -A /run/stub");
    assert_eq!(setup.prints(), "nameserver\nresolv.conf\n");
    let made = root.path().join("run/stub/resolv.conf");
    assert_eq!(fs::metadata(made).unwrap().len(), 0);
}

#[test]
fn links_that_never_end_are_refused() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    symlink("two", root.path().join("one")).unwrap();
    symlink("one", root.path().join("two")).unwrap();
    let mut setup = Setup::caged(root.path());
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b""));
    let step = setup.attach(slot, c"/one/x");
    assert_eq!(setup.fails().failure(), failure(step, Op::Open, libc::ELOOP, "/one/x"));
}

#[test]
fn a_target_without_links_is_held_to_it() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::remove_dir(root.path().join("proc")).unwrap();
    for link in ["tmp", "missing"] {
        let proc = root.path().join("proc");
        let _ = fs::remove_file(&proc);
        symlink(link, &proc).unwrap();
        for target in [c"/proc", c"/proc/sub"] {
            let mut setup = Setup::caged(root.path());
            let slot = setup.slot();
            setup.step(&filesystem(slot, c"proc", b""));
            let mut attach = crate::harness::attach(slot, target);
            if let Step::Attach { no_symlink, .. } = &mut attach {
                *no_symlink = true;
            }
            let step = setup.step(&attach);
            let text = target.to_str().unwrap();
            assert_eq!(setup.fails().failure(), failure(step, Op::Open, libc::ELOOP, text));
        }
    }
    assert!(!root.path().join("missing").exists());
}

#[test]
fn the_kept_directory_does_not_lift_the_ban_on_links() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::create_dir(root.path().join("real")).unwrap();
    symlink("real", root.path().join("link")).unwrap();
    let mut setup = Setup::caged(root.path());
    // Keeps /link.
    setup.step(&Step::Directory { path: c"/link/first", mode: 0o755 });
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b""));
    let mut attach = crate::harness::attach(slot, c"/link/second");
    if let Step::Attach { no_symlink, .. } = &mut attach {
        *no_symlink = true;
    }
    let step = setup.step(&attach);
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Open, libc::ELOOP, "/link/second"));
    assert!(root.path().join("real/first").is_dir());
    assert!(!root.path().join("real/second").exists());
}

#[test]
fn a_mount_hides_the_kept_directory() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.step(&Step::Directory { path: c"/dev/below", mode: 0o700 });
    setup.mount(c"tmpfs", b"", c"/dev");
    setup.step(&Step::Directory { path: c"/dev/above", mode: 0o705 });
    pivot(&mut setup);
    setup.shell("ls /dev; stat -c %a /dev/above");
    assert_eq!(setup.prints(), "above\n705\n");
    assert!(root.path().join("dev/below").is_dir());
}

#[test]
fn procfs_is_no_target_unless_allowed() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    symlink("/proc", root.path().join("innocent")).unwrap();
    for (target, text) in [(c"/proc/fs", "/proc/fs"), (c"/innocent", "/innocent")] {
        let mut setup = Setup::caged(root.path());
        setup.mount(c"proc", b"", c"/proc");
        let slot = setup.slot();
        setup.step(&filesystem(slot, c"tmpfs", b""));
        let step = setup.attach(slot, target);
        assert_eq!(setup.fails().failure(), failure(step, Op::OverProc, libc::EPERM, text));
    }
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b""));
    let mut attach = crate::harness::attach(slot, c"/proc/fs");
    if let Step::Attach { over_proc, .. } = &mut attach {
        *over_proc = true;
    }
    setup.step(&attach);
    pivot(&mut setup);
    setup.shell("ls -A /proc/fs; echo end");
    assert_eq!(setup.prints(), "end\n");
}

#[test]
fn a_file_in_the_way_is_an_error() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::write(root.path().join("file"), "").unwrap();
    let mut setup = Setup::caged(root.path());
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b""));
    let step = setup.attach(slot, c"/file/x");
    assert_eq!(setup.fails().failure(), failure(step, Op::Open, libc::ENOTDIR, "/file/x"));
    let mut setup = Setup::caged(root.path());
    let step = setup.attach(Slot(7), c"/x");
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Slot, libc::EBADF, ""));
    assert_eq!(message.report.detail, 7);
}

#[test]
fn the_working_directory_is_inside() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    symlink("/proc/self/fd", root.path().join("fds")).unwrap();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    pivot(&mut setup);
    setup.step(&Step::WorkingDirectory { path: c"/made/deep", create: true });
    setup.shell("pwd");
    assert_eq!(setup.prints(), "/made/deep\n");
    // Descriptors as directories are magic links.
    for path in [c"/proc/self/fd/100", c"/fds/100", c"/proc/self/cwd"] {
        let mut setup = Setup::caged(root.path());
        setup.mount(c"proc", b"", c"/proc");
        pivot(&mut setup);
        let step = setup.step(&Step::WorkingDirectory { path, create: false });
        let message = setup.fails();
        let text = path.to_str().unwrap();
        assert_eq!(message.failure(), failure(step, Op::Chdir, libc::ELOOP, text));
    }
    let mut setup = Setup::caged(root.path());
    pivot(&mut setup);
    let step = setup.step(&Step::WorkingDirectory { path: c"/none", create: false });
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Chdir, libc::ENOENT, "/none"));
}

/// Attaches a tmpfs, on a procfs as well.
fn attach_over(setup: &mut Setup, target: &std::ffi::CStr) {
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b"mode=700\0"));
    let mut attach = crate::harness::attach(slot, target);
    if let Step::Attach { over_proc, .. } = &mut attach {
        *over_proc = true;
    }
    setup.step(&attach);
}

#[test]
fn a_mount_through_a_link_is_not_overlooked() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    symlink("/dev", root.path().join("link")).unwrap();
    symlink("/proc", root.path().join("innocent")).unwrap();
    for target in [c"/link", c"/dev", c"/dev/.", c"//dev"] {
        let mut setup = Setup::caged(root.path());
        setup.mount(c"tmpfs", b"mode=755\0", c"/dev");
        setup.mount(c"tmpfs", b"mode=755\0", c"/dev/sub");
        attach_over(&mut setup, target);
        setup.step(&Step::Directory { path: c"/dev/above", mode: 0o755 });
        pivot(&mut setup);
        setup.shell("ls /dev; stat -c %a /dev");
        assert_eq!(setup.prints(), "above\n700\n", "{target:?}");
    }
    for target in [c"/innocent", c"/proc", c"/sys/../proc"] {
        let mut setup = Setup::caged(root.path());
        setup.mount(c"proc", b"", c"/proc");
        attach_over(&mut setup, target);
        let step = setup.step(&Step::ReadonlyPath { path: c"/proc/sys" });
        let message = setup.fails();
        let expected = failure(step, Op::WrongFilesystem, libc::EINVAL, "/proc");
        assert_eq!(message.failure(), expected, "{target:?}");
    }
}

#[test]
fn a_volume_below_a_kept_directory_is_entered() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"tmpfs", b"mode=755\0", c"/dev");
    setup.step(&Step::Directory { path: c"/dev/a", mode: 0o755 });
    setup.mount(c"tmpfs", b"mode=711\0", c"/dev/a");
    setup.step(&Step::Directory { path: c"/dev/a/b", mode: 0o700 });
    setup.step(&Step::Directory { path: c"/dev/c", mode: 0o700 });
    pivot(&mut setup);
    setup.shell("stat -c %a /dev/a; ls /dev /dev/a");
    assert_eq!(setup.prints(), "711\n/dev:\na\nc\n\n/dev/a:\nb\n");
}
