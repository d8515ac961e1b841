//! Ranges of ids.

use super::{check_id, invalid};
use crate::error::Result;
use crate::spec::{IdMapping, Linux, NamespaceKind, Process, Spec};

/// The kernel's limit of ranges in one map (user_namespaces(7), since Linux 4.15).
const MOST_RANGES: usize = 340;

/// Checks one map: no empty range, no overflow, no overlap.
pub(super) fn check(map: &[IdMapping], field: &str) -> Result<()> {
    if map.len() > MOST_RANGES {
        return Err(invalid(field, format!("has more than {MOST_RANGES} ranges")));
    }
    for (index, range) in map.iter().enumerate() {
        if range.size == 0 {
            return Err(invalid(format!("{field}[{index}].size"), "is zero"));
        }
        for (name, first) in [("containerID", range.container_id), ("hostID", range.host_id)] {
            let at = format!("{field}[{index}].{name}");
            check_id(first, at.as_str())?;
            if u64::from(first) + u64::from(range.size) > u64::from(u32::MAX) {
                return Err(invalid(at, "the range goes beyond the last id, 4294967294"));
            }
        }
        for other in map.iter().take(index) {
            if overlap(range.container_id, other.container_id, range.size, other.size)
                || overlap(range.host_id, other.host_id, range.size, other.size)
            {
                return Err(invalid(format!("{field}[{index}]"), "overlaps an earlier range"));
            }
        }
    }
    Ok(())
}

fn overlap(a: u32, b: u32, a_size: u32, b_size: u32) -> bool {
    u64::from(a) < u64::from(b) + u64::from(b_size)
        && u64::from(b) < u64::from(a) + u64::from(a_size)
}

/// Checks the maps of the user namespace, and that the process runs under mapped ids.
pub(super) fn check_user_namespace(spec: &Spec) -> Result<()> {
    let linux = &spec.linux;
    check(&linux.uid_mappings, "linux.uidMappings")?;
    check(&linux.gid_mappings, "linux.gidMappings")?;
    let pairs =
        [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)];
    match linux.namespace(NamespaceKind::User) {
        None => match pairs.iter().find(|(_, map)| !map.is_empty()) {
            Some((field, _)) => Err(invalid(*field, "needs a user namespace in linux.namespaces")),
            None => Ok(()),
        },
        Some(namespace) if namespace.path.is_some() => Ok(()),
        Some(_) => {
            if let Some((field, _)) = pairs.iter().find(|(_, map)| map.is_empty()) {
                return Err(invalid(*field, "a new user namespace needs a mapping"));
            }
            spec.process.as_ref().map_or(Ok(()), |process| check_mapped(process, linux))
        }
    }
}

fn check_mapped(process: &Process, linux: &Linux) -> Result<()> {
    let user = &process.user;
    let unmapped = |field: String, id: u32, map: &str| {
        Err(invalid(field, format!("id {id} is not mapped by {map}")))
    };
    if !covers(&linux.uid_mappings, user.uid) {
        return unmapped("process.user.uid".to_owned(), user.uid, "linux.uidMappings");
    }
    if !covers(&linux.gid_mappings, user.gid) {
        return unmapped("process.user.gid".to_owned(), user.gid, "linux.gidMappings");
    }
    for (index, gid) in user.additional_gids.iter().enumerate() {
        if !covers(&linux.gid_mappings, *gid) {
            let field = format!("process.user.additionalGids[{index}]");
            return unmapped(field, *gid, "linux.gidMappings");
        }
    }
    Ok(())
}

fn covers(map: &[IdMapping], id: u32) -> bool {
    map.iter()
        .any(|range| id.checked_sub(range.container_id).is_some_and(|place| place < range.size))
}
