//! Constants and layouts of the kernel's interface (`include/uapi/linux`).
//!
//! A test compares the constants with those of the `libc` crate.

#![allow(dead_code, reason = "tests compile this file alone")]

/// The effective user in the auxiliary vector.
pub const AT_EUID: usize = 12;
/// The effective group in the auxiliary vector.
pub const AT_EGID: usize = 14;
/// The working directory as the start of a look-up.
pub const AT_FDCWD: i32 = -100;
/// The descriptor itself is meant.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// The whole tree of mounts.
pub const AT_RECURSIVE: u32 = 0x8000;
/// A link itself, not what it names.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// Check with the effective ids.
pub const AT_EACCESS: u32 = 0x200;
/// May it be executed?
pub const X_OK: u32 = 1;

pub const O_WRONLY: u64 = 1;
pub const O_RDWR: u64 = 2;
pub const O_CREAT: u64 = 0o100;
pub const O_EXCL: u64 = 0o200;
pub const O_NOCTTY: u64 = 0o400;
pub const O_NONBLOCK: u64 = 0o4_000;
pub const O_CLOEXEC: u64 = 0o2_000_000;
pub const O_PATH: u64 = 0o10_000_000;
#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: u64 = 0o200_000;
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: u64 = 0o400_000;
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: u64 = 0o40_000;
#[cfg(target_arch = "aarch64")]
pub const O_NOFOLLOW: u64 = 0o100_000;

pub const RESOLVE_NO_XDEV: u64 = 0x01;
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub const RESOLVE_BENEATH: u64 = 0x08;
pub const RESOLVE_IN_ROOT: u64 = 0x10;

pub const S_IFMT: u32 = 0o170_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFLNK: u32 = 0o120_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_ISGID: u32 = 0o2_000;
/// Setuid and setgid.
pub const S_ISXID: u32 = 0o6_000;
/// The permission bits of a mode, with setuid, setgid and sticky.
pub const PERMISSIONS: u32 = 0o7_777;
/// The longest path, its NUL included.
pub const PATH_MAX: usize = 4096;

pub const AT_STATX_DONT_SYNC: u32 = 0x4000;
/// Type, mode, owner, inode: what [`Statx`] is asked for.
pub const STATX_BASIC_STATS: u32 = 0x7ff;

pub const PROC_SUPER_MAGIC: i64 = 0x9fa0;
pub const SYSFS_MAGIC: i64 = 0x6265_6572;
pub const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;
pub const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
pub const TMPFS_MAGIC: i64 = 0x0102_1994;
pub const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
pub const MQUEUE_MAGIC: i64 = 0x1980_0202;

pub const OPEN_TREE_CLONE: u32 = 1;
pub const OPEN_TREE_CLOEXEC: u32 = 0o2_000_000;
pub const FSOPEN_CLOEXEC: u32 = 1;
pub const FSPICK_CLOEXEC: u32 = 1;
pub const FSPICK_EMPTY_PATH: u32 = 8;
pub const FSMOUNT_CLOEXEC: u32 = 1;
pub const FSCONFIG_SET_FLAG: u32 = 0;
pub const FSCONFIG_SET_STRING: u32 = 1;
pub const FSCONFIG_CMD_CREATE: u32 = 6;
pub const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
pub const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
pub const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
pub const MOUNT_ATTR_RDONLY: u64 = 0x01;
pub const MOUNT_ATTR_NOSUID: u64 = 0x02;
pub const MOUNT_ATTR_NODEV: u64 = 0x04;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x08;
pub const MOUNT_ATTR_ATIME: u64 = 0x70;
pub const MNT_DETACH: u32 = 2;
pub const UMOUNT_NOFOLLOW: u32 = 8;
pub const MS_SLAVE: u64 = 1 << 19;
pub const MS_PRIVATE: u64 = 1 << 18;

pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_PARENT: u64 = 0x8000;
/// A thread: memory, directories, descriptors and signal handlers are shared, and the process.
pub const CLONE_THREAD_OF_PROCESS: u32 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
pub const CLONE_NEWNS: u32 = 0x0002_0000;
pub const CLONE_NEWUSER: u32 = 0x1000_0000;
pub const SIGKILL: u32 = 9;
pub const SIGCHLD: u64 = 17;
pub const SIGSTOP: u32 = 19;
pub const SIG_SETMASK: u32 = 2;
/// Signals are numbered 1 to this.
pub const LAST_SIGNAL: u32 = 64;

pub const AF_UNIX: u32 = 1;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_CLOEXEC: u32 = 0o2_000_000;
pub const SOL_SOCKET: i32 = 1;
pub const SCM_RIGHTS: i32 = 1;
pub const SO_PEERCRED: u32 = 17;
pub const MSG_CTRUNC: u32 = 0x08;
pub const MSG_NOSIGNAL: u32 = 0x4000;
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const IFF_UP: u16 = 0x1;
pub const IFF_RUNNING: u16 = 0x40;
pub const POLLIN: i16 = 1;
/// The other end is gone.
pub const POLLHUP: i16 = 0x10;

pub const TIOCSCTTY: u32 = 0x540E;
pub const TIOCSWINSZ: u32 = 0x5414;
pub const TIOCSPTLCK: u32 = 0x4004_5431;
pub const TIOCGPTPEER: u32 = 0x5441;

pub const PROT_READ: u32 = 1;
pub const PROT_WRITE: u32 = 2;
pub const MAP_SHARED: u32 = 1;
pub const MAP_PRIVATE: u32 = 2;
pub const MAP_ANONYMOUS: u32 = 0x20;
pub const MAP_NORESERVE: u32 = 0x4000;
pub const MADV_DONTNEED: u32 = 4;
/// Only faults of the program itself are handled, which needs no privilege.
pub const UFFD_USER_MODE_ONLY: u64 = 1;
pub const UFFD_API: u64 = 0xaa;
pub const UFFDIO_API: u32 = 0xc018_aa3f;
pub const UFFDIO_REGISTER: u32 = 0xc020_aa00;
pub const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;
pub const MFD_CLOEXEC: u32 = 1;
pub const SEEK_END: u32 = 2;
pub const F_GETFD: u32 = 1;
pub const F_DUPFD_CLOEXEC: u32 = 1030;
pub const FD_CLOEXEC: usize = 1;
pub const CLOSE_RANGE_CLOEXEC: u32 = 4;

pub const PR_SET_DUMPABLE: u32 = 4;
pub const PR_SET_KEEPCAPS: u32 = 8;
pub const PR_CAPBSET_DROP: u32 = 24;
pub const PR_SET_NO_NEW_PRIVS: u32 = 38;
pub const PR_GET_NO_NEW_PRIVS: u32 = 39;
pub const PR_CAP_AMBIENT: u32 = 47;
pub const PR_CAP_AMBIENT_RAISE: u32 = 2;
pub const PR_CAP_AMBIENT_CLEAR_ALL: u32 = 4;
/// The number of the capability `CAP_SYS_ADMIN`.
pub const CAP_SYS_ADMIN: u32 = 21;
/// The version of [`CapabilityHeader`].
pub const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

pub const SECCOMP_SET_MODE_FILTER: u32 = 1;
pub const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 8;
pub const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
pub const KEYCTL_SETPERM: u32 = 5;
/// What a new session keyring permits (all to its possessor, view and read to its user), and
/// search to its user: without that, a process which joined another keyring could not find it.
pub const KEYRING_PERMISSIONS: u32 = 0x3f0b_0000;

pub const EPERM: i32 = 1;
pub const ENOENT: i32 = 2;
pub const EINTR: i32 = 4;
pub const EBADF: i32 = 9;
pub const EAGAIN: i32 = 11;
pub const EACCES: i32 = 13;
pub const EEXIST: i32 = 17;
pub const EXDEV: i32 = 18;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const EINVAL: i32 = 22;
pub const ENAMETOOLONG: i32 = 36;
pub const ENOSYS: i32 = 38;
pub const ELOOP: i32 = 40;
pub const EPROTO: i32 = 71;
pub const EOPNOTSUPP: i32 = 95;
pub const ECONNRESET: i32 = 104;
pub const ETIMEDOUT: i32 = 110;

/// `struct open_how`.
#[repr(C)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub userns: u64,
}

/// `struct clone_args`, second version.
#[repr(C)]
#[derive(Default)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
}

/// `struct statx`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Statx {
    pub mask: u32,
    pub blksize: u32,
    pub attributes: u64,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    pub spare: u16,
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub attributes_mask: u64,
    pub times: [u64; 8],
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub dev_major: u32,
    pub dev_minor: u32,
    pub rest: [u64; 14],
}

/// `struct iovec`.
#[repr(C)]
pub struct Iovec {
    pub base: usize,
    pub length: usize,
}

/// `struct msghdr`.
#[repr(C)]
pub struct Message {
    pub name: usize,
    pub name_length: u32,
    pub iov: usize,
    pub iov_count: usize,
    pub control: usize,
    pub control_length: usize,
    pub flags: u32,
}

/// `struct cmsghdr` with room for one message full of descriptors.
#[repr(C)]
pub struct Rights {
    pub length: usize,
    pub level: i32,
    pub kind: i32,
    pub fds: [i32; 250],
}

/// `struct pollfd`.
#[repr(C)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}

/// `struct timespec`.
#[repr(C)]
pub struct Timespec {
    pub seconds: i64,
    pub nanoseconds: i64,
}

/// `struct sock_fprog`.
#[repr(C)]
pub struct FilterProgram {
    pub length: u16,
    pub filter: usize,
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
pub struct CapabilityHeader {
    pub version: u32,
    pub pid: i32,
}

/// `struct __user_cap_data_struct`, twice: the low and the high 32 bits.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct CapabilityData {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

/// `struct ifreq` with the flags of an interface.
#[repr(C)]
pub struct InterfaceFlags {
    pub name: [u8; 16],
    pub flags: u16,
    pub rest: [u8; 22],
}

/// `struct winsize`.
#[repr(C)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
    pub width: u16,
    pub height: u16,
}
