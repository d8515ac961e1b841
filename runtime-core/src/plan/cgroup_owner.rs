//! Whom a container's cgroup is given to (config-linux.md, "Cgroup ownership").

use std::path::Path;

use super::IdMaps;
use super::namespaces::Namespaces;
use crate::host::{Cgroups, Host};
use crate::spec::{Mount, NamespaceKind, Process, Spec};

/// The user and the group, as outside, of the container's process: for a container that sees its own
/// cgroup only and may write there. On cgroup v1 it would not be safe. An ordinary user can give
/// nothing away, and what it makes is its own already.
pub(super) fn owner(
    spec: &Spec,
    process: &Process,
    namespaces: &Namespaces,
    host: &Host,
) -> Option<(u32, u32)> {
    let delegates = matches!(host.cgroups, Some(Cgroups::V2))
        && host.is_privileged()
        && namespaces.is_new(NamespaceKind::Cgroup)
        && spec.mounts.iter().any(is_writable_view);
    let (user, group) = (process.user.uid, process.user.gid);
    let owner = match &namespaces.id_maps {
        _ if !delegates => None,
        Some(maps) => IdMaps::outside(&maps.uid, user).zip(IdMaps::outside(&maps.gid, group)),
        None if namespaces.has_user() => None,
        None => Some((user, group)),
    };
    owner.filter(|owner| *owner != (0, 0))
}

fn is_writable_view(mount: &Mount) -> bool {
    mount.source.as_deref() == Some(Path::new("cgroup"))
        && mount.destination == Path::new("/sys/fs/cgroup")
        && !mount.options.iter().any(|option| matches!(&**option, "ro" | "rro"))
}

#[cfg(test)]
mod tests {
    use crate::host::{Cgroups, Host};
    use crate::plan::{Plan, PlanOptions};

    fn owner(options: &str, namespaces: &str, uid: u32, host: &Host) -> Option<(u32, u32)> {
        let map = r#"[{"containerID": 0, "hostID": 200000, "size": 65536}]"#;
        let maps = if namespaces.contains("user") {
            format!(r#""uidMappings": {map}, "gidMappings": {map},"#)
        } else {
            String::new()
        };
        let text = format!(
            r#"{{"ociVersion": "1.3.0", "root": {{"path": "rootfs"}},
                "process": {{"args": ["/a"], "cwd": "/", "user": {{"uid": {uid}, "gid": 5}}}},
                "mounts": [{{"destination": "/sys/fs/cgroup", "type": "cgroup",
                             "source": "cgroup", "options": ["nosuid"{options}]}}],
                "linux": {{{maps} "namespaces": [{{"type": "mount"}}{namespaces}]}}}}"#
        );
        let spec = serde_json::from_str(&text).expect("valid");
        let options = PlanOptions::new("box".parse().expect("a name"), "/bundle".into());
        Plan::compile(&spec, host, &options).expect("compiles").cgroup_owner
    }

    #[test]
    fn only_a_writable_view_of_the_own_cgroup_is_given() {
        const BOTH: &str = r#", {"type": "cgroup"}, {"type": "user"}"#;
        let host = Host::default();
        assert_eq!(owner("", BOTH, 0, &host), Some((200_000, 200_005)));
        assert_eq!(owner("", BOTH, 1000, &host), Some((201_000, 200_005)));
        assert_eq!(owner("", r#", {"type": "cgroup"}"#, 1000, &host), Some((1000, 5)));
        assert_eq!(owner(r#", "ro""#, BOTH, 0, &host), None);
        assert_eq!(owner("", r#", {"type": "user"}"#, 0, &host), None);
        let v1 = Host { cgroups: Some(Cgroups::V1(Vec::new())), ..Host::default() };
        assert_eq!(owner("", BOTH, 0, &v1), None);
    }
}
