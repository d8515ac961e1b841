//! Copies of the host's mounts, as bind mounts need them; with ids of their own if asked for.

use std::path::{Path, PathBuf};

use super::draft::{Draft, Handle, text};
use super::mount_options::Options;
use super::mounts::{Make, Setting};
use super::{IdMaps, Origin, Source, id_option};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Mount, NamespaceKind};

/// File systems that belong to namespaces.
const OF_NAMESPACES: [&str; 6] = ["proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2"];

/// The ids of an id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountIds {
    /// These maps.
    Maps(IdMaps),
    /// The maps of this user namespace, given by its file.
    Namespace(PathBuf),
}

/// A copy of the host's mount at `path`, made by whoever may.
pub(super) fn copy(
    draft: &mut Draft<'_>,
    path: &Path,
    recursive: bool,
    origin: &Origin,
) -> Result<(Handle, Option<Make>)> {
    if draft.host.is_privileged() {
        let source = Source::Tree { path: path.to_owned(), recursive };
        return Ok((draft.receive(source, origin.clone()), None));
    }
    let path = text(path, origin)?;
    Ok((draft.make(), Some(Make::Copy { path, recursive })))
}

/// The copy for a bind mount.
pub(super) fn bind(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    mount: &Mount,
    (options, recursive, origin): (&Options<'_>, bool, &Origin),
) -> Result<(Handle, Option<Make>)> {
    let path = setting.bundle.join(mount.source.as_deref().unwrap_or(Path::new("")));
    if !asks_for_ids(mount, options) {
        return copy(draft, &path, recursive, &origin.part("source"));
    }
    let ids = ids(setting, draft, (mount, options), origin)?;
    let whole = options.map_ids == Some(true);
    let source = Source::MappedTree { path, recursive, ids, whole };
    Ok((draft.receive(source, origin.part("source")), None))
}

/// A new file system with ids of its own. The caller makes it, who may give it any.
pub(super) fn filesystem(
    setting: Setting<'_>,
    draft: &Draft<'_>,
    (mount, options): (&Mount, &Options<'_>),
    (make, origin): (Make, &Origin),
) -> Result<Source> {
    let ids = ids(setting, draft, (mount, options), origin)?;
    match make {
        Make::New { kind, source, options, attributes, .. } => {
            Ok(Source::MappedFilesystem { kind, source, options, attributes, ids })
        }
        Make::Copy { .. } | Make::Mount { .. } => {
            let message = "not with options as long as these";
            Err(fault(ErrorKind::Unsupported, message, origin))
        }
    }
}

pub(super) fn asks_for_ids(mount: &Mount, options: &Options<'_>) -> bool {
    options.map_ids.is_some() || !mount.uid_mappings.is_empty()
}

/// Refuses ids of their own for what cannot have any.
pub(super) fn check_ids(mount: &Mount, options: &Options<'_>, origin: &Origin) -> Result<()> {
    if !asks_for_ids(mount, options) {
        return Ok(());
    }
    if options.remount {
        let message = "only a new mount can get ids of its own";
        return Err(fault(ErrorKind::Unsupported, message, origin));
    }
    match mount.kind.as_deref() {
        // They show the namespaces of whoever makes them, and the kernel refuses them ids as well.
        Some(kind) if options.bind.is_none() && OF_NAMESPACES.contains(&kind) => {
            let message = format!("a file system of type {kind} cannot have ids of its own");
            Err(fault(ErrorKind::Unsupported, &message, origin))
        }
        _ => Ok(()),
    }
}

/// The maps of the mount; without any, those of the container.
fn ids(
    setting: Setting<'_>,
    draft: &Draft<'_>,
    (mount, options): (&Mount, &Options<'_>),
    origin: &Origin,
) -> Result<MountIds> {
    if !draft.host.is_privileged() {
        let message = "an id-mapped mount needs privilege over the host's file systems";
        return Err(fault(ErrorKind::Denied, message, origin));
    }
    if let Some(text) = options.maps {
        let maps = id_option::read(text, setting.namespaces.maps());
        return maps.map(MountIds::Maps).map_err(|words| {
            let message = format!("idmap={text}: {words}");
            Error::new(ErrorKind::InvalidSpec, message).with_field(format!("{origin}.options"))
        });
    }
    if !mount.uid_mappings.is_empty() {
        let (uid, gid) = (mount.uid_mappings.clone(), mount.gid_mappings.clone());
        return Ok(MountIds::Maps(IdMaps { uid, gid }));
    }
    if let Some(maps) = &setting.namespaces.id_maps {
        return Ok(MountIds::Maps(maps.clone()));
    }
    let namespace = setting.spec.linux.namespace(NamespaceKind::User);
    let path = namespace.and_then(|namespace| namespace.path.clone());
    path.map(MountIds::Namespace).ok_or_else(|| {
        let message = "needs mappings, or a user namespace to take them from";
        fault(ErrorKind::InvalidSpec, message, origin)
    })
}

fn fault(kind: ErrorKind, message: &str, origin: &Origin) -> Error {
    Error::new(kind, message).with_field(format!("{origin}.uidMappings"))
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, PlanOptions};
    use super::*;
    use crate::host::Host;
    use crate::spec::Spec;

    const USER: &str = r#"{"type":"user"}],
        "uidMappings":[{"containerID":0,"hostID":1000,"size":9}],
        "gidMappings":[{"containerID":0,"hostID":2000,"size":9}"#;

    /// The plan of one mount, with another namespace if that is not empty.
    fn plan(mount: &str, namespace: &str, host: &Host) -> Result<Plan> {
        let comma = if namespace.is_empty() { "" } else { "," };
        let text = format!(
            r#"{{"ociVersion":"1.2.0","root":{{"path":"r"}},"process":{{"cwd":"/","args":["a"]}},
            "mounts":[{{"destination":"/m",{mount}}}],
            "linux":{{"namespaces":[{{"type":"mount"}}{comma}{namespace}]}}}}"#
        );
        let spec = Spec::parse(text.as_bytes())?.value;
        Plan::compile(&spec, host, &PlanOptions::new("a".parse()?, "/b".into()))
    }

    #[test]
    fn ids_come_from_the_mount_or_the_container() {
        let host = Host::default();
        let sources = |mount: &str, namespace: &str| {
            let plan = plan(mount, namespace, &host).expect(mount);
            let texts = plan.sources.iter().map(|(source, _)| source.to_string());
            texts.filter(|text| text.contains("with ids")).collect::<Vec<_>>()
        };
        let own = r#""source":"/s","options":["bind","idmap"]"#;
        assert_eq!(sources(own, USER), ["the mount at /s with ids 0=1000+9 and 0=2000+9"]);
        let given = r#""source":"/s","options":["rbind","ridmap"],
            "uidMappings":[{"containerID":1,"hostID":2,"size":3}],
            "gidMappings":[{"containerID":4,"hostID":5,"size":6}]"#;
        let text = "the mount at /s and what is below, all with ids 1=2+3 and 4=5+6";
        assert_eq!(sources(given, ""), [text]);
        let plan = plan(own, USER, &host).expect("fits");
        let fields: Vec<_> = plan.sources.iter().map(|(_, origin)| origin.to_string()).collect();
        assert!(fields.contains(&"mounts[0].source".to_owned()), "{fields:?}");
        let tmpfs = r#""type":"tmpfs","options":["idmap","size=1m"]"#;
        assert_eq!(sources(tmpfs, USER), ["a new tmpfs with ids 0=1000+9 and 0=2000+9"]);
        let joined = r#"{"type":"user","path":"/proc/7/ns/user"}"#;
        assert_eq!(sources(own, joined), ["the mount at /s with ids of /proc/7/ns/user"]);
    }

    #[test]
    fn ids_that_cannot_be_had_are_errors() {
        let host = Host::default();
        let rootless = Host { uid: 1000, effective: 0, ..Host::default() };
        let bind = r#""source":"/s","options":["bind","idmap"]"#;
        let queues = r#""type":"mqueue","options":["idmap"]"#;
        let tmpfs = r#""type":"tmpfs","options":["idmap"]"#;
        for (mount, namespace, host, kind) in [
            (bind, "", &host, ErrorKind::InvalidSpec),
            (queues, USER, &host, ErrorKind::Unsupported),
            (tmpfs, "", &host, ErrorKind::InvalidSpec),
            (tmpfs, USER, &rootless, ErrorKind::Denied),
            (bind, USER, &rootless, ErrorKind::Denied),
        ] {
            let error = plan(mount, namespace, host).expect_err(mount);
            assert_eq!((error.kind(), error.field()), (kind, Some("mounts[0].uidMappings")));
        }
    }
}
