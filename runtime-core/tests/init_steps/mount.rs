//! File systems, trees, the root.

use std::fs;
use std::path::Path;

use nix::sched::CloneFlags;

use crate::harness::{
    Setup, attach, clone_tree, failure, filesystem, path_text, pivot, privileged, rootfs,
};
use crate::program::{List, Op, Step};

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

#[test]
fn a_bad_option_is_named_with_the_kernels_words() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::mounts();
    let slot = setup.slot();
    let step = setup.step(&filesystem(slot, c"tmpfs", b"mode=755\0size=much\0"));
    let message = setup.fails();
    let (at, op, errno, text) = message.failure();
    assert_eq!((at, op, errno), (step, Op::Fsconfig as u32, libc::EINVAL));
    assert_eq!(text, "size=much: tmpfs: Bad value for 'size'");

    let mut setup = Setup::mounts();
    let slot = setup.slot();
    let step = setup.step(&filesystem(slot, c"nofs", b""));
    assert_eq!(setup.fails().failure(), failure(step, Op::Fsopen, libc::ENODEV, "nofs"));
}

#[test]
fn options_flags_and_attributes_arrive() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    let slot = setup.slot();
    setup.step(&Step::NewFilesystem {
        slot,
        kind: c"tmpfs",
        source: c"memory",
        options: List::new(b"size=64k\0mode=711\0ro\0").unwrap(),
        attributes: NOEXEC,
        otherwise: c"",
    });
    setup.attach(slot, c"/tmp");
    pivot(&mut setup);
    setup.shell("grep ' /tmp ' /proc/self/mounts");
    let mounts = setup.prints();
    assert_eq!(mounts, "memory /tmp tmpfs ro,noexec,relatime,size=64k,mode=711 0 0\n");
}

#[test]
fn refused_file_systems_fall_back_to_the_hosts() {
    if !privileged() {
        return;
    }
    // A user namespace without a network namespace of its own may not mount sysfs.
    let (mut setup, slot) = mapped();
    let step = setup.step(&filesystem(slot, c"sysfs", b""));
    let running = start_mapped(setup);
    let message = running.receive().expect("a failure");
    assert_eq!((message.failure().0, message.report.errno), (step, libc::EPERM), "{message:?}");
    running.end();

    let (mut setup, slot) = mapped();
    setup.step(&Step::NewFilesystem {
        slot,
        kind: c"sysfs",
        source: c"",
        options: List::new(b"").unwrap(),
        attributes: RDONLY,
        otherwise: c"/sys",
    });
    setup.attach(slot, c"/mnt");
    setup.step(&Step::FindExecutable { name: c"sh", path: c"/bin" });
    let script = "ls -d /mnt/kernel; grep ' /mnt sysfs ro,' /proc/self/mounts | wc -l";
    let args = crate::harness::list(&["sh", "-c", script]);
    setup.step(&Step::Execute {
        args: List::new(&args).unwrap(),
        env: List::new(b"PATH=/bin:/usr/bin\0").unwrap(),
    });
    let running = start_mapped(setup);
    if let Some(message) = running.receive() {
        panic!("{message:?}");
    }
    assert_eq!(running.end().1, "/mnt/kernel\n1\n");
}

/// A program that waits for the maps of its own user namespace first, and a slot.
fn mapped() -> (Setup, crate::program::Slot) {
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Unshare {
        kinds: u32::try_from(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).unwrap(),
    });
    setup.step(&Step::Gate { gate: 2 });
    setup.step(&Step::Identity { uid: 0, gid: 0 });
    let slot = setup.slot();
    (setup, slot)
}

fn start_mapped(setup: Setup) -> crate::harness::Running {
    let running = setup.start();
    running.expect_gate(crate::program::Gate::Mounted);
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", running.pid()), "0 0 1000\n").unwrap();
    }
    running.go(b"go");
    running
}

#[test]
fn attributes_reach_as_far_as_they_say() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b""));
    let mut step = attach(slot, c"/tmp");
    if let Step::Attach { set, set_recursive, propagation, propagation_recursive, .. } = &mut step {
        (*set, *set_recursive) = (RDONLY, NOEXEC);
        (*propagation, *propagation_recursive) = (libc::MS_SHARED, true);
    }
    setup.step(&step);
    setup.step(&Step::Reattribute {
        target: c"/tmp",
        set: libc::MOUNT_ATTR_NODEV,
        clear: NOEXEC,
        propagation: 0,
        recursive: false,
    });
    pivot(&mut setup);
    setup.shell(
        "grep ' /tmp ' /proc/self/mountinfo | while read a b c d e f g h; do echo $f $g; done",
    );
    let line = setup.prints();
    let (flags, optional) = line.trim().split_once(' ').unwrap();
    assert_eq!(flags, "ro,nodev,relatime");
    assert!(optional.starts_with("shared:"), "{optional}");
}

#[test]
fn reattribute_wants_a_mount() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    let step = setup.step(&Step::Reattribute {
        target: c"/tmp",
        set: RDONLY,
        clear: 0,
        propagation: 0,
        recursive: true,
    });
    assert_eq!(setup.fails().failure(), failure(step, Op::MountSetattr, libc::EINVAL, "/tmp"));
}

#[test]
fn a_mounted_file_system_takes_new_options_and_propagation() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"size=64k\0", c"/tmp");
    let options = List::new(b"size=128k\0").unwrap();
    setup.step(&Step::Reconfigure { target: c"/tmp", options });
    setup.step(&Step::Reattribute {
        target: c"/tmp",
        set: 0,
        clear: 0,
        propagation: libc::MS_UNBINDABLE,
        recursive: false,
    });
    pivot(&mut setup);
    setup.shell("grep -o ' / /tmp .*' /proc/self/mountinfo");
    let mounts = setup.prints();
    assert_eq!(mounts, " / /tmp rw,relatime unbindable - tmpfs none rw,size=128k\n");

    let mut setup = Setup::caged(root.path());
    setup.mount(c"tmpfs", b"size=64k\0", c"/tmp");
    let options = List::new(b"size=much\0").unwrap();
    let step = setup.step(&Step::Reconfigure { target: c"/tmp", options });
    let message = setup.fails();
    let (at, op, errno, text) = message.failure();
    assert_eq!((at, op, errno), (step, Op::Fsconfig as u32, libc::EINVAL));
    assert_eq!(text, "size=much: tmpfs: Bad value for 'size'");
}

#[test]
fn options_can_go_as_one_text() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    let slot = setup.slot();
    let (kind, source, data) = (c"tmpfs", c"memory", c"size=64k,mode=711");
    setup.step(&Step::Mount { slot, kind, source, data, flags: libc::MS_SYNCHRONOUS });
    setup.attach(slot, c"/tmp");
    pivot(&mut setup);
    setup.shell("grep ' /tmp ' /proc/self/mounts; grep -c ' /proc ' /proc/self/mounts");
    let mounts = setup.prints();
    assert_eq!(mounts, "memory /tmp tmpfs rw,sync,relatime,size=64k,mode=711 0 0\n1\n");

    let mut setup = Setup::mounts();
    let slot = setup.slot();
    let (kind, data) = (c"tmpfs", c"size=much");
    let step = setup.step(&Step::Mount { slot, kind, source: c"x", data, flags: 0 });
    assert_eq!(setup.fails().failure(), failure(step, Op::Mount, libc::EINVAL, "tmpfs"));
}

#[test]
fn only_a_queue_file_system_is_labelled() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    for (kind, op, errno) in [
        // A kernel without SELinux has no such attribute there.
        (c"mqueue", Op::Label, libc::EOPNOTSUPP),
        (c"tmpfs", Op::WrongFilesystem, libc::EINVAL),
    ] {
        let mut setup = Setup::caged(root.path());
        setup.mount(kind, b"", c"/tmp");
        let step = setup.step(&Step::Label { path: c"/tmp", label: b"system_u:object_r:t:s0" });
        assert_eq!(setup.fails().failure(), failure(step, op, errno, "/tmp"));
    }
}

#[test]
fn another_directory_at_the_roots_path_is_refused() {
    if !privileged() {
        return;
    }
    let (root, other) = (rootfs(), rootfs());
    let mut setup = Setup::mounts();
    let tree = setup.send(clone_tree(root.path()));
    let path = path_text(other.path());
    let step = setup.step(&Step::Root { tree, path: &path, propagation: 0 });
    let text = other.path().to_str().unwrap();
    assert_eq!(setup.fails().failure(), failure(step, Op::Changed, libc::ENOENT, text));
}

/// Leaves the host in one of the three ways and tells what the payload sees of it.
fn seen_from(root: &Path, last: &Step<'_>) -> String {
    let mut setup = Setup::caged(root);
    setup.mount(c"proc", b"", c"/proc");
    setup.step(last);
    setup.step(&Step::ReadonlyRoot {});
    setup.shell("ls /; ls -d /../../home; echo x > /file; grep -c ' / ' /proc/self/mountinfo");
    let running = setup.start();
    assert!(running.receive().is_none());
    running.end().1
}

#[test]
fn the_host_is_out_of_sight() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let listing = "bin\ndev\netc\nproc\nsys\ntmp\n";
    for pivot in [true, false] {
        let step = Step::Pivot { pivot, propagation: libc::MS_SLAVE, recursive: true };
        let seen = seen_from(root.path(), &step);
        assert!(seen.starts_with(listing), "{seen}");
        assert!(seen.contains("/../../home: No such file"), "{seen}");
        assert!(seen.contains("/file: Read-only file system"), "{seen}");
    }
    let seen = seen_from(root.path(), &Step::Chroot {});
    assert!(seen.starts_with(listing), "{seen}");
    assert!(seen.contains("/file: Read-only file system"), "{seen}");
    assert!(!root.path().join("file").exists());
}

#[test]
fn nothing_reaches_the_host() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut setup = Setup::caged(root.path());
    for target in [c"/tmp/a", c"/tmp/b", c"/dev"] {
        setup.mount(c"tmpfs", b"", target);
    }
    pivot(&mut setup);
    setup.step(&Step::Gate { gate: 2 });
    let running = setup.start();
    running.expect_gate(crate::program::Gate::Mounted);
    let during = fs::read_to_string("/proc/self/mountinfo").unwrap();
    running.end();
    let name = root.path().file_name().unwrap().to_str().unwrap();
    assert!(!during.contains(name), "{during}");
    assert!(!before.contains(name), "{before}");
}

#[test]
fn hundreds_of_mounts_fit_into_the_limit_of_files() {
    if !privileged() {
        return;
    }
    const MOUNTS: usize = 700;
    let root = rootfs();
    fs::write(root.path().join("tmp/source"), "").unwrap();
    let mut setup = Setup::mounts();
    let tree = setup.send(clone_tree(root.path()));
    // Two messages and more full of descriptors; this process needs them all at once.
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 4096, 4096).ok();
    let trees: Vec<_> =
        (0..300).map(|_| setup.send(clone_tree(&root.path().join("tmp/source")))).collect();
    let path = path_text(root.path());
    setup.step(&Step::Root { tree, path: &path, propagation: 0 });
    for number in 0..MOUNTS {
        let target = std::ffi::CString::new(format!("/tmp/{number}")).unwrap();
        if let Some(tree) = trees.get(number) {
            setup.attach(*tree, &target);
        } else {
            setup.mount(c"tmpfs", b"", &target);
        }
    }
    setup.mount(c"proc", b"", c"/proc");
    pivot(&mut setup);
    setup.step(&Step::Rlimit { resource: 7, soft: 100, hard: 100 });
    setup.shell("grep -c ' /tmp/[0-9]' /proc/self/mountinfo");
    assert_eq!(setup.prints(), format!("{MOUNTS}\n"));
}

#[test]
fn a_tree_can_be_opened_by_the_init_program() {
    if !privileged() {
        return;
    }
    let (root, volume) = (rootfs(), tempfile::tempdir().unwrap());
    fs::write(volume.path().join("content"), "").unwrap();
    let mut setup = Setup::mounts();
    let tree = setup.send(clone_tree(root.path()));
    let slot = setup.slot();
    let from = path_text(volume.path());
    setup.step(&Step::OpenTree { slot, path: &from, recursive: true });
    let path = path_text(root.path());
    setup.step(&Step::Root { tree, path: &path, propagation: 0 });
    setup.attach(slot, c"/volume");
    pivot(&mut setup);
    setup.shell("ls /volume");
    assert_eq!(setup.prints(), "content\n");

    let mut setup = Setup::mounts();
    let slot = setup.slot();
    let step = setup.step(&Step::OpenTree { slot, path: c"/no/such", recursive: false });
    assert_eq!(setup.fails().failure(), failure(step, Op::OpenTree, libc::ENOENT, "/no/such"));
}

/// A root whose /data holds one of everything.
fn covered() -> tempfile::TempDir {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    let root = rootfs();
    let data = root.path().join("data");
    std::fs::create_dir_all(data.join("sub/deep")).unwrap();
    std::fs::write(data.join("sub/deep/file"), "x".repeat(100_000)).unwrap();
    chown(data.join("sub/deep/file"), Some(7), Some(8)).unwrap();
    let mode = std::fs::Permissions::from_mode;
    std::fs::set_permissions(data.join("sub/deep/file"), mode(0o4750)).unwrap();
    std::fs::set_permissions(data.join("sub"), mode(0o2701)).unwrap();
    symlink("/etc/none", data.join("link")).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    chown(&data, Some(5), Some(6)).unwrap();
    std::fs::set_permissions(&data, mode(0o711)).unwrap();
    root
}

/// Attaches a tmpfs over /data and prints what is there.
fn covering(root: &Path, options: &[u8], keep: bool, contents: bool) -> String {
    let mut setup = Setup::caged(root);
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", options));
    let mut step = attach(slot, c"/data");
    if let Step::Attach { keep_mode, copy, .. } = &mut step {
        (*keep_mode, *copy) = (keep, contents);
    }
    setup.step(&step);
    pivot(&mut setup);
    setup.shell("cd /data; find . | sort | while read f; do stat -c '%n %a %u:%g %F %s' $f; done");
    setup.prints()
}

#[test]
fn a_tmpfs_takes_the_mode_of_what_it_covers() {
    if !privileged() {
        return;
    }
    let root = covered();
    let top = |text: String| text.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(top(covering(root.path(), b"", false, false)), "1777");
    let with = covering(root.path(), b"", true, false);
    assert!(with.starts_with(". 711 0:0 directory") && with.lines().count() == 1, "{with}");
}

#[test]
fn a_tmpfs_takes_the_content_of_what_it_covers() {
    if !privileged() {
        return;
    }
    let root = covered();
    let found = covering(root.path(), b"mode=700\0", false, true);
    let lines: Vec<&str> = found.lines().collect();
    let size = |line: &str| line.rsplit(' ').next().unwrap_or_default().parse::<u32>().unwrap_or(0);
    assert_eq!(lines.len(), 5, "{found}");
    assert!(lines[0].starts_with(". 700 5:6 directory"), "{found}");
    assert!(lines[1].starts_with("./link 777 0:0 symbolic link"), "{found}");
    assert!(lines[2].starts_with("./sub 2701 0:0 directory"), "{found}");
    assert!(lines[4].starts_with("./sub/deep/file 4750 7:8 regular file"), "{found}");
    assert_eq!(size(lines[4]), 100_000);
}

#[test]
fn nobody_becomes_root_by_a_file_whose_owner_is_unknown() {
    if !privileged() {
        return;
    }
    let root = covered();
    let data = root.path().join("data");
    let file = data.join("sub/deep/file");
    std::os::unix::fs::chown(&file, Some(70_000), Some(0)).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o6755)).unwrap();
    let (mut setup, slot) = mapped();
    setup.step(&filesystem(slot, c"tmpfs", b""));
    let target = path_text(&data);
    let mut step = attach(slot, &target);
    if let Step::Attach { copy, .. } = &mut step {
        *copy = true;
    }
    setup.step(&step);
    setup.step(&Step::FindExecutable { name: c"stat", path: c"/usr/bin:/bin" });
    let args = crate::harness::list(&["stat", "-c", "%a %u", file.to_str().unwrap()]);
    setup.step(&Step::Execute { args: List::new(&args).unwrap(), env: List::new(b"").unwrap() });
    let running = start_mapped(setup);
    if let Some(message) = running.receive() {
        panic!("{message:?}");
    }
    assert_eq!(running.end().1, "755 0\n");
}

#[test]
fn a_tmpfs_too_small_for_what_it_covers_is_an_error() {
    if !privileged() {
        return;
    }
    let root = covered();
    let mut setup = Setup::caged(root.path());
    let slot = setup.slot();
    setup.step(&filesystem(slot, c"tmpfs", b"size=8k\0"));
    let mut step = attach(slot, c"/data");
    if let Step::Attach { copy, .. } = &mut step {
        *copy = true;
    }
    let at = setup.step(&step);
    assert_eq!(setup.fails().failure(), failure(at, Op::Copy, libc::ENOSPC, "/data"));
}
