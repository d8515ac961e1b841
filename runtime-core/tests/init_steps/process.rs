//! Names, limits, the terminal, the filter, the executable.

use std::fs;
use std::path::Path;

use nix::sched::CloneFlags;

use crate::harness::{Setup, failure, install, list, pivot, privileged, rootfs};
use crate::program::{Gate, List, Op, Step};

/// Executes a shell on the host's own file system.
pub fn host_shell(setup: &mut Setup, script: &str) {
    setup.step(&Step::FindExecutable { name: c"sh", path: c"/no/such:/bin" });
    let args = list(&["sh", "-c", script]);
    setup.step(&Step::Execute {
        args: List::new(&args).unwrap(),
        env: List::new(b"PATH=/bin:/usr/bin\0").unwrap(),
    });
}

#[test]
fn names_sysctls_limits_and_the_mask_are_set() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let mut setup = Setup::caged(root.path());
    setup.namespaces |= CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    setup.mount(c"proc", b"", c"/proc");
    setup.step(&Step::Hostname { name: c"box" });
    setup.step(&Step::Domainname { name: c"example" });
    setup.step(&Step::Sysctl { key: c"kernel/shmmax", value: c"4096" });
    setup.step(&Step::Sysctl { key: c"fs/mqueue/msg_max", value: c"17" });
    setup.step(&Step::Rlimit { resource: 7, soft: 20, hard: 30 });
    setup.step(&Step::Umask { mask: 0o27 });
    pivot(&mut setup);
    setup.shell(
        "cd /proc/sys; cat kernel/hostname kernel/domainname kernel/shmmax fs/mqueue/msg_max
        ulimit -n; ulimit -Hn; umask",
    );
    assert_eq!(setup.prints(), "box\nexample\n4096\n17\n20\n30\n0027\n");
}

#[test]
fn a_sysctl_stays_in_its_directory() {
    if !privileged() {
        return;
    }
    for (key, errno) in [
        (c"../version", libc::EINVAL),
        (c"kernel/../../1/comm", libc::EINVAL),
        (c"..", libc::EINVAL),
        (c"kernel/none", libc::ENOENT),
        (c"kernel", libc::EISDIR),
    ] {
        let mut setup = Setup::new(CloneFlags::CLONE_NEWUTS);
        let step = setup.step(&Step::Sysctl { key, value: c"h" });
        let message = setup.fails();
        let text = key.to_str().unwrap();
        assert_eq!(message.failure(), failure(step, Op::Open, errno, text));
    }
}

#[test]
fn a_sysctl_does_not_go_through_the_images_proc() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
    let fake = root.path().join("proc/sys/kernel/hostname");
    fs::write(&fake, "fake").unwrap();
    let mut setup = Setup::caged(root.path());
    setup.namespaces |= CloneFlags::CLONE_NEWUTS;
    setup.step(&Step::Sysctl { key: c"kernel/hostname", value: c"real" });
    pivot(&mut setup);
    setup.shell("uname -n");
    assert_eq!(setup.prints(), "real\n");
    assert_eq!(fs::read_to_string(&fake).unwrap(), "fake");
}

#[test]
fn a_refused_value_is_an_error() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::CLONE_NEWIPC);
    let step = setup.step(&Step::Sysctl { key: c"kernel/sem", value: c"words" });
    assert_eq!(setup.fails().failure(), failure(step, Op::Write, libc::EINVAL, "kernel/sem"));
}

#[test]
fn the_executable_is_found_as_a_shell_would() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    for (name, mode) in [("etc/plain", 0o644), ("etc/run", 0o755)] {
        let text = root.path().join("tmp/text");
        fs::write(&text, "#!/bin/sh\necho ran $0\n").unwrap();
        install(&text, &root.path().join(name), mode);
    }
    fs::create_dir(root.path().join("tmp/run")).unwrap();
    let look_up = |name: &'static std::ffi::CStr, path: &'static std::ffi::CStr| {
        let mut setup = Setup::caged(root.path());
        pivot(&mut setup);
        let step = setup.step(&Step::FindExecutable { name, path });
        let args = list(&["zero"]);
        setup
            .step(&Step::Execute { args: List::new(&args).unwrap(), env: List::new(b"").unwrap() });
        (setup, step)
    };
    for (name, path, errno) in [
        (c"/etc/plain", c"/bin", libc::EACCES),
        (c"/etc", c"/bin", libc::EISDIR),
        (c"/none", c"/bin", libc::ENOENT),
        (c"/dev/../proc", c"/bin", libc::EISDIR),
        (c"none", c"/bin:/etc", libc::ENOENT),
        (c"plain", c"/bin:/etc", libc::ENOENT),
        (c"", c"/bin", libc::ENOENT),
    ] {
        let (setup, step) = look_up(name, path);
        let message = setup.fails();
        let text = name.to_str().unwrap();
        assert_eq!(message.failure(), failure(step, Op::Lookup, errno, text));
    }
    // A directory of the name comes first in the path.
    for (name, path) in [(c"run", c"/tmp:/none:/etc:/bin"), (c"/etc/run", c""), (c"etc/run", c"")] {
        let (setup, _) = look_up(name, path);
        assert!(setup.prints().contains("etc/run"), "{name:?}");
    }
}

#[test]
fn a_file_that_cannot_be_executed_is_an_error() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let text = root.path().join("tmp/text");
    fs::write(&text, "no program").unwrap();
    install(&text, &root.path().join("etc/empty"), 0o755);
    let mut setup = Setup::caged(root.path());
    pivot(&mut setup);
    setup.step(&Step::FindExecutable { name: c"/etc/empty", path: c"" });
    let step = setup
        .step(&Step::Execute { args: List::new(b"x\0").unwrap(), env: List::new(b"").unwrap() });
    let message = setup.fails();
    assert_eq!(message.failure(), failure(step, Op::Execute, libc::ENOEXEC, "/etc/empty"));
}

/// What HOME becomes with this /etc/passwd.
fn home(root: &Path, uid: u32) -> String {
    let mut setup = Setup::caged(root);
    pivot(&mut setup);
    setup.step(&Step::Home { uid });
    setup.shell("echo $HOME");
    setup.prints().trim_end().to_owned()
}

#[test]
fn home_comes_from_the_images_users() {
    if !privileged() {
        return;
    }
    let root = rootfs();
    let passwd = root.path().join("etc/passwd");
    assert_eq!(home(root.path(), 0), "/");
    let long = "x".repeat(5000);
    let text = format!(
        "root:x:0:0:root:/root:/bin/sh\n{long}:x:7:7::/long:\nshort:x:8\n:::\n\
         bad:x:9x:9::/bad:\nbig:x:4294967296:0::/big:\nempty:x:10:10:::\n\
         user:x:1000:1000:Some, One:/home/user:/bin/sh\nagain:x:1000:1::/again:\n"
    );
    fs::write(&passwd, text).unwrap();
    for (uid, directory) in
        [(0, "/root"), (1000, "/home/user"), (7, "/"), (8, "/"), (9, "/"), (10, "/"), (4, "/")]
    {
        assert_eq!(home(root.path(), uid), directory, "{uid}");
    }
    let fill = ":".repeat(1 << 20);
    fs::write(&passwd, format!("root:x:0:0:root:/root:/bin/sh\n{fill}")).unwrap();
    assert_eq!(home(root.path(), 0), "/");
    fs::remove_file(&passwd).unwrap();
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    assert_eq!(home(root.path(), 0), "/");
    fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap();
    assert_eq!(home(root.path(), 0), "/");
}

#[test]
fn a_session_keyring_is_joined() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Keyring { name: c"coracle-init-test" });
    setup.step(&Step::Gate { gate: Gate::Mounted as u32 });
    let running = setup.start();
    running.expect_gate(Gate::Mounted);
    running.end();
}

#[test]
fn a_label_without_a_security_module_is_an_error() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    let step = setup.step(&Step::ExecLabel { attribute: c"exec", label: c"label" });
    let message = setup.fails();
    let (at, op, _, text) = message.failure();
    assert_eq!((at, text), (step, "exec"));
    assert!(op == Op::Open as u32 || op == Op::Write as u32, "{message:?}");
}

#[test]
fn the_loopback_interface_comes_up() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::CLONE_NEWNET);
    setup.step(&Step::Loopback {});
    host_shell(
        &mut setup,
        "cat /proc/self/net/if_inet6 /proc/self/net/fib_trie | grep -c 127.0.0.1",
    );
    let running = setup.start();
    assert!(running.receive().is_none());
    assert_ne!(running.end().1.trim(), "0");
}

#[test]
fn scheduling_is_what_was_asked() {
    if !privileged() {
        return;
    }
    let mut setup = Setup::new(CloneFlags::empty());
    setup.step(&Step::Personality { domain: 8 });
    setup.step(&Step::MemoryPolicy { mode: 3, nodes: &1_u64.to_ne_bytes() });
    setup.step(&Step::Affinity { processors: &1_u64.to_ne_bytes() });
    host_shell(
        &mut setup,
        "cat /proc/self/personality; grep ^Cpus_allowed_list /proc/self/status
        grep -c interleave:0 /proc/$$/numa_maps >/dev/null && echo interleave",
    );
    assert_eq!(setup.prints(), "00000008\nCpus_allowed_list:\t0\ninterleave\n");
}

#[test]
fn what_the_kernel_refuses_of_scheduling_is_named() {
    if !privileged() {
        return;
    }
    let none = [0_u8; 8];
    for (step, op) in [
        (Step::MemoryPolicy { mode: 200, nodes: &[] }, Op::MemoryPolicy),
        (Step::Affinity { processors: &none }, Op::Affinity),
    ] {
        let mut setup = Setup::new(CloneFlags::empty());
        let at = setup.step(&step);
        assert_eq!(setup.fails().failure(), failure(at, op, libc::EINVAL, ""), "{op:?}");
    }
}
