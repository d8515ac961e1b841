//! Joining namespaces, early and late; the root of another process.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sched::CloneFlags;

use crate::harness::{Setup, failure, list, privileged, rootfs};
use crate::program::{List, Op, Step};

const UTS: CloneFlags = CloneFlags::CLONE_NEWUTS;
const USER: CloneFlags = CloneFlags::CLONE_NEWUSER;

fn kinds(flags: CloneFlags) -> u32 {
    flags.bits().cast_unsigned()
}

/// A sleeping process in a uts namespace of its own with another host name.
fn holder() -> Child {
    let child = Command::new("unshare")
        .args(["--uts", "sh", "-c", "hostname held; exec sleep 100"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("/proc/{}/comm", child.id());
    while fs::read_to_string(&name).unwrap() != "sleep\n" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child
}

fn uts_of(child: &Child) -> std::os::fd::OwnedFd {
    fs::File::open(format!("/proc/{}/ns/uts", child.id())).unwrap().into()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn print_name(setup: &mut Setup) {
    setup.step(&Step::FindExecutable { name: c"hostname", path: c"/usr/bin:/bin" });
    let args = list(&["hostname"]);
    setup.step(&Step::Execute { args: List::new(&args).unwrap(), env: List::new(b"").unwrap() });
}

#[test]
fn what_was_joined_early_is_not_joined_again() {
    if !privileged() {
        return;
    }
    let child = holder();
    let mut setup = Setup::new(CloneFlags::empty());
    let namespace = setup.send(uts_of(&child));
    setup.step(&Step::JoinEarly { namespace, kinds: kinds(UTS) });
    setup.step(&Step::Unshare { kinds: kinds(USER) });
    // From inside the new user namespace the kernel would refuse it.
    setup.step(&Step::Join { namespace, kinds: kinds(UTS) });
    print_name(&mut setup);
    assert_eq!(setup.prints(), "held\n");
    end(child);
}

#[test]
fn what_is_not_permitted_early_is_an_error_late() {
    if !privileged() {
        return;
    }
    let child = holder();
    let mut setup = Setup::new(USER);
    let namespace = setup.send(uts_of(&child));
    setup.step(&Step::JoinEarly { namespace, kinds: kinds(UTS) });
    let step = setup.step(&Step::Join { namespace, kinds: kinds(UTS) });
    assert_eq!(setup.fails().failure(), failure(step, Op::Setns, libc::EPERM, ""));
    end(child);
}

#[test]
fn only_a_lack_of_permission_is_passed_over() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let namespace = setup.send(fs::File::open("/proc/self/ns/uts").unwrap().into());
    let step = setup.step(&Step::JoinEarly { namespace, kinds: kinds(CloneFlags::CLONE_NEWNET) });
    assert_eq!(setup.fails().failure(), failure(step, Op::Setns, libc::EINVAL, ""));
}

#[test]
fn the_root_of_another_process_is_entered() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::write(root.path().join("marker"), "here").unwrap();
    let mut setup = Setup::mounts();
    let directory = setup.send(fs::File::open(root.path()).unwrap().into());
    setup.step(&Step::EnterRoot { directory });
    setup.step(&Step::WorkingDirectory { path: c"/", create: false });
    setup.shell("cat marker /marker; ls / | grep -c marker; pwd");
    assert_eq!(setup.prints(), "herehere1\n/\n");
}
