//! The steps of a program.

use core::ffi::CStr;

use super::field::{Field, List, Numbers, Reader, Slot};

macro_rules! steps {
    ($( $(#[$doc:meta])* $name:ident = $code:literal
        { $( $(#[$field_doc:meta])* $field:ident : $kind:ty ),* $(,)? } )*) => {
        /// One intention of a program. Numbers are the kernel's own constants unless said otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step<'a> {
            $( $(#[$doc])* $name { $( $(#[$field_doc])* $field: $kind ),* } ),*
        }

        impl<'a> Step<'a> {
            /// The step's name, as traces and tests print it.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name) ),* }
            }

            #[cfg(not(coracle_init))]
            pub(super) fn put(&self, out: &mut Vec<u8>) {
                match self { $( Self::$name { $( $field ),* } => {
                    u16::put(&$code, out);
                    $( $field.put(out); )*
                } )* }
            }

            pub(super) fn take(input: &mut Reader<'a>) -> Option<Self> {
                match u16::take(input)? {
                    $( $code => Some(Self::$name { $( $field: Field::take(input)? ),* }), )*
                    _ => None,
                }
            }
        }
    };
}

steps! {
    // ---- flow -------------------------------------------------------------------------------

    /// Reports [`Report::GATE`] and waits for one message from the library. If the socket is closed
    /// instead, the init program ends: the caller has died or given up. After the gate
    /// [`Gate::Mapped`] the process is made undumpable (`PR_SET_DUMPABLE` 0).
    Gate = 1 {
        /// A [`Gate`] as a number.
        gate: u32,
    }
    /// The last thing that `create` waits for. Closes every descriptor but 0 to 2, the payload's
    /// and `listener`; reports [`Gate::Ready`] and closes the control
    /// socket; then accepts connections on `listener` until one comes from a peer whose user is
    /// `peer_uid` as seen from the init program's user namespace (`SO_PEERCRED`); for
    /// [`CREATOR`](super::CREATOR), the user who made the control socket. From then on reports go to
    /// that connection: failures, or [`DEPARTS`](super::Report::DEPARTS), after which its end of file
    /// tells that execve has succeeded. Other connections get `EPERM` as a failure.
    AwaitStart = 2 {
        listener: Slot,
        peer_uid: u32,
    }
    /// Goes on in a child process made with `CLONE_PARENT`, whose parent is therefore the caller;
    /// needed after a pid namespace has been joined. The old process reports [`Report::RESPAWNED`]
    /// with the child's pid (as its own pid namespace sees it) and pidfd, then exits with 0.
    Respawn = 3 {}

    // ---- namespaces -------------------------------------------------------------------------

    /// `setns(slot, kinds)`; `kinds` may name several `CLONE_NEW*` when the slot is a pidfd. After a
    /// mount namespace has been joined, its root is what the later steps call the root.
    Join = 10 { namespace: Slot, kinds: u32 }
    /// `unshare(kinds)`.
    Unshare = 11 { kinds: u32 }
    /// Becomes this user and group inside the new user namespace (`setresgid`, `setresuid`), with an
    /// empty list of groups where setgroups is allowed. The capabilities are kept.
    Identity = 12 { uid: u32, gid: u32 }
    /// Brings the loopback interface of a new network namespace up.
    Loopback = 13 {}

    /// Writes the offsets of the time namespace that was just unshared, `CLOCK SECONDS NANOSECONDS` in
    /// each line (time_namespaces(7)); they cannot be changed once a process is in it.
    TimeOffsets = 14 { text: &'a CStr }
    /// As [`Step::Join`], but where that is not permitted nothing happens. A later `Join` of the same
    /// kind does nothing if this has succeeded.
    JoinEarly = 90 { namespace: Slot, kinds: u32 }
    /// The directory becomes the root and the working directory, and the root of later look-ups:
    /// that of a process which has not the root of its mount namespace.
    EnterRoot = 91 { directory: Slot }

    // ---- mounts, before the cage: everything here may still see the host's paths --------------

    /// `mount_setattr("/", AT_RECURSIVE, propagation)` in the new mount namespace: `MS_SLAVE` or
    /// `MS_PRIVATE`, so that nothing done here reaches the host.
    Propagation = 20 { propagation: u64 }
    /// `open_tree(path, OPEN_TREE_CLONE)`: a detached copy of the mount at the host's `path`. Only
    /// for callers without the privilege to do it before the spawn.
    OpenTree = 21 { slot: Slot, path: &'a CStr, recursive: bool }
    /// A new file system, not yet attached: fsopen, one fsconfig per option, fsmount.
    ///
    /// Bounded fallback: where it fails with `EPERM` and `otherwise` is not empty, the slot becomes
    /// a recursive copy (`open_tree`) of the host's mount at that path, with the attributes but those of
    /// access times, which a user namespace may not change.
    NewFilesystem = 22 {
        slot: Slot,
        kind: &'a CStr,
        /// `source` of the mount; empty for none.
        source: &'a CStr,
        /// Options: `key` alone is a flag, `key=value` a string.
        options: List<'a>,
        /// `MOUNT_ATTR_*` for fsmount.
        attributes: u64,
        otherwise: &'a CStr,
    }
    /// A new file system as [`Step::NewFilesystem`], made by mount(2) with `MS_*` flags, for options that
    /// fsconfig refuses: it is mounted over /proc for a moment, which nobody else sees in a mount namespace
    /// that is new; in another one this step has no place.
    Mount = 86 { slot: Slot, kind: &'a CStr, source: &'a CStr, data: &'a CStr, flags: u64 }
    /// The container's root file system: gives the detached tree its propagation (recursively), opens
    /// `path` in the namespace (which must be the same directory as the root of the tree: device and
    /// inode are compared), attaches the tree there, and enters the **cage**: working directory and
    /// root become the tree, and every later path is looked up by openat2 with `RESOLVE_IN_ROOT` and
    /// `RESOLVE_NO_MAGICLINKS` below it. Descriptors of the namespace's root and of the tree are kept
    /// for [`Step::RunHook`] and [`Step::Pivot`].
    Root = 23 { tree: Slot, path: &'a CStr, propagation: u64 }

    // ---- mounts, in the cage ------------------------------------------------------------------

    /// Attaches the tree in `slot` at `target`, inside the root.
    ///
    /// First the tree gets `propagation` (if not 0, recursively if `propagation_recursive`), then the
    /// attributes by mount_setattr: `set`/`clear` on the mount itself, `set_recursive`/
    /// `clear_recursive` on the whole tree (a pair that is zero costs nothing). The target is then
    /// looked up once; missing directories are made (0755) and a missing target becomes a directory
    /// (0755) or, when the root of the tree is no directory, an empty file (0644).
    /// A target on a procfs is refused (`EPERM`) unless `over_proc`; with `no_symlink` the target's path
    /// may not contain a symbolic link (`ELOOP`).
    ///
    /// For a new tmpfs: with `keep_mode` it gets the mode of the directory that it covers, with `copy` a
    /// copy of its directories, regular files and symbolic links, modes and owners included (no
    /// devices, fifos, sockets, extended attributes, nor what is mounted below), without setuid and
    /// setgid where the owner is not known; a missing target leaves both without effect.
    Attach = 30 {
        slot: Slot,
        target: &'a CStr,
        set: u64,
        clear: u64,
        set_recursive: u64,
        clear_recursive: u64,
        propagation: u64,
        propagation_recursive: bool,
        over_proc: bool,
        no_symlink: bool,
        keep_mode: bool,
        copy: bool,
    }
    /// Changes the mount whose root is at `target`: attributes and propagation (0: none) as in
    /// [`Step::Attach`].
    Reattribute = 31 { target: &'a CStr, set: u64, clear: u64, propagation: u64, recursive: bool }
    /// Gives the file system mounted at `target` new options (fspick, fsconfig): the options as in
    /// [`Step::NewFilesystem`].
    Reconfigure = 85 { target: &'a CStr, options: List<'a> }
    /// Takes the mount at `path` away, with all that is mounted below it (`MNT_DETACH`). No part of the path
    /// may be a symbolic link (`ELOOP`); where nothing is mounted that is an error (`EINVAL`).
    Detach = 92 { path: &'a CStr }
    /// Makes a directory (and its missing parents, 0755); an existing one is left alone.
    Directory = 32 { path: &'a CStr, mode: u32 }
    /// Makes a symbolic link; what exists already is left alone.
    Symlink = 33 { target: &'a CStr, path: &'a CStr }
    /// The same if `needs` is there.
    SymlinkIfThere = 87 { needs: &'a CStr, target: &'a CStr, path: &'a CStr }
    /// Makes a device node or fifo with exactly this mode and owner. An existing node of the same
    /// kind and number is kept (mode and owner are set), anything else is refused (`EEXIST`).
    Device = 34 {
        path: &'a CStr,
        /// File type and permission bits.
        mode: u32,
        major: u32,
        minor: u32,
        uid: u32,
        gid: u32,
    }
    /// Removes `path` (a file or link, never a directory) and makes it a link: `/dev/ptmx`.
    ReplaceBySymlink = 35 { target: &'a CStr, path: &'a CStr }

    // ---- leaving the host ---------------------------------------------------------------------

    /// Runs a hook and waits for it, `timeout_ms` at most (0: no bound), then kills its process group.
    /// It gets the state (`state_head`, its pid in decimal, `state_tail`) on standard input. A failure
    /// is reported with [`Op::Hook`] and the wait status as detail; a memory file with the hook's
    /// output comes along.
    RunHook = 40 {
        path: &'a CStr,
        args: List<'a>,
        env: List<'a>,
        timeout_ms: u64,
        state_head: &'a [u8],
        state_tail: &'a [u8],
        /// Run with the mount namespace's own root (createContainer) and not the container's.
        outside: bool,
    }
    /// Leaves the cage and makes the tree the namespace's root: `pivot_root(".", ".")`, the old root made
    /// a slave and detached; without pivot, the tree is moved over the root and entered by chroot.
    /// `propagation` (0: none) is then given to the new root.
    Pivot = 41 { pivot: bool, propagation: u64, recursive: bool }
    /// Only chroot into the tree: for a mount namespace that is not the container's own.
    Chroot = 42 {}
    /// Makes the root mount read-only.
    ReadonlyRoot = 43 {}
    /// Makes `path` and all below read-only; a missing path is skipped. A path below /proc or /sys
    /// must lie on a procfs or sysfs.
    ReadonlyPath = 44 { path: &'a CStr }
    /// Hides `path`: a directory under an empty read-only tmpfs, a file under the mount in `null`
    /// (the host's /dev/null). A missing path is skipped; one below /proc or /sys must lie on a procfs
    /// or sysfs.
    MaskPath = 45 { path: &'a CStr, null: Slot }

    /// What [`Step::MaskPath`] hides directories under, instead of a tmpfs of its own.
    MaskDirectory = 81 { slot: Slot }
    /// Gives the queue file system at `path` a SELinux label (`security.selinux`), as it takes none with its
    /// options; `EINVAL` if something else is there.
    Label = 80 { path: &'a CStr, label: &'a [u8] }

    // ---- the process --------------------------------------------------------------------------

    /// Standard input, output and error become these slots ([`Slot::NONE`]: left as it is).
    Stdio = 50 { stdin: Slot, stdout: Slot, stderr: Slot }
    /// Opens a new terminal on the container's own devpts (/dev/pts, checked by file-system type), sends
    /// the master with [`Report::CONSOLE`], makes the other end the controlling terminal
    /// and standard input, output and error, owned by `uid`; with `bind` it is also
    /// attached at /dev/console (made if missing).
    Console = 51 { uid: u32, rows: u32, columns: u32, bind: bool }
    /// `sethostname`.
    Hostname = 52 { name: &'a CStr }
    /// `setdomainname`.
    Domainname = 53 { name: &'a CStr }
    /// Writes `value` to `key` (with slashes) below /proc/sys of a procfs of the init program's own.
    Sysctl = 54 { key: &'a CStr, value: &'a CStr }
    /// Joins a new session keyring of this name (`keyctl`); without support for keys nothing happens.
    Keyring = 55 { name: &'a CStr }
    /// Changes the working directory, by one look-up, and makes sure that it lies inside the root
    /// (`getcwd` starts with a slash). With `create` missing directories are made.
    WorkingDirectory = 56 { path: &'a CStr, create: bool }
    /// Writes a label to `attribute` below /proc/thread-self/attr of a procfs of the init program's own:
    /// for the next execve to `exec` or `apparmor/exec`, for new keys to `keycreate`.
    ExecLabel = 57 { attribute: &'a CStr, label: &'a CStr }
    /// `umask`.
    Umask = 58 { mask: u32 }
    /// Sets groups, group and user, in this order and always all of them, with `SECBIT_KEEP_CAPS` so
    /// that [`Step::Capabilities`] decides what remains. With [`KEPT`](super::KEPT) the groups stay. Where the user namespace denies setgroups
    /// and `groups` is empty, the groups stay.
    User = 59 { uid: u32, gid: u32, groups: Numbers<'a> }
    /// Sets all five capability sets to exactly these bits; what is not in `bounding` is dropped from
    /// the bounding set (bit numbers up to `last`). With `keep_admin`, `CAP_SYS_ADMIN` stays in the
    /// permitted and effective sets until [`Step::LoadFilter`] has used it: execve ends it.
    Capabilities = 60 {
        bounding: u64,
        effective: u64,
        permitted: u64,
        inheritable: u64,
        ambient: u64,
        /// The last capability that the kernel knows.
        last: u32,
        keep_admin: bool,
    }
    /// The part of [`Step::Capabilities`] that must precede [`Step::User`]: drops the bounding set.
    Bounding = 61 { bounding: u64, last: u32 }
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges = 62 {}
    /// Looks the program up as execvp would: a `name` with a slash is taken as it is, else each
    /// directory of `path` is tried. Reports [`Op::Lookup`] with `ENOENT`, `EACCES` or `EISDIR`.
    FindExecutable = 63 { name: &'a CStr, path: &'a CStr }
    /// Looks `uid` up in the container's /etc/passwd (a regular file of at most 1 MiB, lines of at most
    /// 4 KiB, opened without blocking; anything else counts as no entry) and remembers the
    /// home directory, `/` without one, for [`Step::Execute`], which appends it to the environment as `HOME`.
    Home = 69 { uid: u32 }
    /// Receives the seccomp filter as one message on the control socket and keeps it: the
    /// `SECCOMP_FILTER_FLAG_*` as one number of four bytes, then the instructions (`struct sock_filter`).
    ReceiveFilter = 64 {}
    /// Reads ids, groups, capabilities (effective, permitted, inheritable) and no_new_privs back and
    /// refuses to go on when one differs from what was asked ([`Op::Verify`], which one as detail).
    Verify = 65 { no_new_privileges: bool }
    /// `setrlimit`, the last thing before execve as a low limit would break the set-up itself.
    Rlimit = 66 { resource: u32, soft: u64, hard: u64 }
    /// Loads the filter kept by [`Step::ReceiveFilter`]. No system call but execve follows, as the filter
    /// may forbid any other: with `SECCOMP_FILTER_FLAG_NEW_LISTENER` a second thread, without the filter,
    /// sends the listener with [`Report::LISTENER`](super::Report::LISTENER), waits for one message as the
    /// answer and closes it, while the first waits without a call. The `CAP_SYS_ADMIN` of `keep_admin` ends
    /// with execve, which computes the permitted set from the bounding, inheritable and ambient ones
    /// alone (capabilities(7)).
    LoadFilter = 67 {}
    /// `personality`.
    Personality = 70 { domain: u32 }
    /// `set_mempolicy`: mode with flags, and the nodes as the bits of whole words.
    MemoryPolicy = 73 { mode: u32, nodes: &'a [u8] }
    /// `sched_setaffinity`: the processors as the bits of whole words.
    Affinity = 74 { processors: &'a [u8] }
    /// Marks every descriptor from 3 + KEEP on to be closed and executes what
    /// [`Step::FindExecutable`] found.
    Execute = 68 { args: List<'a>, env: List<'a> }
}
