//! Users, groups, capabilities.

use std::fs;

use nix::sched::CloneFlags;
use nix::sys::stat::Mode;

use crate::harness::{Setup, failure, list, privileged, rootfs};
use crate::process::host_shell;
use crate::program::{List, Numbers, Op, Step, Verified};

const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;

fn last() -> u32 {
    fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap()
}

/// Executes grep on the host's own /proc/self/status.
fn status(setup: &mut Setup, lines: &str) {
    setup.step(&Step::FindExecutable { name: c"grep", path: c"/usr/bin:/bin" });
    let args = list(&["grep", "-E", lines, "/proc/self/status"]);
    setup.step(&Step::Execute { args: List::new(&args).unwrap(), env: List::new(b"").unwrap() });
}

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// The five sets: bounding, effective, permitted, inheritable, ambient.
fn sets(sets: [u64; 5]) -> Step<'static> {
    let [bounding, effective, permitted, inheritable, ambient] = sets;
    Step::Capabilities {
        bounding,
        effective,
        permitted,
        inheritable,
        ambient,
        last: last(),
        keep_admin: false,
    }
}

#[test]
fn users_and_groups_are_set_and_verified() {
    if !privileged() {
        return;
    }
    let groups = numbers(&[44, 10, 100]);
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Bounding { bounding: NET_RAW, last: last() });
    setup.step(&Step::User { uid: 1000, gid: 50, groups: Numbers(&groups) });
    setup.step(&sets([NET_RAW, 0, 0, 0, 0]));
    setup.step(&Step::NoNewPrivileges {});
    setup.step(&Step::Verify { no_new_privileges: true });
    status(&mut setup, "^(Uid|Gid|Groups|NoNewPrivs|Cap)");
    let expected = "Uid:\t1000\t1000\t1000\t1000
Gid:\t50\t50\t50\t50
Groups:\t10 44 100 
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000002000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
";
    assert_eq!(setup.prints(), expected);
}

#[test]
fn groups_of_the_caller_do_not_stay() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::User { uid: 0, gid: 0, groups: Numbers(&[]) });
    setup.step(&Step::Verify { no_new_privileges: false });
    status(&mut setup, "^Groups");
    assert_eq!(setup.prints(), "Groups:\t \n");
}

#[test]
fn ambient_capabilities_reach_a_user() {
    if !privileged() {
        return;
    }
    let both = NET_RAW | SETUID;
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Bounding { bounding: both, last: last() });
    setup.step(&Step::User { uid: 1000, gid: 1000, groups: Numbers(&[]) });
    setup.step(&sets([both, NET_RAW, both, both, NET_RAW]));
    setup.step(&Step::Verify { no_new_privileges: false });
    status(&mut setup, "^Cap");
    let expected = "CapInh:\t0000000000002080
CapPrm:\t0000000000002000
CapEff:\t0000000000002000
CapBnd:\t0000000000002080
CapAmb:\t0000000000002000
";
    assert_eq!(setup.prints(), expected);
}

#[test]
fn root_has_what_is_in_the_bounding_set_and_no_more() {
    if !privileged() {
        return;
    }
    let bounding = NET_RAW | SETGID | SETUID;
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&sets([bounding, bounding, bounding, 0, 0]));
    setup.step(&Step::User { uid: 0, gid: 0, groups: Numbers(&[]) });
    setup.step(&Step::Verify { no_new_privileges: false });
    status(&mut setup, "^Cap");
    let expected = "CapInh:\t0000000000000000
CapPrm:\t00000000000020c0
CapEff:\t00000000000020c0
CapBnd:\t00000000000020c0
CapAmb:\t0000000000000000
";
    assert_eq!(setup.prints(), expected);
}

#[test]
fn what_the_process_lacks_is_an_error() {
    if !privileged() {
        return;
    }
    let own = caps::read(None, caps::CapSet::Permitted).unwrap();
    if own.contains(&caps::Capability::CAP_SYS_RESOURCE) {
        // Taken away first where the caller has it.
        let mut setup = Setup::new(CloneFlags::empty());
        setup.step(&sets([u64::MAX, SYS_ADMIN, SYS_ADMIN, 0, 0]));
        let step = setup.step(&sets([u64::MAX, SYS_RESOURCE, SYS_RESOURCE, 0, 0]));
        assert_eq!(setup.fails().failure(), failure(step, Op::Capset, libc::EPERM, ""));
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let step = setup.step(&sets([u64::MAX, 0, SYS_RESOURCE, 0, 0]));
    assert_eq!(setup.fails().failure(), failure(step, Op::Capset, libc::EPERM, ""));
}

#[test]
fn an_ambient_capability_must_be_inheritable() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let step = setup.step(&sets([u64::MAX, NET_RAW, NET_RAW, 0, NET_RAW]));
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Ambient, libc::EPERM, ""));
    assert_eq!(message.report.detail, 13);
}

#[test]
fn a_difference_is_refused() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let step = setup.step(&Step::Verify { no_new_privileges: true });
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Verify, libc::EPERM, ""));
    assert_eq!(message.report.detail, Verified::NoNewPrivileges as u64);

    // Capabilities that a later change of the user has taken away.
    let mut setup = Setup::new(CloneFlags::empty());
    let wanted = SETUID | SETGID;
    setup.step(&sets([u64::MAX, wanted, wanted, 0, 0]));
    setup.step(&Step::User { uid: 1000, gid: 1000, groups: Numbers(&[]) });
    let step = setup.step(&Step::Verify { no_new_privileges: false });
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Verify, libc::EPERM, ""));
    assert_eq!(message.report.detail, Verified::Capabilities as u64);
}

/// In a user namespace of its own, with these maps.
fn mapped(setgroups: &str, last: &Step<'_>) -> Option<(u32, i32)> {
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Unshare { kinds: u32::try_from(libc::CLONE_NEWUSER).unwrap() });
    setup.step(&Step::Gate { gate: 2 });
    setup.step(&Step::Identity { uid: 0, gid: 0 });
    setup.step(last);
    setup.step(&Step::Verify { no_new_privileges: false });
    status(&mut setup, "^(Uid|Gid)");
    let running = setup.start();
    running.expect_gate(crate::program::Gate::Mounted);
    let write = |file: &str, text: &str| {
        fs::write(format!("/proc/{}/{file}", running.pid()), text).unwrap();
    };
    write("setgroups", setgroups);
    write("uid_map", "0 0 10\n");
    write("gid_map", "0 0 10\n");
    running.go(b"go");
    let message = running.receive();
    running.end();
    message.map(|message| (message.report.op, message.report.errno))
}

#[test]
fn an_id_outside_the_map_is_an_error() {
    if !privileged() {
        return;
    }
    let user = |uid, gid| Step::User { uid, gid, groups: Numbers(&[]) };
    assert_eq!(mapped("allow", &user(3, 4)), None);
    assert_eq!(mapped("allow", &user(3, 77)), Some((Op::SetGroup as u32, libc::EINVAL)));
    assert_eq!(mapped("allow", &user(77, 4)), Some((Op::SetUser as u32, libc::EINVAL)));
}

#[test]
fn groups_that_may_not_be_set_are_an_error_unless_denied_to_all() {
    if !privileged() {
        return;
    }
    let none = Step::User { uid: 0, gid: 0, groups: Numbers(&[]) };
    let bytes = numbers(&[5]);
    let some = Step::User { uid: 0, gid: 0, groups: Numbers(&bytes) };
    assert_eq!(mapped("deny", &none), None);
    assert_eq!(mapped("deny", &some), Some((Op::SetGroups as u32, libc::EPERM)));
    assert_eq!(mapped("allow", &some), None);
    // Without a map nobody may, which is no denial.
    let mut setup = Setup::new(CloneFlags::CLONE_NEWUSER);
    let step = setup.step(&none);
    assert_eq!(setup.fails().failure(), failure(step, Op::SetGroups, libc::EPERM, ""));
}

#[test]
fn a_containers_proc_keeps_nobody_waiting() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let own = root.path().join("proc/self");
    fs::create_dir_all(&own).unwrap();
    nix::unistd::mkfifo(&own.join("setgroups"), Mode::from_bits_truncate(0o666)).unwrap();
    let mut setup = Setup::new(CloneFlags::empty());
    let directory = setup.send(fs::File::open(root.path()).unwrap().into());
    setup.step(&Step::Unshare { kinds: u32::try_from(libc::CLONE_NEWUSER).unwrap() });
    setup.step(&Step::Gate { gate: 2 });
    setup.step(&Step::EnterRoot { directory });
    setup.step(&Step::Identity { uid: 0, gid: 0 });
    let step = setup.step(&Step::User { uid: 0, gid: 0, groups: Numbers(&[]) });
    let running = setup.start();
    running.expect_gate(crate::program::Gate::Mounted);
    for (file, text) in [("setgroups", "deny"), ("uid_map", "0 0 10"), ("gid_map", "0 0 10")] {
        fs::write(format!("/proc/{}/{file}", running.pid()), text).unwrap();
    }
    running.go(b"go");
    let message = running.receive().expect("a report");
    assert_eq!(message.failure(), failure(step, Op::WrongFilesystem, libc::EINVAL, "/proc"));
    running.end();
}

#[test]
fn an_identity_keeps_the_capabilities() {
    if !privileged() {
        return;
    }
    for (uid, gid) in [(0, 0), (5, 6)] {
        let mut setup = Setup::new(CloneFlags::empty());
        setup.step(&Step::Gate { gate: 1 });
        setup.step(&Step::Unshare { kinds: u32::try_from(libc::CLONE_NEWUSER).unwrap() });
        setup.step(&Step::Gate { gate: 2 });
        setup.step(&Step::Identity { uid, gid });
        // Needs CAP_SYS_ADMIN in the new user namespace.
        setup.step(&Step::Unshare { kinds: u32::try_from(libc::CLONE_NEWUTS).unwrap() });
        setup.step(&Step::Hostname { name: c"inside" });
        status(&mut setup, "^(Uid|Gid)");
        let running = setup.start();
        running.expect_gate(crate::program::Gate::Mapped);
        running.go(b"go");
        running.expect_gate(crate::program::Gate::Mounted);
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", running.pid()), "0 0 10\n").unwrap();
        }
        running.go(b"go");
        if let Some(message) = running.receive() {
            panic!("{message:?}");
        }
        let (status, output) = running.end();
        assert!(status.success());
        let expected =
            format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n");
        assert_eq!(output, expected);
    }
}

#[test]
fn the_clocks_of_a_time_namespace_are_set() {
    if !privileged() || !std::path::Path::new("/proc/self/timens_offsets").exists() {
        return;
    }
    const CLONE_NEWTIME: u32 = 0x80;
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Unshare { kinds: CLONE_NEWTIME });
    setup.step(&Step::TimeOffsets { text: c"boottime 86400 0\nmonotonic -1 500\n" });
    setup.step(&Step::Respawn {});
    host_shell(&mut setup, "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime");
    let running = setup.start();
    let message = running.receive().expect("a report");
    assert_eq!(message.report.tag, crate::program::Report::RESPAWNED, "{message:?}");
    let output = running.end().1;
    let words: Vec<&str> = output.split_whitespace().collect();
    assert_eq!(words.get(..6), Some(&["monotonic", "-1", "500", "boottime", "86400", "0"][..]));
    assert!(words[6].parse::<u32>().unwrap() >= 86400, "{output}");
}
