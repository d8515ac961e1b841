//! Copies of the host's mounts, as bind mounts need them; with ids of their own if asked for.

use std::path::{Path, PathBuf};

use super::draft::{Draft, Handle, text};
use super::mount_options::Options;
use super::mounts::{Make, Setting};
use super::{IdMaps, Origin, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Mount, NamespaceKind};

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
        return copy(draft, &path, recursive, origin);
    }
    if !draft.host.is_privileged() {
        let message = "an id-mapped mount needs privilege over the host's file systems";
        return Err(fault(ErrorKind::Denied, message, origin));
    }
    let ids = ids(setting, mount, origin)?;
    let whole = options.map_ids == Some(true);
    let source = Source::MappedTree { path, recursive, ids, whole };
    Ok((draft.receive(source, origin.clone()), None))
}

fn asks_for_ids(mount: &Mount, options: &Options<'_>) -> bool {
    options.map_ids.is_some() || !mount.uid_mappings.is_empty()
}

/// Refuses ids of their own for what is no bind mount, as a new file system belongs to the container.
pub(super) fn check_ids(mount: &Mount, options: &Options<'_>, origin: &Origin) -> Result<()> {
    if asks_for_ids(mount, options) && (options.bind.is_none() || options.remount) {
        let message = "only a bind mount can have ids of its own";
        return Err(fault(ErrorKind::Unsupported, message, origin));
    }
    Ok(())
}

/// The maps of the mount; without any, those of the container.
fn ids(setting: Setting<'_>, mount: &Mount, origin: &Origin) -> Result<MountIds> {
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
