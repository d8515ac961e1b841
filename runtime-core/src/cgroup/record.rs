//! What is kept of a container's cgroup: enough to use and to remove it later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::path::checked;
use super::systemd::Unit;
use crate::error::{Error, ErrorKind, Result};

/// The version of control groups that carries the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Every controller is in a v1 hierarchy.
    V1,
    /// Controllers are in v1 hierarchies, and the v2 hierarchy is mounted beside them.
    Hybrid,
    /// One v2 hierarchy.
    V2,
}

/// Where a container's cgroup lies in each hierarchy. Made by
/// [`Layout::place`](super::Layout::place) before anything exists, so that it can be written down
/// first; [`open`](super::open) makes a [`Manager`](super::Manager) of it again at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The directory below which the hierarchies are mounted, `/sys/fs/cgroup`.
    pub(super) base: PathBuf,
    /// Whether the configuration named no path, so that a user who may not make cgroups can do
    /// without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) optional: bool,
    /// Whether [`Manager::create`](super::Manager::create) has succeeded: only then are the
    /// processes in it the container's own, and may be killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) created: bool,
    /// The unit that systemd makes for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) systemd: Option<Unit>,
    /// The place in each cgroup v1 hierarchy; none on a pure v2 host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) hierarchies: Vec<Place>,
    /// The place in the cgroup v2 hierarchy, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unified: Option<Place>,
}

/// A directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The hierarchy's controllers, joined by commas as in `/proc/self/cgroup`; empty for v2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) controllers: String,
    /// The hierarchy's mount point below the base; empty when it is the base.
    pub(super) mount: String,
    /// The container's directory below the mount point.
    pub(super) path: String,
}

impl Place {
    /// The directory relative to the base.
    pub(super) fn directory(&self) -> String {
        if self.mount.is_empty() {
            self.path.clone()
        } else {
            format!("{}/{}", self.mount, self.path)
        }
    }

    /// The directories above, from the root of the hierarchy down, relative to the base.
    pub(super) fn ancestors(&self) -> Vec<String> {
        let root = if self.mount.is_empty() { "." } else { &self.mount };
        let above = self.path.match_indices('/').map(|(index, _)| Self {
            path: self.path.get(..index).unwrap_or_default().to_owned(),
            ..self.clone()
        });
        let mut all = vec![root.to_owned()];
        all.extend(above.map(|place| place.directory()));
        all
    }

    /// Whether this is the hierarchy of that controller.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }
}

impl Record {
    /// Whether the container has no cgroup of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hierarchies.is_empty() && self.unified.is_none()
    }

    /// Whether both are the same directories.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.base, &self.hierarchies, &self.unified)
            == (&other.base, &other.hierarchies, &other.unified)
    }

    /// Whether systemd makes the cgroup, which needs a process to put there.
    #[must_use]
    pub fn needs_occupant(&self) -> bool {
        self.systemd.is_some()
    }

    /// The container's directory in the cgroup v2 hierarchy.
    #[must_use]
    pub fn unified_path(&self) -> Option<PathBuf> {
        self.unified.as_ref().map(|place| self.base.join(place.directory()))
    }

    /// The container's directories by controller, as runc's state file lists them: v1 controllers
    /// by name (`name=systemd` for the named hierarchy), the cgroup v2 directory under the empty
    /// name.
    #[must_use]
    pub fn paths(&self) -> BTreeMap<String, PathBuf> {
        let mut paths = BTreeMap::new();
        for place in &self.hierarchies {
            for controller in place.controllers.split(',') {
                paths.insert(controller.to_owned(), self.absolute(place));
            }
        }
        if let Some(place) = &self.unified {
            paths.insert(String::new(), self.absolute(place));
        }
        paths
    }

    /// The same for a directory below the container's in every hierarchy, which the container has
    /// made: for processes that are to join there.
    ///
    /// # Errors
    /// When the path has `..` or control characters.
    pub fn below(&self, path: &str) -> Result<Self> {
        let path = checked(path)?;
        let mut record = self.clone();
        for place in record.hierarchies.iter_mut().chain(&mut record.unified) {
            place.path = format!("{}/{path}", place.path);
        }
        Ok(record)
    }

    /// The same for single v1 controllers, by name; the other hierarchies stay.
    ///
    /// # Errors
    /// As [`below`](Self::below); a controller without a v1 hierarchy; two paths in one hierarchy.
    pub fn below_of(&self, paths: &BTreeMap<String, String>) -> Result<Self> {
        let mut record = self.clone();
        let mut named = vec![false; self.hierarchies.len()];
        for (controller, path) in paths {
            let known = record.hierarchies.iter_mut().zip(&self.hierarchies).zip(&mut named);
            let Some(((place, top), named)) =
                known.into_iter().find(|((one, _), _)| one.has(controller))
            else {
                let message = format!("unknown controller {controller:?} of the cgroup to join");
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .with_hint("only cgroup v1 has hierarchies by controller; leave it out"));
            };
            let below = match path.trim_matches('/') {
                "" => top.path.clone(),
                path => format!("{}/{}", top.path, checked(path)?),
            };
            if std::mem::replace(named, true) && place.path != below {
                let message = format!("{:?} are one hierarchy, with one path", top.controllers);
                return Err(Error::new(ErrorKind::InvalidSpec, message));
            }
            place.path = below;
        }
        Ok(record)
    }

    pub(super) fn version(&self) -> Version {
        match (self.hierarchies.is_empty(), &self.unified) {
            (true, _) => Version::V2,
            (false, None) => Version::V1,
            (false, Some(_)) => Version::Hybrid,
        }
    }

    pub(super) fn absolute(&self, place: &Place) -> PathBuf {
        self.base.join(Path::new(&place.directory()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(mount: &str, path: &str) -> Place {
        Place { controllers: String::new(), mount: mount.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn ancestors_from_the_root_down() {
        assert_eq!(place("", "a/b/c").ancestors(), [".", "a", "a/b"]);
        assert_eq!(place("unified", "a/b").ancestors(), ["unified", "unified/a"]);
        assert_eq!(place("", "a").ancestors(), ["."]);
    }

    #[test]
    fn a_path_below_cannot_lead_out() {
        let record = Record { unified: Some(place("", "c")), ..Record::default() };
        let below = record.below("/x//y").expect("below");
        assert_eq!(below.paths()[""], Path::new("c/x/y"));
        for bad in ["..", "x/../..", "", "/", "a\nb"] {
            assert!(record.below(bad).is_err(), "{bad}");
        }
    }
    #[test]
    fn single_controllers_have_paths_of_their_own() {
        let of = |controllers: &str| Place {
            controllers: controllers.to_owned(),
            ..place(controllers, "c")
        };
        let hierarchies = vec![of("cpu,cpuacct"), of("memory"), of("name=systemd")];
        let record = Record { hierarchies, unified: Some(place("", "c")), ..Record::default() };
        let below = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned()));
            record.below_of(&pairs.collect())
        };
        let paths = below(&[("cpu", "/x/y"), ("name=systemd", "z")]).expect("below").paths();
        for (name, path) in [("cpuacct", "cpu,cpuacct/c/x/y"), ("memory", "memory/c"), ("", "c")] {
            assert_eq!(paths[name], Path::new(path), "{name}");
        }
        assert_eq!(paths["name=systemd"], Path::new("name=systemd/c/z"));
        assert_eq!(below(&[("memory", "/")]).expect("the top").paths(), record.paths());
        assert!(below(&[("cpu", "x"), ("cpuacct", "x")]).is_ok());
        assert!(below(&[("cpu", "/"), ("cpuacct", "")]).is_ok());
        for bad in [
            &[("cpu", "x"), ("cpuacct", "y")][..],
            &[("cpu", "/"), ("cpuacct", "x")],
            &[("cpu", "x"), ("cpuacct", "/")],
            &[("pids", "x")],
            &[("", "x")],
            &[("cpu", "..")],
        ] {
            assert!(below(bad).is_err(), "{bad:?}");
        }
    }
}
