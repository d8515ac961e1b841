//! What the init program reports: gates, failures, descriptors.

use super::field::{Field, Reader};

/// Where the init program waits for the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Gate {
    /// The process exists; the library writes its id maps, limits and cgroups.
    Mapped = 1,
    /// The mounts are made; the library runs prestart and createRuntime hooks, then sends the filter.
    Mounted = 2,
    /// All is done but the start.
    Ready = 3,
    /// The process is in a user namespace that existed; the library compares its id maps with the
    /// configuration.
    Joined = 4,
    /// The process still has its first user; the library sets its scheduling from outside, where the
    /// privilege of the caller counts.
    Scheduled = 5,
    /// The startContainer hooks have run; the library sets a scheduling policy that forbids forks.
    Hooked = 6,
}

/// What the init program tells the library: this head, then up to [`REPORT_TEXT`] bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// One of the constants below.
    pub tag: u32,
    /// The index of the step.
    pub step: u32,
    /// What failed within it: an [`Op`] as a number.
    pub op: u32,
    /// The `errno`, 0 if there was none.
    pub errno: i32,
    /// More of it; what, depends on the tag and the operation.
    pub detail: u64,
}

impl Report {
    /// The length of the head in bytes.
    pub const LENGTH: usize = 24;
    /// The gate in `detail` has been reached.
    pub const GATE: u32 = 1;
    /// The step has failed; the init program exits. The text is what it was about (a path, a mount
    /// option, a sysctl); for a file system the kernel's own messages follow, after colons.
    pub const FAILED: u32 = 2;
    /// `detail` is the pid of the process that goes on; its pidfd comes along.
    pub const RESPAWNED: u32 = 3;
    /// The master of the new terminal comes along.
    pub const CONSOLE: u32 = 4;
    /// The descriptor of a seccomp filter's listener comes along
    /// (`SECCOMP_FILTER_FLAG_NEW_LISTENER`); one message is the answer that execve waits for.
    pub const LISTENER: u32 = 5;
    /// Only the filter and execve are left: the end of the socket now means that the payload runs, and
    /// without this report that the init program was killed.
    pub const DEPARTS: u32 = 6;

    /// The head as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (tag, rest) = bytes.split_at_mut(4);
        let (step, rest) = rest.split_at_mut(4);
        let (op, rest) = rest.split_at_mut(4);
        let (errno, detail) = rest.split_at_mut(4);
        tag.copy_from_slice(&self.tag.to_ne_bytes());
        step.copy_from_slice(&self.step.to_ne_bytes());
        op.copy_from_slice(&self.op.to_ne_bytes());
        errno.copy_from_slice(&self.errno.to_ne_bytes());
        detail.copy_from_slice(&self.detail.to_ne_bytes());
        bytes
    }

    /// Reads a head; the second value is the text that follows.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut input = Reader(bytes);
        let report = Self {
            tag: Field::take(&mut input)?,
            step: Field::take(&mut input)?,
            op: Field::take(&mut input)?,
            errno: Field::take(&mut input)?,
            detail: Field::take(&mut input)?,
        };
        Some((report, input.0))
    }
}

macro_rules! ops {
    ($( $(#[$doc:meta])* $name:ident = $code:literal $text:literal )*) => {
        /// What was attempted within a step when it failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Op { $( $(#[$doc])* #[doc = $text] $name = $code ),* }

        impl Op {
            /// The words for an operation, as they stand in an error message.
            #[must_use]
            pub const fn text(code: u32) -> &'static str {
                match code { $( $code => $text, )* _ => "unknown operation" }
            }
        }
    };
}

ops! {
    Decode = 1 "read the program"
    Receive = 2 "receive from the runtime"
    Send = 3 "report to the runtime"
    Slot = 4 "use a descriptor"
    Signals = 5 "reset signals"
    Session = 6 "setsid"
    Dumpable = 7 "prctl(PR_SET_DUMPABLE)"
    Clone = 8 "clone3"
    Setns = 9 "setns"
    Unshare = 10 "unshare"
    SetUser = 11 "setresuid"
    SetGroup = 12 "setresgid"
    SetGroups = 13 "setgroups"
    Socket = 14 "socket"
    Loopback = 15 "bring lo up"
    MountSetattr = 16 "mount_setattr"
    OpenTree = 17 "open_tree"
    Fsopen = 18 "fsopen"
    Fsconfig = 19 "fsconfig"
    FsconfigCreate = 20 "fsconfig(FSCONFIG_CMD_CREATE)"
    Fsmount = 21 "fsmount"
    MoveMount = 22 "move_mount"
    Open = 23 "open"
    Stat = 24 "stat"
    Statfs = 25 "statfs"
    Mkdir = 26 "mkdir"
    Create = 27 "create a file"
    Symlink = 28 "symlink"
    Mknod = 29 "mknod"
    Chown = 30 "chown"
    Chmod = 31 "chmod"
    Unlink = 32 "unlink"
    Chdir = 33 "chdir"
    Chroot = 34 "chroot"
    PivotRoot = 35 "pivot_root"
    Unmount = 36 "umount"
    Hook = 37 "run the hook"
    HookTimeout = 38 "wait for the hook"
    Memfd = 39 "memfd_create"
    Write = 40 "write"
    Read = 41 "read"
    Duplicate = 42 "dup3"
    Terminal = 43 "set up the terminal"
    Hostname = 44 "sethostname"
    Domainname = 45 "setdomainname"
    Keyring = 46 "join a session keyring"
    Securebits = 47 "prctl(PR_SET_SECUREBITS)"
    Capset = 48 "capset"
    Bounding = 49 "drop a capability from the bounding set"
    Ambient = 50 "raise an ambient capability"
    NoNewPrivileges = 51 "prctl(PR_SET_NO_NEW_PRIVS)"
    Lookup = 52 "find the executable"
    Verify = 53 "verify"
    Rlimit = 54 "setrlimit"
    Seccomp = 55 "seccomp"
    CloseRange = 56 "close_range"
    Accept = 57 "accept"
    PeerCredentials = 58 "read the peer's credentials"
    Execute = 59 "exec"
    /// The path is on a file system of another kind than it must be.
    WrongFilesystem = 60 "check the file system"
    /// The directory in the namespace is not the one that was opened before.
    Changed = 61 "compare with what was opened before"
    /// The working directory lies outside the root.
    Outside = 62 "check that the working directory is inside the root"
    Map = 63 "mmap"
    Umask = 64 "umask"
    OverProc = 65 "check the target: mounts over procfs are refused"
    Copy = 70 "copy what the tmpfs covers"
    Personality = 71 "personality"
    MemoryPolicy = 74 "set_mempolicy"
    Affinity = 75 "sched_setaffinity"
    Label = 80 "fsetxattr(security.selinux)"
    TimeOffsets = 76 "write the clock offsets"
    Mount = 85 "mount"
}

/// What [`Op::Verify`] found to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verified {
    /// User ids.
    Uid = 1,
    /// Group ids.
    Gid = 2,
    /// Supplementary groups.
    Groups = 3,
    /// Capability sets.
    Capabilities = 4,
    /// The no_new_privs bit.
    NoNewPrivileges = 5,
}
