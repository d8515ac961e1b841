//! What the fields of a seccomp profile ask of each other.

use super::invalid;
use crate::error::Result;
use crate::spec::seccomp::{Action, Seccomp};

/// Checks a profile; one that asks for nothing is none.
pub(super) fn check(profile: &Seccomp) -> Result<()> {
    check_listener(profile)?;
    if profile.is_empty() {
        return Ok(());
    }
    let Some(default) = profile.default_action else {
        return Err(invalid("linux.seccomp.defaultAction", "required, but missing"));
    };
    if let Some(message) = misplaced(default, profile.default_errno_ret) {
        return Err(invalid("linux.seccomp.defaultErrnoRet", message));
    }
    for (index, rule) in profile.syscalls.iter().enumerate() {
        if let Some(message) = misplaced(rule.action, rule.errno_ret) {
            return Err(invalid(format!("linux.seccomp.syscalls[{index}].errnoRet"), message));
        }
        if rule.names.is_empty() {
            let field = format!("linux.seccomp.syscalls[{index}].names");
            return Err(invalid(field, "needs at least one entry"));
        }
    }
    Ok(())
}

fn check_listener(profile: &Seccomp) -> Result<()> {
    if profile.listener_path.is_some() {
        return Ok(());
    }
    if profile.listener_metadata.is_some() {
        let message = "needs listenerPath: there is nobody to send it to";
        return Err(invalid("linux.seccomp.listenerMetadata", message));
    }
    if profile.asks_a_listener() {
        let message = "required, but missing: SCMP_ACT_NOTIFY needs a listener";
        return Err(invalid("linux.seccomp.listenerPath", message));
    }
    Ok(())
}

/// What is wrong with an `errno` for an action that returns none.
fn misplaced(action: Action, errno: Option<u32>) -> Option<String> {
    match action {
        Action::Errno | Action::Trace => None,
        _ => errno.map(|_| format!("{} returns no errno", action.name())),
    }
}
