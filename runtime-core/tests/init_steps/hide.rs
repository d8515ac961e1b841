//! Masked and read-only paths, and images that fake /proc.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Setup, clone_tree, failure, path_text, pivot, privileged, rootfs};
use crate::program::{Op, Slot, Step};

/// In the cage, with the host's /dev/null in a slot.
fn with_null(root: &Path) -> (Setup, Slot) {
    let mut setup = Setup::mounts();
    let tree = setup.send(clone_tree(root));
    let null = setup.send(clone_tree(Path::new("/dev/null")));
    setup.step(&Step::Root { tree, path: &path_text(root), propagation: 0 });
    (setup, null)
}

#[test]
fn masked_paths_show_nothing() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::write(root.path().join("etc/secret"), "secret").unwrap();
    fs::write(root.path().join("etc/secret2"), "secret").unwrap();
    let (mut setup, null) = with_null(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"sysfs", b"", c"/sys");
    for path in [
        // Twice: masks may be asked for more than once.
        c"/proc/fs",
        c"/proc/fs",
        c"/proc/version",
        c"/proc/uptime",
        c"/proc/uptime",
        c"/proc/no-such-file",
        c"/sys/kernel",
        c"/etc/secret",
        c"/etc/secret2",
        c"/tmp",
    ] {
        setup.step(&Step::MaskPath { path, null });
    }
    pivot(&mut setup);
    setup.shell(
        "for d in /proc/fs /sys/kernel /tmp; do ls -A $d; (echo > $d/x) 2>/dev/null && echo $d; done
        cat /proc/version /proc/uptime /etc/secret /etc/secret2
        stat -c %F:%t:%T /proc/version /etc/secret2
        chmod 777 /etc/secret 2>/dev/null && echo chmod
        grep -c ' /proc/fs ' /proc/self/mountinfo",
    );
    let output = setup.prints();
    assert_eq!(output, "character special file:1:3\ncharacter special file:1:3\n1\n");
    assert!(!fs::metadata("/dev/null").unwrap().permissions().readonly());
}

#[test]
fn a_mask_is_private() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let (mut setup, null) = with_null(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.step(&Step::MaskPath { path: c"/proc/uptime", null });
    pivot(&mut setup);
    setup.shell("grep ' /proc/uptime ' /proc/self/mountinfo | grep -c -e shared -e master");
    let running = setup.start();
    assert!(running.receive().is_none());
    assert_eq!(running.end().1, "0\n");
}

#[test]
fn read_only_paths_are_that_all_the_way_down() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let (mut setup, null) = with_null(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"", c"/tmp");
    setup.mount(c"tmpfs", b"", c"/tmp/below");
    setup.step(&Step::MaskPath { path: c"/proc/fs", null });
    for path in [c"/proc/sys", c"/tmp", c"/proc/no-such-file", c"/proc/fs", c"/none"] {
        setup.step(&Step::ReadonlyPath { path });
    }
    pivot(&mut setup);
    setup.shell(
        "for f in /proc/sys/kernel/hostname /tmp/x /tmp/below/x
        do (echo x > $f) 2>&1 | grep -c 'Read-only'; done",
    );
    assert_eq!(setup.prints(), "1\n1\n1\n");
}

#[test]
fn a_faked_proc_is_refused() {
    if !privileged() {
        return;
    }
    for kind in ["link", "link to proc", "tmpfs"] {
        let root = rootfs();
        let proc = root.path().join("proc");
        fs::remove_dir(&proc).unwrap();
        let (op, errno) = match kind {
            "link" | "link to proc" => (Op::Open, libc::ELOOP),
            _ => (Op::WrongFilesystem, libc::EINVAL),
        };
        match kind {
            "link" => {
                fs::create_dir_all(root.path().join("fake/sys")).unwrap();
                symlink("fake", &proc).unwrap();
            }
            "link to proc" => symlink("tmp", &proc).unwrap(),
            _ => fs::create_dir_all(proc.join("sys")).unwrap(),
        }
        for mask in [true, false] {
            let (mut setup, null) = with_null(root.path());
            match kind {
                "tmpfs" => drop(setup.mount(c"tmpfs", b"", c"/proc")),
                "link to proc" => drop(setup.mount(c"proc", b"", c"/tmp")),
                _ => {}
            }
            let path = c"/proc/sys";
            let step = setup.step(&if mask {
                Step::MaskPath { path, null }
            } else {
                Step::ReadonlyPath { path }
            });
            let message = setup.fails();
            assert_eq!(message.failure(), failure(step, op, errno, "/proc"), "{kind}");
        }
    }
}

#[test]
fn something_over_a_part_of_proc_is_refused() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let (mut setup, null) = with_null(root.path());
    setup.mount(c"proc", b"", c"/proc");
    let slot = setup.slot();
    setup.step(&crate::harness::filesystem(slot, c"tmpfs", b""));
    let mut attach = crate::harness::attach(slot, c"/proc/fs");
    if let Step::Attach { over_proc, .. } = &mut attach {
        *over_proc = true;
    }
    setup.step(&attach);
    let step = setup.step(&Step::MaskPath { path: c"/proc/fs", null });
    let message = setup.fails();
    let expected = failure(step, Op::WrongFilesystem, libc::EINVAL, "/proc/fs");
    assert_eq!(message.failure(), expected);
}

#[test]
fn links_inside_sysfs_are_followed() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let (mut setup, null) = with_null(root.path());
    setup.mount(c"sysfs", b"", c"/sys");
    setup.step(&Step::MaskPath { path: c"/sys/class/net/lo", null });
    pivot(&mut setup);
    setup.shell("ls /sys/class/net/lo; ls /sys/devices/virtual/net/lo; echo end");
    assert_eq!(setup.prints(), "end\n");
}

#[test]
fn without_a_proc_mount_the_images_directory_is_hidden() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::create_dir(root.path().join("proc/sys")).unwrap();
    fs::write(root.path().join("proc/sys/secret"), "").unwrap();
    let (mut setup, null) = with_null(root.path());
    setup.step(&Step::MaskPath { path: c"/proc/sys", null });
    pivot(&mut setup);
    setup.shell("ls -A /proc/sys; echo end");
    assert_eq!(setup.prints(), "end\n");
}
