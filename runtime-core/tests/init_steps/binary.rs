//! The init program as a file: constants, size, what it is made of.

use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;

use crate::abi;

fn program() -> Vec<u8> {
    fs::read(env!("CORACLE_INIT_PATH")).expect("the init program")
}

macro_rules! same {
    ($($name:ident),* $(,)?) => {
        $( assert_eq!(
            i128::from(abi::$name), i128::from(libc::$name), stringify!($name)
        ); )*
    };
}

#[test]
fn constants_are_those_of_libc() {
    same!(
        AT_FDCWD,
        AT_EMPTY_PATH,
        AT_RECURSIVE,
        AT_SYMLINK_NOFOLLOW,
        AT_EACCESS,
        X_OK,
        O_WRONLY,
        O_RDWR,
        O_CREAT,
        O_EXCL,
        O_NOCTTY,
        O_NONBLOCK,
        O_CLOEXEC,
        O_PATH,
        O_DIRECTORY,
        O_NOFOLLOW,
        RESOLVE_NO_XDEV,
        RESOLVE_NO_MAGICLINKS,
        RESOLVE_NO_SYMLINKS,
        RESOLVE_BENEATH,
        RESOLVE_IN_ROOT,
        S_IFMT,
        S_IFREG,
        S_IFCHR,
        S_IFBLK,
        S_IFLNK,
        S_IFDIR,
        S_ISGID,
        STATX_BASIC_STATS,
        PROC_SUPER_MAGIC,
        SYSFS_MAGIC,
        CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
        TMPFS_MAGIC,
        OPEN_TREE_CLONE,
        OPEN_TREE_CLOEXEC,
        MOUNT_ATTR_RDONLY,
        MOUNT_ATTR_NOSUID,
        MOUNT_ATTR_NODEV,
        MOUNT_ATTR_NOEXEC,
        MNT_DETACH,
        MS_SLAVE,
        MS_PRIVATE,
        CLONE_PIDFD,
        CLONE_PARENT,
        CLONE_NEWNS,
        CLONE_NEWUSER,
        SIGKILL,
        SIGCHLD,
        SIGSTOP,
        SIG_SETMASK,
        AF_UNIX,
        SOCK_DGRAM,
        SOCK_CLOEXEC,
        SOL_SOCKET,
        SCM_RIGHTS,
        SO_PEERCRED,
        MSG_CTRUNC,
        MSG_NOSIGNAL,
        MSG_CMSG_CLOEXEC,
        SIOCSIFFLAGS,
        IFF_UP,
        IFF_RUNNING,
        POLLIN,
        POLLHUP,
        TIOCSCTTY,
        TIOCSWINSZ,
        TIOCSPTLCK,
        TIOCGPTPEER,
        PROT_READ,
        PROT_WRITE,
        MAP_SHARED,
        MAP_PRIVATE,
        MAP_ANONYMOUS,
        MAP_NORESERVE,
        MADV_DONTNEED,
        MFD_CLOEXEC,
        SEEK_END,
        F_DUPFD_CLOEXEC,
        CLOSE_RANGE_CLOEXEC,
        PR_SET_DUMPABLE,
        PR_SET_KEEPCAPS,
        PR_CAPBSET_DROP,
        PR_SET_NO_NEW_PRIVS,
        PR_GET_NO_NEW_PRIVS,
        PR_CAP_AMBIENT,
        PR_CAP_AMBIENT_RAISE,
        PR_CAP_AMBIENT_CLEAR_ALL,
        SECCOMP_SET_MODE_FILTER,
        SECCOMP_FILTER_FLAG_NEW_LISTENER,
        EPERM,
        ENOENT,
        EINTR,
        EBADF,
        EAGAIN,
        EACCES,
        EEXIST,
        EXDEV,
        EISDIR,
        EINVAL,
        ENAMETOOLONG,
        ENOSYS,
        ELOOP,
        EPROTO,
        EOPNOTSUPP,
        ECONNRESET,
        ETIMEDOUT,
        KEYCTL_SETPERM,
    );
    same!(KEYCTL_JOIN_SESSION_KEYRING);
    assert_eq!(u64::try_from(abi::AT_EUID), Ok(libc::AT_EUID));
    assert_eq!(u64::try_from(abi::AT_EGID), Ok(libc::AT_EGID));
    assert_eq!(abi::PATH_MAX, usize::try_from(libc::PATH_MAX).unwrap());
    assert_eq!(abi::LAST_SIGNAL, u32::try_from(libc::SIGRTMAX()).unwrap());
    assert_eq!(abi::CAP_SYS_ADMIN, u32::from(caps::Capability::CAP_SYS_ADMIN.index()));
}

#[test]
fn layouts_are_those_of_libc() {
    assert_eq!(size_of::<abi::Statx>(), size_of::<libc::statx>());
    assert_eq!(offset_of!(abi::Statx, rdev_major), offset_of!(libc::statx, stx_rdev_major));
    assert_eq!(offset_of!(abi::Statx, mode), offset_of!(libc::statx, stx_mode));
    assert_eq!(offset_of!(abi::Statx, ino), offset_of!(libc::statx, stx_ino));
    assert_eq!(size_of::<abi::OpenHow>(), size_of::<libc::open_how>());
    assert_eq!(size_of::<abi::MountAttr>(), size_of::<libc::mount_attr>());
    assert_eq!(size_of::<abi::Iovec>(), size_of::<libc::iovec>());
    assert_eq!(size_of::<abi::Message>(), size_of::<libc::msghdr>());
    assert_eq!(offset_of!(abi::Message, flags), offset_of!(libc::msghdr, msg_flags));
    assert_eq!(offset_of!(abi::Rights, fds), size_of::<libc::cmsghdr>());
    assert_eq!(size_of::<abi::PollFd>(), size_of::<libc::pollfd>());
    assert_eq!(size_of::<abi::Timespec>(), size_of::<libc::timespec>());
    assert_eq!(size_of::<abi::FilterProgram>(), size_of::<libc::sock_fprog>());
    assert_eq!(size_of::<abi::InterfaceFlags>(), size_of::<libc::ifreq>());
    assert_eq!(size_of::<abi::WindowSize>(), size_of::<libc::winsize>());
    assert_eq!(size_of::<libc::statfs>(), 120);
    assert_eq!(abi::DEVPTS_SUPER_MAGIC, 0x1cd1);
}

/// The numbers of the system calls, against the libc crate's.
#[cfg(target_arch = "x86_64")]
#[test]
fn numbers_are_those_of_libc() {
    #[path = "../../init/sys/number/x86_64.rs"]
    #[allow(missing_docs, reason = "documented by the kernel")]
    mod number;
    macro_rules! numbers {
        ($($ours:ident $theirs:ident),* $(,)?) => {
            $( assert_eq!(i64::try_from(number::$ours).unwrap(), libc::$theirs, stringify!($ours)); )*
        };
    }
    numbers!(
        ACCEPT4 SYS_accept4, CAPGET SYS_capget, CAPSET SYS_capset, CHROOT SYS_chroot,
        CLONE SYS_clone, CLONE3 SYS_clone3, CLOSE SYS_close, CLOSE_RANGE SYS_close_range,
        DUP3 SYS_dup3, EXECVE SYS_execve, EXIT_GROUP SYS_exit_group, FACCESSAT2 SYS_faccessat2,
        FCHDIR SYS_fchdir, FCHMOD SYS_fchmod, SENDFILE SYS_sendfile, GETDENTS64 SYS_getdents64,
        PERSONALITY SYS_personality,
        SCHED_SETAFFINITY SYS_sched_setaffinity,
        SET_MEMPOLICY SYS_set_mempolicy, FCHMODAT SYS_fchmodat, FCHOWN SYS_fchown, FCHOWNAT SYS_fchownat,
        FCNTL SYS_fcntl, FSCONFIG SYS_fsconfig, FSETXATTR SYS_fsetxattr, FSMOUNT SYS_fsmount, FSOPEN SYS_fsopen,
        FSTATFS SYS_fstatfs, GETCWD SYS_getcwd, GETGROUPS SYS_getgroups, GETPID SYS_getpid,
        GETRESGID SYS_getresgid, GETRESUID SYS_getresuid, GETSOCKOPT SYS_getsockopt,
        IOCTL SYS_ioctl, KEYCTL SYS_keyctl, KILL SYS_kill, LSEEK SYS_lseek, MADVISE SYS_madvise,
        MEMFD_CREATE SYS_memfd_create, MKDIRAT SYS_mkdirat, MKNODAT SYS_mknodat, MMAP SYS_mmap,
        MOUNT_SETATTR SYS_mount_setattr, MOVE_MOUNT SYS_move_mount, OPEN_TREE SYS_open_tree,
        OPENAT SYS_openat, OPENAT2 SYS_openat2, PIDFD_OPEN SYS_pidfd_open,
        PIVOT_ROOT SYS_pivot_root, PPOLL SYS_ppoll,
        PRCTL SYS_prctl, PRLIMIT64 SYS_prlimit64, PWRITEV SYS_pwritev, READ SYS_read,
        READLINKAT SYS_readlinkat, RECVMSG SYS_recvmsg, RT_SIGACTION SYS_rt_sigaction,
        RT_SIGPROCMASK SYS_rt_sigprocmask, SECCOMP SYS_seccomp, SENDMSG SYS_sendmsg,
        SETDOMAINNAME SYS_setdomainname, SETGROUPS SYS_setgroups, SETHOSTNAME SYS_sethostname,
        SETNS SYS_setns, SETRESGID SYS_setresgid, SETRESUID SYS_setresuid, SETSID SYS_setsid,
        SOCKET SYS_socket, STATX SYS_statx, SYMLINKAT SYS_symlinkat, UMASK SYS_umask,
        UMOUNT2 SYS_umount2, UNLINKAT SYS_unlinkat, UNSHARE SYS_unshare, WAIT4 SYS_wait4,
        WRITE SYS_write,
    );
    // Newer than the libc crate's tables.
    assert_eq!((number::FCHMODAT2, number::OPEN_TREE_ATTR), (452, 467));
}

#[test]
fn it_is_small() {
    let size = program().len();
    assert!(size <= 40 * 1024, "{size} bytes");
}

#[test]
fn it_is_static() {
    let bytes = program();
    assert_eq!(bytes.get(..4), Some(&b"\x7fELF"[..]));
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    // ET_EXEC, and no program header that names an interpreter or a dynamic section.
    assert_eq!(number(16, 2), 2);
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert!(count > 0);
    for header in 0..count {
        let kind = number(table + header * size, 4);
        assert!(kind != 2 && kind != 3, "program header {header} is of type {kind}");
    }
}

#[test]
fn it_cannot_print_a_panic() {
    let bytes = program();
    for text in ["panicked", "index out of bounds", ".rs\0", "overflow", "unwrap", "/src/"] {
        let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!found, "{text:?} is inside");
    }
}

#[test]
fn its_sources_are_within_bounds() {
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("init")];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() <= 500, "{}: {} lines", path.display(), lines.len());
        for (at, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let block = code.contains("unsafe {") && !code.starts_with("//");
            let reasons = lines[at.saturating_sub(4)..at].iter();
            let reason = reasons.filter(|line| line.contains("// SAFETY:")).count();
            assert!(!block || reason > 0, "{}:{}: no reason", path.display(), at + 1);
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen} files");
}
