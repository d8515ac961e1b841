//! Processes that are born in a cgroup.
#![allow(unreachable_pub, reason = "a module of several test programs")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Command;

/// A process made by clone3 with `CLONE_INTO_CGROUP`.
pub fn born_in(cgroup: BorrowedFd<'_>) -> Option<i32> {
    // clone3 is system call 435 everywhere; 0x200000000 is CLONE_INTO_CGROUP, 17 is SIGCHLD.
    let script = r#"
        use Fcntl;
        sysopen(my $dir, $ARGV[0], O_RDONLY) or die "open: $!";
        my $args = pack("Q11", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, fileno($dir));
        my $pid = syscall(435, $args, length($args));
        die "clone3: $!" if $pid < 0;
        if ($pid == 0) { close(STDOUT); close(STDERR); sleep 100; exit }
        print $pid;
    "#;
    let path = format!("/proc/{}/fd/{}", std::process::id(), cgroup.as_raw_fd());
    match Command::new("perl").args(["-e", script, &path]).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap().parse().unwrap())
        }
        Err(error) => {
            eprintln!("skipped: perl: {error}");
            None
        }
    }
}
