//! Sysctl, seccomp, masks, labels; features; the order of the set-up.

use super::{Row, row};

pub(super) const ROWS: &[Row] = &[
    row('G', "linux.sysctl", "parameters of the container's own namespaces only"),
    row('G', "seccomp.defaultAction", "required"),
    row('G', "seccomp.defaultErrnoRet", "the error of the default action"),
    row('G', "seccomp.architectures", "names of architectures; an unknown one is an error"),
    row('G', "seccomp.flags", "LOG, SPEC_ALLOW, TSYNC, WAIT_KILLABLE_RECV"),
    row('G', "seccomp.listenerPath", "gets the descriptor and the state of the process"),
    row('G', "seccomp.syscalls", "names, errnoRet, args; unknown names are ignored"),
    row('G', "seccomp actions", "kill, trap, errno, trace, allow, log, notify"),
    row('G', "seccomp: newer calls", "calls newer than the profile are ENOSYS"),
    row('G', "seccomp: load point", "late with noNewPrivileges, else with the capabilities"),
    row('G', "seccomp: exec", "exec gets the same filter"),
    row('G', "linux.rootfsPropagation", "shared, slave, private, unbindable; else an error"),
    row('G', "linux.maskedPaths", "cannot be read; a missing path is passed over"),
    row('G', "linux.readonlyPaths", "cannot be written; a missing path is passed over"),
    row('G', "linux.mountLabel", "the SELinux context of the mounts"),
    row('G', "linux.personality", "LINUX and LINUX32; flags are an error"),
    row('G', "linux.memoryPolicy", "mode, nodes, flags"),
    row('H', "file descriptors", "0, 1, 2 and those that were passed on purpose"),
    row('H', "features", "the document says what the runtime can do, completely"),
    row('H', "features: seccomp flags", "supportedFlags is what this kernel can do"),
    row('I', "order of set-up", "the order that hooks and programs can observe"),
];
