//! Steps 1 to 6: into the namespaces.

use std::ffi::CString;

use super::draft::{Draft, Handle, text};
use super::{IdMaps, Origin, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::host::NET_ADMIN;
use crate::program::{Gate, Step};
use crate::spec::{Linux, Namespace, NamespaceKind, Spec, TimeOffset, sysctl};

/// The `CLONE_NEW*` flag of a kind (`linux/sched.h`).
pub(crate) const fn flag(kind: NamespaceKind) -> u32 {
    match kind {
        NamespaceKind::Time => 0x80,
        NamespaceKind::Mount => 0x0002_0000,
        NamespaceKind::Cgroup => 0x0200_0000,
        NamespaceKind::Uts => 0x0400_0000,
        NamespaceKind::Ipc => 0x0800_0000,
        NamespaceKind::User => 0x1000_0000,
        NamespaceKind::Pid => 0x2000_0000,
        NamespaceKind::Network => 0x4000_0000,
    }
}

/// The order in which namespaces are joined: the user namespace first, as it gives the right to join
/// the others.
const ORDER: [NamespaceKind; 8] = [
    NamespaceKind::User,
    NamespaceKind::Mount,
    NamespaceKind::Cgroup,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Network,
    NamespaceKind::Time,
    NamespaceKind::Pid,
];

/// What the spawn itself makes; the others are unshared later. A cgroup namespace shows the cgroup
/// that the process is in when it is made, and an ipc namespace must belong to the user namespace
/// whose maps are written.
const AT_SPAWN: [NamespaceKind; 5] = [
    NamespaceKind::User,
    NamespaceKind::Pid,
    NamespaceKind::Mount,
    NamespaceKind::Uts,
    NamespaceKind::Network,
];

/// The namespaces of a container.
#[derive(Clone, Debug)]
pub(super) struct Namespaces {
    /// Those to join, in order.
    joined: Vec<(NamespaceKind, Handle, Origin)>,
    /// Kinds that a container has already.
    existing: u32,
    /// Kinds that are new.
    new: u32,
    /// Kinds that the spawn makes.
    pub(super) at_spawn: u32,
    /// The clocks of a new time namespace, as the kernel reads them; empty where they are the caller's.
    time_offsets: CString,
    /// The maps of a new user namespace.
    pub(super) id_maps: Option<IdMaps>,
    /// The maps that a joined user namespace is said to have.
    pub(super) joined_maps: Option<IdMaps>,
    /// Whether the other namespaces are joined before the user namespace is entered, as far as the kernel
    /// lets the caller: they may belong to the caller's.
    early: bool,
}

impl Namespaces {
    /// Finds out what is new and what is joined.
    pub(super) fn gather(spec: &Spec, draft: &mut Draft<'_>) -> Result<Self> {
        let linux = &spec.linux;
        check(linux, draft)?;
        let mut joined = Vec::new();
        let mut new = 0;
        for kind in ORDER {
            let found = linux.namespaces.iter().enumerate().find(|(_, one)| one.kind == kind);
            let Some((index, Namespace { path, .. })) = found else {
                continue;
            };
            if kind == NamespaceKind::User && draft.host.names_own_user_namespace {
                // Nobody can join the user namespace that he is in (setns(2)); there is no need either.
                continue;
            }
            let Some(path) = path else {
                new |= flag(kind);
                continue;
            };
            let origin = Origin::Part("linux.namespaces", index, "path");
            let handle =
                draft.receive(Source::Namespace { path: path.clone(), kind }, origin.clone());
            joined.push((kind, handle, origin));
        }
        // The only way for a caller without privilege.
        let automatic =
            !draft.host.is_privileged() && linux.namespace(NamespaceKind::User).is_none();
        if automatic {
            new |= flag(NamespaceKind::User);
        }
        let early = draft.host.is_privileged() && is_early(&joined, new);
        let mut spawnable = AT_SPAWN.iter().fold(0, |kinds, kind| kinds | flag(*kind));
        if new & flag(NamespaceKind::Time) != 0 {
            // Only a child gets into the time namespace, and it must be the first of its pid namespace.
            spawnable &= !flag(NamespaceKind::Pid);
        }
        if early || joined.iter().any(|(kind, ..)| *kind == NamespaceKind::User) {
            spawnable = 0;
        }
        let maps = IdMaps { uid: linux.uid_mappings.clone(), gid: linux.gid_mappings.clone() };
        let has_maps = !maps.uid.is_empty() || !maps.gid.is_empty();
        let (id_maps, joined_maps) = if automatic {
            let ids = spec.process.as_ref().map_or((0, 0), |one| (one.user.uid, one.user.gid));
            (Some(IdMaps::automatic(draft.host, ids)), None)
        } else if new & flag(NamespaceKind::User) != 0 {
            (Some(maps), None)
        } else {
            (None, has_maps.then_some(maps))
        };
        Ok(Self {
            joined,
            existing: 0,
            new,
            at_spawn: new & spawnable,
            time_offsets: time_offsets(linux, new)?,
            id_maps,
            joined_maps,
            early,
        })
    }

    /// Those of a container that exists: nothing is new, and joining them is another matter.
    pub(super) fn of_container(kinds: u32, id_maps: Option<IdMaps>) -> Self {
        Self {
            joined: Vec::new(),
            existing: kinds,
            new: 0,
            at_spawn: 0,
            time_offsets: CString::default(),
            id_maps,
            joined_maps: None,
            early: false,
        }
    }

    /// All kinds that differ from the caller's.
    pub(super) fn all(&self) -> u32 {
        self.joined.iter().fold(self.new | self.existing, |kinds, (kind, ..)| kinds | flag(*kind))
    }

    /// The maps of the user namespace, as far as the configuration tells them.
    pub(super) fn maps(&self) -> Option<&IdMaps> {
        self.id_maps.as_ref().or(self.joined_maps.as_ref())
    }

    pub(super) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.new & flag(kind) != 0
    }

    pub(super) fn is_joined(&self, kind: NamespaceKind) -> bool {
        self.joined.iter().any(|(joined, ..)| *joined == kind)
    }

    /// Whether the container has a user namespace other than the caller's.
    pub(super) fn has_user(&self) -> bool {
        self.all() & flag(NamespaceKind::User) != 0
    }

    pub(super) fn write(&self, draft: &mut Draft<'_>) {
        let user = flag(NamespaceKind::User);
        if self.early {
            for (kind, handle, origin) in &self.joined {
                let (namespace, kinds) = (draft.slot(*handle), flag(*kind));
                if kinds != user {
                    draft.push(&Step::JoinEarly { namespace, kinds }, origin.clone());
                }
            }
            if self.is_new(NamespaceKind::User) {
                draft.push(&Step::Unshare { kinds: user }, Origin::Field("linux.namespaces"));
            }
        }
        draft.push(&Step::Gate { gate: Gate::Mapped as u32 }, Origin::None);
        if let Some(maps) = &self.id_maps {
            let (uid, gid) = maps.identity();
            draft.push(&Step::Identity { uid, gid }, Origin::Field("linux.uidMappings"));
        }
        for (kind, handle, origin) in &self.joined {
            let step = Step::Join { namespace: draft.slot(*handle), kinds: flag(*kind) };
            draft.push(&step, origin.clone());
            if *kind == NamespaceKind::User {
                self.write_member(draft, origin);
            }
        }
        let mut late = self.new & !self.at_spawn;
        if self.early {
            late &= !user;
        }
        if late != 0 {
            draft.push(&Step::Unshare { kinds: late }, Origin::Field("linux.namespaces"));
        }
        if !self.time_offsets.is_empty() {
            let origin = Origin::Field("linux.timeOffsets");
            draft.push(&Step::TimeOffsets { text: &self.time_offsets }, origin);
        }
        let entered_by_children = flag(NamespaceKind::Pid) | flag(NamespaceKind::Time);
        if self.is_joined(NamespaceKind::Pid) || late & entered_by_children != 0 {
            draft.push(&Step::Respawn {}, Origin::Field("linux.namespaces"));
        }
        if self.is_new(NamespaceKind::Network) {
            draft.push(&Step::Loopback {}, Origin::Field("linux.namespaces"));
        }
    }

    /// What follows the entry into somebody's user namespace.
    fn write_member(&self, draft: &mut Draft<'_>, origin: &Origin) {
        if self.joined_maps.is_some() {
            let gate = Gate::Joined as u32;
            draft.push(&Step::Gate { gate }, Origin::Field("linux.uidMappings"));
        }
        let (uid, gid) = self.joined_maps.as_ref().map_or((0, 0), IdMaps::identity);
        draft.push(&Step::Identity { uid, gid }, origin.clone());
    }
}

/// Whether a user namespace is entered and others are joined, which need not belong to it.
fn is_early(joined: &[(NamespaceKind, Handle, Origin)], new: u32) -> bool {
    let is_user = |kind: NamespaceKind| kind == NamespaceKind::User;
    let others = joined.iter().any(|(kind, ..)| !is_user(*kind));
    let enters =
        new & flag(NamespaceKind::User) != 0 || joined.iter().any(|(kind, ..)| is_user(*kind));
    others && enters
}

/// The lines of `/proc/PID/timens_offsets`.
fn time_offsets(linux: &Linux, new: u32) -> Result<CString> {
    let origin = Origin::Field("linux.timeOffsets");
    if !linux.time_offsets.is_empty() && new & flag(NamespaceKind::Time) == 0 {
        let message = "can only be set for a new time namespace, and this one is joined";
        return Err(origin.blame(Error::new(ErrorKind::InvalidSpec, message)));
    }
    let line = |(clock, offset): (&String, &TimeOffset)| {
        format!("{clock} {} {}\n", offset.secs, offset.nanosecs)
    };
    text(linux.time_offsets.iter().map(line).collect::<String>(), &origin)
}

fn check(linux: &Linux, draft: &Draft<'_>) -> Result<()> {
    if linux.namespace(NamespaceKind::Mount).is_none() {
        return Err(Error::new(ErrorKind::Unsupported, "a mount namespace is needed")
            .with_field("linux.namespaces")
            .with_hint("without one the container's mounts would be made on the host"));
    }
    let own = draft.host.names_own_user_namespace;
    if !draft.host.is_privileged() && own {
        return Err(Error::new(
            ErrorKind::Denied,
            "without CAP_SYS_ADMIN a container needs a user namespace",
        )
        .with_field("linux.namespaces"));
    }
    if own && let Some(field) = linux.mapped_fields().next() {
        let message = "the user namespace is the runtime's own, which has its maps";
        return Err(Error::new(ErrorKind::InvalidSpec, message).with_field(field));
    }
    let joins_own = |kind| draft.host.names_own_namespaces.contains(&kind);
    if let Some(name) = linux.sysctl.keys().find(|name| sysctl::kind(name).is_some_and(joins_own)) {
        let message = "would change the host: the namespace is the runtime's own";
        return Err(Error::new(ErrorKind::InvalidSpec, message)
            .with_field(format!("linux.sysctl[\"{name}\"]")));
    }
    let is_new = |kind| linux.namespace(kind).is_some_and(|one| one.path.is_none());
    let mount = linux.namespaces.iter().position(|one| one.kind == NamespaceKind::Mount);
    if is_new(NamespaceKind::User) && !is_new(NamespaceKind::Mount) {
        let message = "a new user namespace has no rights over a mount namespace that exists";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_field(format!("linux.namespaces[{}].path", mount.unwrap_or_default()))
            .with_hint("join the user namespace that it belongs to"));
    }
    if !linux.net_devices.is_empty() && !draft.host.has(NET_ADMIN) {
        let message = "without CAP_NET_ADMIN no network device can be moved";
        return Err(Error::new(ErrorKind::Denied, message).with_field("linux.netDevices"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    fn spec(linux: &str) -> Spec {
        Spec { linux: serde_json::from_str(linux).expect("valid"), ..Spec::default() }
    }

    #[test]
    fn a_new_time_namespace_makes_the_pid_namespace_late() {
        let host = Host::default();
        for (time, spawned) in [(false, true), (true, false)] {
            let time = if time { r#",{"type":"time"}"# } else { "" };
            let text = format!(r#"{{"namespaces":[{{"type":"mount"}},{{"type":"pid"}}{time}]}}"#);
            let namespaces =
                Namespaces::gather(&spec(&text), &mut Draft::new(&host)).expect("fits");
            assert_eq!(namespaces.at_spawn & flag(NamespaceKind::Pid) != 0, spawned, "{time}");
            assert!(namespaces.is_new(NamespaceKind::Pid));
        }
    }

    #[test]
    fn clocks_are_for_new_time_namespaces() {
        let offsets = r#""timeOffsets":{"monotonic":{"secs":-1},"boottime":{"nanosecs":5}}"#;
        let host = Host::default();
        let namespaces = |path: &str| {
            let text = format!(
                r#"{{"namespaces":[{{"type":"mount"}},{{"type":"time","path":"{path}"}}],{offsets}}}"#
            );
            let mut spec = spec(&text);
            spec.linux.namespaces.iter_mut().for_each(|one| {
                one.path = one.path.take().filter(|path| path.is_absolute());
            });
            Namespaces::gather(&spec, &mut Draft::new(&host))
        };
        let new = namespaces("").expect("fits");
        assert_eq!(new.time_offsets.as_c_str(), c"boottime 0 5\nmonotonic -1 0\n");
        let error = namespaces("/proc/1/ns/time").expect_err("joined");
        assert_eq!(error.field(), Some("linux.timeOffsets"));
    }

    #[test]
    fn without_privilege_there_is_always_a_user_namespace() {
        let host = Host { uid: 1000, gid: 100, effective: 0, ..Host::default() };
        let spec = spec(r#"{"namespaces":[{"type":"mount"}]}"#);
        let namespaces = Namespaces::gather(&spec, &mut Draft::new(&host)).expect("fits");
        assert!(namespaces.is_new(NamespaceKind::User));
        let own = |host_id| [crate::spec::IdMapping { container_id: 0, host_id, size: 1 }];
        let maps = namespaces.id_maps.expect("made up");
        assert_eq!((&maps.uid[..], &maps.gid[..]), (&own(1000)[..], &own(100)[..]));
    }

    #[test]
    fn what_belongs_to_others_is_joined_first() {
        let host = Host::default();
        let text = r#"{"namespaces":[{"type":"mount"},{"type":"user"},
            {"type":"network","path":"/n"}],"uidMappings":[{"containerID":0,"hostID":5,"size":1}]}"#;
        let namespaces = Namespaces::gather(&spec(text), &mut Draft::new(&host)).expect("fits");
        assert!(namespaces.early && namespaces.at_spawn == 0);
        let text = r#"{"namespaces":[{"type":"mount","path":"/m"},{"type":"user"}]}"#;
        let error = Namespaces::gather(&spec(text), &mut Draft::new(&host)).expect_err("useless");
        assert_eq!(error.field(), Some("linux.namespaces[0].path"));
    }
}
