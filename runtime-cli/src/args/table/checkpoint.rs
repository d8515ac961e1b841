//! `checkpoint` and `restore`, which share most of their flags.

use super::{BUNDLE, CONFIG, CONSOLE_SOCKET, Command, Flag, HELP, PID_FILE, PIDFD_SOCKET, Verb};

const IMAGE_PATH: Flag = Flag::value(
    "image-path",
    "DIR",
    "the directory of the images (default: checkpoint in the current one)",
);
const WORK_PATH: Flag =
    Flag::value("work-path", "DIR", "the directory of criu's log (default: that of the images)");
const TCP_ESTABLISHED: Flag = Flag::switch("tcp-established", "take TCP connections over");
const TCP_CLOSE: Flag = Flag::switch("tcp-close", "close TCP connections");
const EXT_UNIX_SK: Flag =
    Flag::switch("ext-unix-sk", "allow unix sockets whose other end is outside");
const SHELL_JOB: Flag =
    Flag::switch("shell-job", "allow a session and a terminal that began outside");
const FILE_LOCKS: Flag = Flag::switch("file-locks", "take file locks over");
const LAZY_PAGES: Flag = Flag::switch(
    "lazy-pages",
    "leave memory where it is, to be fetched when it is needed (userfaultfd)",
);
const CGROUPS_MODE: Flag = Flag::value(
    "manage-cgroups-mode",
    "MODE",
    "what criu does about cgroups: soft (default), full, strict or ignore",
)
.one_of(&["soft", "full", "strict", "ignore"]);
const NETWORK_LOCK: Flag = Flag::value(
    "network-lock",
    "METHOD",
    "hold packets back with iptables, nftables or not (skip)",
)
.one_of(&["iptables", "nftables", "skip"]);
const EMPTY_NS: Flag = Flag::value(
    "empty-ns",
    "TYPE",
    "leave the content of this namespace out; only network, which always is",
)
.one_of(&["network"]);
const AUTO_DEDUP: Flag =
    Flag::switch("auto-dedup", "remove memory from earlier images that is in later ones");

pub(super) const CHECKPOINT: Command = Command {
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::value(
            "parent-path",
            "DIR",
            "the images before, by a path from those of this checkpoint: only what has changed is \
             written",
        ),
        Flag::switch("leave-running", "let the container go on"),
        TCP_ESTABLISHED,
        Flag::switch("tcp-skip-in-flight", "leave TCP connections out that are being made"),
        TCP_CLOSE,
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::value(
            "status-fd",
            "FD",
            "with --lazy-pages: write a NUL here when it is time to restore",
        ),
        Flag::value("page-server", "ADDRESS:PORT", "send memory to this page server"),
        FILE_LOCKS,
        Flag::switch("pre-dump", "write only memory, and let the container go on"),
        CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
        Flag::switch("link-remap", "name files that were unlinked while open"),
        NETWORK_LOCK,
        HELP,
    ],
    details: "criu writes the processes into images, from which `restore` makes them again. Unless \
              it is left running, the container is deleted. Options for criu can also be in \
              /etc/criu/coracle.conf, or /etc/criu/runc.conf, or the file that the annotation \
              org.criu.config names; these win.",
    ..Command::new(Verb::Checkpoint, "checkpoint", "write a running container into images")
};

pub(super) const RESTORE: Command = Command {
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        TCP_CLOSE,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        CGROUPS_MODE,
        Flag::switch("detach", "return as soon as the program runs").or('d'),
        PID_FILE,
        Flag::switch("no-subreaper", "accepted for compatibility; no subreaper is set"),
        Flag::switch("no-pivot", "accepted for compatibility; criu changes the root"),
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        Flag::value(
            "lsm-profile",
            "TYPE:NAME",
            "run under this profile instead of the earlier one: apparmor:NAME or selinux:LABEL",
        ),
        Flag::value("lsm-mount-context", "CONTEXT", "mount with this SELinux context instead"),
        NETWORK_LOCK,
        HELP,
    ],
    details: "Mounts of the host, joined namespaces, limits and hooks are taken from the bundle. \
              Without --detach the command waits, forwards signals, returns the program's exit \
              status and deletes the container.",
    ..Command::new(Verb::Restore, "restore", "make a running container of a checkpoint's images")
};
