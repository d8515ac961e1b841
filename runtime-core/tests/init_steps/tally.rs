//! A container like Docker's default one, from the first step to the last.

use std::fs;
use std::path::Path;

use nix::sched::CloneFlags;

use crate::harness::{Setup, attach, clone_tree, list, path_text, privileged, rootfs};
use crate::program::{Gate, List, Numbers, Step};

/// The steps up to the start of the payload.
fn default_container(root: &Path) -> Setup {
    let mut setup = Setup::new(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET,
    );
    let tree = setup.send(clone_tree(root));
    let null = setup.send(clone_tree(Path::new("/dev/null")));
    let binds: Vec<_> = ["resolv.conf", "hostname", "hosts"]
        .iter()
        .map(|name| setup.send(clone_tree(&root.join("etc").join(name))))
        .collect();
    setup.step(&Step::Gate { gate: Gate::Mapped as u32 });
    setup.step(&Step::Propagation { propagation: libc::MS_SLAVE });
    setup.step(&Step::Root { tree, path: &path_text(root), propagation: libc::MS_PRIVATE });
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"mode=755\0size=65536k\0", c"/dev");
    setup.mount(c"devpts", b"newinstance\0ptmxmode=0666\0mode=0620\0gid=5\0", c"/dev/pts");
    setup.mount(c"sysfs", b"", c"/sys");
    setup.mount(c"mqueue", b"", c"/dev/mqueue");
    setup.mount(c"tmpfs", b"mode=1777\0size=65536k\0", c"/dev/shm");
    for (slot, target) in
        binds.into_iter().zip([c"/etc/resolv.conf", c"/etc/hostname", c"/etc/hosts"])
    {
        let mut step = attach(slot, target);
        if let Step::Attach { propagation, propagation_recursive, .. } = &mut step {
            (*propagation, *propagation_recursive) = (libc::MS_PRIVATE, true);
        }
        setup.step(&step);
    }
    for (path, minor) in [
        (c"/dev/null", 3),
        (c"/dev/zero", 5),
        (c"/dev/full", 7),
        (c"/dev/random", 8),
        (c"/dev/urandom", 9),
        (c"/dev/tty", 0),
    ] {
        let major = if minor == 0 { 5 } else { 1 };
        setup.step(&Step::Device {
            path,
            mode: libc::S_IFCHR | 0o666,
            major,
            minor,
            uid: 0,
            gid: 0,
        });
    }
    for (target, path) in [
        (c"/proc/self/fd", c"/dev/fd"),
        (c"/proc/self/fd/0", c"/dev/stdin"),
        (c"/proc/self/fd/1", c"/dev/stdout"),
        (c"/proc/self/fd/2", c"/dev/stderr"),
        (c"/proc/kcore", c"/dev/core"),
    ] {
        setup.step(&Step::Symlink { target, path });
    }
    setup.step(&Step::ReplaceBySymlink { target: c"pts/ptmx", path: c"/dev/ptmx" });
    setup.step(&Step::Gate { gate: Gate::Mounted as u32 });
    setup.step(&Step::Pivot { pivot: true, propagation: 0, recursive: false });
    for path in [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"] {
        setup.step(&Step::ReadonlyPath { path });
    }
    for path in [
        c"/proc/asound",
        c"/proc/acpi",
        c"/proc/kcore",
        c"/proc/keys",
        c"/proc/latency_stats",
        c"/proc/timer_list",
        c"/proc/timer_stats",
        c"/proc/sched_debug",
        c"/proc/scsi",
        c"/sys/firmware",
    ] {
        setup.step(&Step::MaskPath { path, null });
    }
    setup.step(&Step::Hostname { name: c"box" });
    setup.step(&Step::Keyring { name: c"coracle-init-tally" });
    setup.step(&Step::WorkingDirectory { path: c"/", create: true });
    let caps = 0xa804_25fb;
    setup.step(&Step::Bounding { bounding: caps, last: 40 });
    setup.step(&Step::User { uid: 0, gid: 0, groups: Numbers(&[]) });
    setup.step(&Step::Capabilities {
        bounding: caps,
        effective: caps,
        permitted: caps,
        inheritable: 0,
        ambient: 0,
        last: 40,
        keep_admin: false,
    });
    setup.step(&Step::FindExecutable {
        name: c"sh",
        path: c"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    });
    setup.step(&Step::NoNewPrivileges {});
    setup.step(&Step::Verify { no_new_privileges: true });
    let args = list(&["sh", "-c", ":"]);
    setup.step(&Step::Execute {
        args: List::new(&args).unwrap(),
        env: List::new(b"PATH=/bin\0").unwrap(),
    });
    setup
}

#[test]
fn a_default_container_starts() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    for name in ["resolv.conf", "hostname", "hosts"] {
        fs::write(root.path().join("etc").join(name), "").unwrap();
    }
    let running = default_container(root.path()).start();
    for gate in [Gate::Mapped, Gate::Mounted] {
        running.expect_gate(gate);
        running.go(b"go");
    }
    let message = running.receive();
    assert!(message.is_none(), "{message:?}");
    assert!(running.end().0.success());
}
