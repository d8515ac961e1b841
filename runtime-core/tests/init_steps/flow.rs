//! Gates, waiting for start, execve.

use nix::sched::CloneFlags;

use crate::harness::{Setup, privileged, rootfs};
use crate::program::{Gate, List, Op, Step};

#[test]
fn a_payload_runs_in_its_root() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"mode=755\0size=65536k\0", c"/dev");
    setup.mount(
        c"devpts",
        b"newinstance\0ptmxmode=0666\0mode=0620\0",
        c"/dev/pts",
    );
    setup.mount(c"tmpfs", b"mode=1777\0", c"/dev/shm");
    setup.step(&Step::Pivot {
        pivot: true,
        propagation: 0,
        recursive: false,
    });
    setup.shell("ls /; ls /dev; cat /proc/self/mounts | wc -l");
    let output = setup.prints();
    assert_eq!(output, "bin\ndev\netc\nproc\nsys\ntmp\npts\nshm\n5\n");
}

#[test]
fn a_missing_program_is_an_error() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let index = setup.step(&Step::FindExecutable {
        name: c"no-such-program",
        path: c"/usr/bin:/bin",
    });
    let failure = setup.fails();
    let expected = (index, Op::Lookup as u32, libc::ENOENT, "no-such-program");
    assert_eq!(failure.failure(), expected);
}

#[test]
fn a_gate_waits_and_a_closed_socket_ends_it() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Gate {
        gate: Gate::Mapped as u32,
    });
    let args = crate::harness::list(&["echo", "x"]);
    setup.step(&Step::FindExecutable {
        name: c"echo",
        path: c"/bin",
    });
    setup.step(&Step::Execute {
        args: List::new(&args).unwrap(),
        env: List::new(b"").unwrap(),
    });
    let running = setup.start();
    running.expect_gate(Gate::Mapped);
    let (status, output) = running.end();
    assert_eq!((status.code(), output.as_str()), (Some(1), ""));
}
