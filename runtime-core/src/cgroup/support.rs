//! What of `linux.resources` this host cannot do.

use super::conditions;
use super::layout::Layout;
use super::record::Version;
use super::v1;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::Resources;

/// Refuses what a container without a cgroup of its own cannot have: every limit. Device rules are
/// no limit here: without a cgroup the caller's own rules hold.
///
/// # Errors
/// [`ErrorKind::Unsupported`], with the first such field.
pub fn without(resources: &Resources) -> Result<()> {
    let limit = v1::limits::settings(resources).first().map(|one| one.field.to_string());
    let key = resources.unified.keys().next();
    let field = limit.or_else(|| key.map(|key| format!("linux.resources.unified[{key:?}]")));
    field.map_or(Ok(()), |field| {
        Err(Error::new(ErrorKind::Unsupported, "cannot be held: cgroups are disabled")
            .with_field(field)
            .with_hint("choose the cgroup manager cgroupfs or systemd"))
    })
}

/// The first limit that cannot be held on a host with these hierarchies: the field of the
/// configuration and the reason. `None` does not promise that the kernel takes every value, nor, on
/// cgroup v2, that a controller is delegated: that shows when the cgroup is made.
#[must_use]
pub fn unsupported(resources: &Resources, layout: &Layout) -> Option<(String, String)> {
    let version = layout.version();
    if let Some(found) = conditions::impossible(resources, version) {
        return Some(found);
    }
    if version == Version::V2 {
        return None;
    }
    let unified = version == Version::Hybrid;
    let settings = v1::limits::settings(resources);
    let missing = settings.iter().find(|setting| {
        // The v2 hierarchy may have the huge pages.
        let elsewhere = unified && setting.controller == "hugetlb";
        !layout.has_v1(&setting.controller) && !elsewhere
    })?;
    let why = format!("the cgroup controller {:?} is not available", missing.controller);
    Some((missing.field.to_string(), why))
}
