//! The words for what the init program reports: it sends numbers, the plan has the meaning.

use std::fs::File;
use std::path::Path;

use super::control::Message;
use crate::error::{Error, ErrorKind};
use crate::hooks;
use crate::plan::{Plan, describe};
use crate::program::{Op, Step, Verified};
use crate::spec::{Hook, Process};

/// The error behind a [`FAILED`](crate::program::Report::FAILED) report.
pub(crate) fn explain(plan: &Plan, message: &Message) -> Error {
    let report = message.report;
    let index = usize::try_from(report.step).unwrap_or(usize::MAX);
    let Some((step, origin)) = plan.steps().nth(index) else {
        return Error::system(Op::text(report.op), report.errno).context("start the init program");
    };
    let error = match (report.op, step) {
        (op, Step::FindExecutable { name, .. }) if op == Op::Lookup as u32 => {
            return executable(&name.to_string_lossy(), report.errno);
        }
        (op, Step::Execute { args, .. }) if op == Op::Execute as u32 => {
            let name = args.iter().next().map(|name| name.to_string_lossy().into_owned());
            return execution(&name.unwrap_or_default(), report.errno);
        }
        (op, Step::RunHook { path, timeout_ms, .. }) => {
            let how = hook_end(op, &report, timeout_ms);
            let tail = printed(message);
            Error::new(ErrorKind::Hook, format!("hook {} {how}{tail}", path.to_string_lossy()))
        }
        (op, _) if op == Op::Verify as u32 => {
            let what = verified(report.detail);
            Error::new(
                ErrorKind::Denied,
                format!("the process does not have the {what} it was given"),
            )
        }
        (_, Step::Join { .. } | Step::JoinEarly { .. } | Step::Unshare { .. }) => {
            namespace_refusal(general(plan, message, index, &step), &step)
        }
        _ => {
            let error = general(plan, message, index, &step);
            match hint(&step, report.errno) {
                Some(hint) => error.with_hint(hint),
                None => mount_refusal(error, &step, report.op),
            }
        }
    };
    origin.blame(error)
}

fn general(plan: &Plan, message: &Message, index: usize, step: &Step<'_>) -> Error {
    let words = words(plan, step);
    // What the step names need not be said again.
    let known = !message.text.is_empty() && words.contains(message.text.trim());
    let operation = if known { Op::text(message.report.op).to_owned() } else { operation(message) };
    Error::system(operation, message.report.errno).with_step(format!("step {index}: {words}"))
}

/// What the kernel's refusal to let a process into a namespace means (setns(2), unshare(2)).
fn namespace_refusal(error: Error, step: &Step<'_>) -> Error {
    let joins = matches!(step, Step::Join { .. } | Step::JoinEarly { .. });
    let hint = match error.errno() {
        Some(libc::EPERM) if joins => {
            "it needs privilege over the user namespace that owns the namespace: join that one too"
        }
        Some(libc::EINVAL) if joins => {
            "a pid namespace can only be joined from one above it, a user namespace only from another"
        }
        Some(libc::ENOSPC) => "the limits are in /proc/sys/user",
        _ => return error,
    };
    error.with_hint(hint)
}

/// What the kernel means by an error of a mount.
fn mount_refusal(error: Error, step: &Step<'_>, op: u32) -> Error {
    const CREATE: u32 = Op::FsconfigCreate as u32;
    const FSMOUNT: u32 = Op::Fsmount as u32;
    const MOVE: u32 = Op::MoveMount as u32;
    const SETATTR: u32 = Op::MountSetattr as u32;
    const PIVOT: u32 = Op::PivotRoot as u32;
    const OPEN: u32 = Op::Open as u32;
    const UNMOUNT: u32 = Op::Unmount as u32;
    let errno = error.errno().unwrap_or(0);
    let hint = match (*step, op, errno) {
        (Step::NewFilesystem { kind, .. }, FSMOUNT, libc::EPERM)
            if matches!(kind.to_bytes(), b"proc" | b"sysfs") =>
        {
            "a user namespace may mount it only where none of the caller's is partly covered"
        }
        (Step::NewFilesystem { .. }, CREATE, libc::EPERM) => {
            "a block device must be one that linux.resources.devices allows"
        }
        (Step::Attach { no_symlink: true, .. } | Step::Detach { .. }, OPEN, libc::ELOOP) => {
            "the destination must not lead through a symbolic link"
        }
        (Step::Detach { .. }, UNMOUNT, libc::EINVAL) => "nothing is mounted there",
        (Step::Attach { .. }, MOVE, libc::ENOTDIR | libc::EINVAL) => {
            "a directory can only be mounted on a directory, anything else on a file"
        }
        (Step::Attach { .. } | Step::Reattribute { .. }, SETATTR, libc::EPERM) => {
            "an attribute that the mount has outside the user namespace cannot be changed"
        }
        (Step::Reattribute { .. }, SETATTR, libc::EINVAL) => {
            "nothing is mounted at this path, which is needed for a remount"
        }
        (Step::Pivot { .. }, PIVOT, libc::EINVAL) => {
            "the root may be an initial RAM disk: try --no-pivot"
        }
        _ => return error,
    };
    error.with_hint(hint)
}

/// The error behind a report on the start connection, when the plan is gone: only the words of the
/// steps that follow the start are needed.
pub(crate) fn explain_start(process: Option<&Process>, hooks: &[Hook], message: &Message) -> Error {
    let report = message.report;
    if report.op == Op::Execute as u32 {
        let name = process.and_then(|process| process.args.first());
        return execution(name.map_or("", String::as_str), report.errno);
    }
    if report.op == Op::Hook as u32 || report.op == Op::HookTimeout as u32 {
        return start_hook(hooks, message);
    }
    if report.op == Op::PeerCredentials as u32 && report.errno == libc::EPERM {
        let message = "only the user who has created the container can start it";
        return Error::new(ErrorKind::Denied, message);
    }
    Error::system(operation(message), report.errno)
}

/// What a hook has printed, for the end of the message.
fn printed(message: &Message) -> String {
    let output = message.fd.as_ref().and_then(|output| output.try_clone().ok());
    output.map(|output| hooks::tail(&File::from(output))).unwrap_or_default()
}

/// Of the hook only its path is reported; the first with that path stands for it.
fn start_hook(hooks: &[Hook], message: &Message) -> Error {
    let named = hooks.iter().zip(0..).find(|(hook, _)| hook.path == Path::new(&message.text));
    let timeout = named.and_then(|(hook, _)| hook.timeout).unwrap_or_default();
    let how = hook_end(message.report.op, &message.report, u64::from(timeout) * 1000);
    let field = match named {
        Some((_, index)) => format!("hooks.startContainer[{index}]"),
        None => "hooks.startContainer".to_owned(),
    };
    let (path, tail) = (&message.text, printed(message));
    Error::new(ErrorKind::Hook, format!("hook {path} {how}{tail}")).with_field(field)
}

/// The step in words; what is made for a mount names where it will be.
fn words(plan: &Plan, step: &Step<'_>) -> String {
    let (Step::NewFilesystem { slot, .. } | Step::Mount { slot, .. } | Step::OpenTree { slot, .. }) =
        *step
    else {
        return describe(step);
    };
    let target = plan.steps().find_map(|(step, _)| match step {
        Step::Attach { slot: attached, target, .. } if attached == slot => Some(target),
        _ => None,
    });
    match target {
        Some(target) => format!("{} for {}", describe(step), target.to_string_lossy()),
        None => describe(step),
    }
}

/// The operation and, where the kernel or the init program has said more, its words.
fn operation(message: &Message) -> String {
    let operation = Op::text(message.report.op);
    let said = message.text.trim();
    if said.is_empty() { operation.to_owned() } else { format!("{operation} ({said})") }
}

/// Engines match on these texts, which are those of runc.
fn executable(name: &str, errno: i32) -> Error {
    let why = match errno {
        libc::ENOENT if name.contains('/') => format!("stat {name}: no such file or directory"),
        libc::ENOENT => "executable file not found in $PATH".to_owned(),
        libc::EISDIR => "is a directory".to_owned(),
        errno => crate::error::errno_text(errno),
    };
    let message = format!("exec: {name:?}: {why}");
    Error::new(ErrorKind::Executable, message).with_field("process.args")
}

/// A program that was found and cannot be executed, as when its interpreter is missing.
fn execution(name: &str, errno: i32) -> Error {
    let message = format!("exec {name:?}: {}", crate::error::errno_text(errno));
    let error = Error::new(ErrorKind::Executable, message).with_field("process.args");
    match errno {
        libc::ENOENT => error.with_hint("the program or its interpreter is missing"),
        libc::ENOEXEC => error.with_hint("neither a program of this machine nor a script with #!"),
        _ => error,
    }
}

/// What the kernel's answer means for the steps of the process.
fn hint(step: &Step<'_>, errno: i32) -> Option<&'static str> {
    Some(match (step, errno) {
        (Step::User { .. }, libc::EINVAL) => "the id is not mapped in the user namespace",
        (Step::User { .. }, libc::EPERM) => "the user namespace denies setgroups, or the group",
        (Step::ExecLabel { attribute, .. }, libc::ENOENT) if *attribute != c"exec" => {
            "no such profile is loaded"
        }
        (Step::ExecLabel { .. }, libc::EINVAL) => "the policy knows no such label",
        (Step::ExecLabel { .. }, libc::EACCES | libc::EPERM) => "the policy forbids the transition",
        (Step::MemoryPolicy { .. }, libc::EINVAL) => {
            "the kernel does not know the mode or a flag, or has none of the nodes"
        }
        (Step::MemoryPolicy { .. }, libc::ENOSYS) => "this kernel has no NUMA policies",
        (Step::Affinity { .. }, libc::EINVAL) => "none of these CPUs can be used",
        (Step::Rlimit { .. }, libc::EPERM) => {
            "only CAP_SYS_RESOURCE on the host raises a hard limit"
        }
        _ => return None,
    })
}

fn hook_end(op: u32, report: &crate::program::Report, timeout_ms: u64) -> String {
    if op == Op::HookTimeout as u32 {
        return format!("killed after its timeout of {} s", timeout_ms / 1000);
    }
    if op != Op::Hook as u32 || report.errno != 0 {
        return format!("cannot be run: {}", crate::error::errno_text(report.errno));
    }
    let status = i32::try_from(report.detail).unwrap_or(-1);
    if libc::WIFSIGNALED(status) {
        format!("was killed by signal {}", libc::WTERMSIG(status))
    } else {
        format!("failed with exit status {}", libc::WEXITSTATUS(status))
    }
}

fn verified(detail: u64) -> &'static str {
    const UID: u64 = Verified::Uid as u64;
    const GID: u64 = Verified::Gid as u64;
    const GROUPS: u64 = Verified::Groups as u64;
    const CAPABILITIES: u64 = Verified::Capabilities as u64;
    match detail {
        UID => "user id",
        GID => "group id",
        GROUPS => "supplementary groups",
        CAPABILITIES => "capabilities",
        _ => "no_new_privs bit",
    }
}
