//! The terminal and the standard streams.

use std::fs;
use std::io::Read as _;

use nix::sched::CloneFlags;

use crate::harness::{Setup, failure, pivot, privileged, rootfs};
use crate::process::host_shell;
use crate::program::{Op, Report, Slot, Step};

#[test]
fn the_terminal_is_the_containers_own() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"proc", b"", c"/proc");
    setup.mount(c"tmpfs", b"mode=755\0", c"/dev");
    setup.mount(c"devpts", b"newinstance\0ptmxmode=0666\0mode=0620\0gid=5\0", c"/dev/pts");
    pivot(&mut setup);
    setup.step(&Step::Console { uid: 1000, rows: 33, columns: 44, bind: true });
    setup.shell(
        "stat -c %a:%u:%g /dev/pts/0 /dev/console; readlink /proc/self/fd/0; echo hi > /dev/console
        stty size; cut -d' ' -f7 /proc/self/stat; grep -c /dev/console /proc/self/mountinfo; read x; echo $x",
    );
    let running = setup.start();
    let message = running.receive().expect("a console");
    assert_eq!((message.report.tag, message.fds.len()), (Report::CONSOLE, 1));
    let mut master = fs::File::from(message.fds.into_iter().next().unwrap());
    std::io::Write::write_all(&mut master, b"typed\n").unwrap();
    let mut text = Vec::new();
    let mut chunk = [0; 512];
    // The other end's closing is EIO.
    while let Ok(length @ 1..) = master.read(&mut chunk) {
        text.extend_from_slice(&chunk[..length]);
    }
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    let text: String = text.lines().filter(|line| *line != "typed").collect::<Vec<_>>().join(",");
    assert_eq!(text, "620:1000:5,620:1000:5,/dev/pts/0,hi,33 44,34816,1");
    assert!(running.end().0.success());
}

#[test]
fn a_faked_devpts_is_refused() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let console = Step::Console { uid: 0, rows: 0, columns: 0, bind: true };
    fs::create_dir(root.path().join("dev/pts")).unwrap();
    fs::write(root.path().join("dev/pts/ptmx"), "").unwrap();
    let mut setup = Setup::caged(root.path());
    pivot(&mut setup);
    let step = setup.step(&console);
    let expected = failure(step, Op::WrongFilesystem, libc::EINVAL, "/dev/pts");
    assert_eq!(setup.fails().failure(), expected);
    // /dev/console is a link.
    std::os::unix::fs::symlink("/etc/victim", root.path().join("dev/console")).unwrap();
    let mut setup = Setup::caged(root.path());
    setup.mount(c"devpts", b"newinstance\0ptmxmode=0666\0", c"/dev/pts");
    pivot(&mut setup);
    let step = setup.step(&console);
    let running = setup.start();
    let message = running.receive().expect("a console");
    assert_eq!(message.report.tag, Report::CONSOLE);
    let message = running.receive().expect("a failure");
    assert_eq!(message.failure(), failure(step, Op::Open, libc::ELOOP, "/dev/console"));
    running.end();
    assert!(!root.path().join("etc/victim").exists());
}

#[test]
fn streams_are_the_slots() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    fs::write(&input, "input\n").unwrap();
    let stdin = setup.send(fs::File::open(&input).unwrap().into());
    let stderr = setup.send(fs::File::create(&output).unwrap().into());
    setup.step(&Step::Stdio { stdin, stdout: Slot::NONE, stderr });
    host_shell(&mut setup, "cat; echo error >&2");
    assert_eq!(setup.prints(), "input\n");
    assert_eq!(fs::read_to_string(&output).unwrap(), "error\n");
}
