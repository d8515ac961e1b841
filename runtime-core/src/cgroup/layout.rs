//! Which cgroup hierarchies this host has and where they are mounted.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use serde::{Deserialize, Serialize};

use super::mountinfo::{self, Mounted};
use super::path::Location;
use super::record::{Place, Record, Version};
use super::systemd;
use super::tree::read_path;
use crate::error::{Attempt, Result};
use crate::id::ContainerId;

const BASE: &str = "/sys/fs/cgroup";

/// The cgroup hierarchies of this host as the calling process sees them: a plain value.
///
/// Found from `/proc/self/cgroup` and three `statfs` calls; `/proc/self/mountinfo` is only read
/// when the hierarchies are not in their usual places (cgroups(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    base: PathBuf,
    hierarchies: Vec<Hierarchy>,
    unified: Option<Hierarchy>,
}

/// One hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hierarchy {
    /// As in `/proc/self/cgroup`: `cpu,cpuacct`, `name=systemd`; empty for v2.
    controllers: String,
    /// The mount point relative to the base.
    mount: String,
    /// The caller's own cgroup in it, `/` or `/a/b`.
    own: String,
}

/// A v1 hierarchy as the `cgroup` mount of a container shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The name of the directory below the mount's destination: `memory`, `cpu,cpuacct`, `systemd`.
    pub name: String,
    /// The options of a mount of type `cgroup`: `memory`, `none,name=systemd`.
    pub options: String,
    /// The container's own directory in the hierarchy, on the host.
    pub source: PathBuf,
    /// Names of symbolic links to `name` that are made beside it: `cpu` and `cpuacct`.
    pub links: Vec<String>,
}

impl Layout {
    /// Looks at this host.
    ///
    /// # Errors
    /// When `/proc/self/cgroup` or `/proc/self/mountinfo` cannot be read, or statfs fails. No mounted hierarchy is not
    /// an error here: such a host can hold no limits.
    pub fn detect() -> Result<Self> {
        let membership = read_path("/proc/self/cgroup")?;
        let (mut hierarchies, mut unified) = parse_membership(&membership);
        let base = PathBuf::from(BASE);
        if kind(&base)? == Some(CGROUP2_SUPER_MAGIC) {
            return Ok(Self { base, hierarchies: Vec::new(), unified });
        }
        for hierarchy in &mut hierarchies {
            if hierarchy.mount.contains(',') && kind(&base.join(&hierarchy.mount))?.is_none() {
                hierarchy.mount = first(&hierarchy.mount).to_owned();
            }
        }
        let usual = match hierarchies.first() {
            Some(one) => kind(&base.join(&one.mount))? == Some(CGROUP_SUPER_MAGIC),
            None => false,
        };
        if !usual {
            return Self::from_mountinfo(&membership);
        }
        if let Some(hierarchy) = &mut unified {
            "unified".clone_into(&mut hierarchy.mount);
            if kind(&base.join("unified"))? != Some(CGROUP2_SUPER_MAGIC) {
                unified = None;
            }
        }
        Ok(Self { base, hierarchies, unified })
    }

    /// The cold way: mount points anywhere.
    fn from_mountinfo(membership: &str) -> Result<Self> {
        let mounts = mountinfo::read()?;
        let (mut hierarchies, unified) = parse_membership(membership);
        hierarchies.retain_mut(|hierarchy| {
            let found = mounts.iter().find(|mount| mount.has(&hierarchy.controllers));
            found.is_some_and(|mount| hierarchy.move_to(mount))
        });
        let unified = unified.and_then(|mut hierarchy| {
            let found = mounts.iter().find(|mount| mount.version_2)?;
            hierarchy.move_to(found).then_some(hierarchy)
        });
        Ok(Self { base: PathBuf::from("/"), hierarchies, unified })
    }

    /// Which version carries the controllers.
    #[must_use]
    pub fn version(&self) -> Version {
        match (self.hierarchies.is_empty(), &self.unified) {
            (true, _) => Version::V2,
            (false, None) => Version::V1,
            (false, Some(_)) => Version::Hybrid,
        }
    }

    /// Whether a v1 hierarchy has that controller.
    #[must_use]
    pub fn has_v1(&self, controller: &str) -> bool {
        self.hierarchies.iter().any(|one| one.controllers.split(',').any(|name| name == controller))
    }

    /// Where the cgroup of a container goes; nothing is made. `asked` is `linux.cgroupsPath`:
    /// absolute, below the root of each hierarchy; relative or absent, below the caller's own
    /// cgroup (v1) or beside it (v2, where a cgroup with processes cannot share out controllers),
    /// which is what runc's cgroupfs driver does.
    ///
    /// # Errors
    /// When the path has `..` or control characters, or names the root.
    pub fn place(&self, id: &ContainerId, asked: Option<&str>) -> Result<Record> {
        let location = Location::parse(asked, id)?;
        let roots = match location {
            Location::Own(_) => self.mount_roots()?,
            Location::Root(_) => Vec::new(),
        };
        let pure = self.version() == Version::V2;
        let place = |hierarchy: &Hierarchy| {
            let own = below_root(&hierarchy.own, root_of(&roots, hierarchy));
            let own = if pure { parent(own) } else { own };
            Place {
                controllers: hierarchy.controllers.clone(),
                mount: hierarchy.mount.clone(),
                path: location.below(own),
            }
        };
        Ok(Record {
            base: self.base.clone(),
            optional: asked.is_none_or(str::is_empty),
            created: false,
            systemd: None,
            hierarchies: self.hierarchies.iter().map(place).collect(),
            unified: self.unified.as_ref().map(place),
        })
    }

    /// Where systemd puts a container; nothing is made. `asked` is `linux.cgroupsPath` in the form
    /// `slice:prefix:name`. An absolute path is taken as without systemd: Podman gives one with
    /// `--cgroups=split`, within a unit that systemd has delegated.
    ///
    /// # Errors
    /// When the path has neither form, or the user's manager, whose cgroup it is in, does not answer.
    pub fn place_unit(&self, id: &ContainerId, asked: Option<&str>) -> Result<Record> {
        if asked.is_some_and(|path| path.starts_with('/')) {
            return self.place(id, asked);
        }
        let (unit, path) = systemd::locate(asked, id)?;
        let place = |hierarchy: &Hierarchy| Place {
            controllers: hierarchy.controllers.clone(),
            mount: hierarchy.mount.clone(),
            path: path.clone(),
        };
        Ok(Record {
            base: self.base.clone(),
            optional: false,
            created: false,
            systemd: Some(unit),
            hierarchies: self.hierarchies.iter().map(place).collect(),
            unified: self.unified.as_ref().map(place),
        })
    }

    /// The caller's own cgroup: where a container is that gets none.
    #[must_use]
    pub fn own(&self) -> Record {
        let place = |hierarchy: &Hierarchy| Place {
            controllers: hierarchy.controllers.clone(),
            mount: hierarchy.mount.clone(),
            path: hierarchy.own.trim_matches('/').to_owned(),
        };
        Record {
            base: self.base.clone(),
            hierarchies: self.hierarchies.iter().map(place).collect(),
            unified: self.unified.as_ref().map(place),
            ..Record::default()
        }
    }

    /// What the mount of type `cgroup` in a container shows on a v1 or hybrid host: each v1
    /// hierarchy, as runc does; empty on a v2 host, where [`Record::unified_path`] is the source.
    #[must_use]
    pub fn mount_points(record: &Record) -> Vec<MountPoint> {
        let point = |place: &Place| {
            let controllers = &place.controllers;
            let name = controllers.strip_prefix("name=").unwrap_or(controllers);
            let links = if name.contains(',') { name.split(',').collect() } else { Vec::new() };
            MountPoint {
                name: name.to_owned(),
                options: if name == controllers {
                    controllers.clone()
                } else {
                    format!("none,{controllers}")
                },
                source: record.absolute(place),
                links: links.into_iter().map(str::to_owned).collect(),
            }
        };
        record.hierarchies.iter().map(point).collect()
    }

    /// The roots of the mounts, when some own cgroup is not where `/proc/self/cgroup` says: in a
    /// container without a cgroup namespace the mount shows less.
    fn mount_roots(&self) -> Result<Vec<Mounted>> {
        for hierarchy in self.hierarchies.iter().chain(&self.unified) {
            let own = hierarchy.own.trim_start_matches('/');
            if !own.is_empty() && kind(&self.base.join(&hierarchy.mount).join(own))?.is_none() {
                return mountinfo::read();
            }
        }
        Ok(Vec::new())
    }
}

impl Hierarchy {
    fn move_to(&mut self, mount: &Mounted) -> bool {
        mount.point.trim_start_matches('/').clone_into(&mut self.mount);
        true
    }
}

fn root_of<'a>(mounts: &'a [Mounted], hierarchy: &Hierarchy) -> &'a str {
    let same = |mount: &&Mounted| {
        if hierarchy.controllers.is_empty() {
            mount.version_2
        } else {
            mount.has(&hierarchy.controllers)
        }
    };
    mounts.iter().find(same).map_or("/", |mount| &mount.root)
}

/// The own cgroup as seen below the root of a mount.
fn below_root<'a>(own: &'a str, root: &str) -> &'a str {
    match own.strip_prefix(root.trim_end_matches('/')) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => own,
    }
}

fn parent(path: &str) -> &str {
    path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn first(controllers: &str) -> &str {
    controllers.split(',').next().unwrap_or(controllers)
}

/// The type of the file system there; `None` where nothing is.
fn kind(path: &Path) -> Result<Option<FsType>> {
    match statfs(path) {
        Ok(info) => Ok(Some(info.filesystem_type())),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(None),
        // Taken for nothing, a hierarchy would be left out, and with it the limits.
        Err(errno) => Err(errno).attempt_on("look at the file system", path),
    }
}

/// Splits `/proc/self/cgroup` into the v1 hierarchies and the v2 one (cgroups(7)).
fn parse_membership(text: &str) -> (Vec<Hierarchy>, Option<Hierarchy>) {
    let mut unified = None;
    let mut hierarchies = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(own)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let hierarchy = Hierarchy {
            controllers: controllers.to_owned(),
            mount: controllers.strip_prefix("name=").unwrap_or(controllers).to_owned(),
            own: if is_usable(own) { own.to_owned() } else { "/".to_owned() },
        };
        if number == "0" {
            unified = Some(hierarchy);
        } else {
            hierarchies.push(hierarchy);
        }
    }
    (hierarchies, unified)
}

/// Whether the caller's own cgroup can be found by its name: it is neither removed nor outside of
/// the caller's cgroup namespace, where the name begins with `/..`.
fn is_usable(own: &str) -> bool {
    !own.ends_with(" (deleted)") && !own.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "4:memory:/own\n3:name=systemd:/\n1:cpu,cpuacct:/\n0::/x/y\n";

    fn layout(text: &str) -> Layout {
        let (hierarchies, unified) = parse_membership(text);
        Layout { base: BASE.into(), hierarchies, unified }
    }

    #[test]
    fn versions() {
        assert_eq!(layout(HYBRID).version(), Version::Hybrid);
        assert_eq!(layout("0::/\n").version(), Version::V2);
        assert_eq!(layout("1:cpu:/\n").version(), Version::V1);
        assert!(layout(HYBRID).has_v1("cpuacct"));
        assert!(!layout(HYBRID).has_v1("pids"));
    }

    #[test]
    fn absolute_paths_start_at_the_root() {
        let id = "c".parse().expect("id");
        let record = layout(HYBRID).place(&id, Some("/docker/c")).expect("placed");
        let paths = record.paths();
        assert_eq!(paths["memory"], Path::new("/sys/fs/cgroup/memory/docker/c"));
        assert_eq!(paths["name=systemd"], Path::new("/sys/fs/cgroup/systemd/docker/c"));
        assert_eq!(paths["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/c"));
    }

    #[test]
    fn an_own_cgroup_out_of_sight_is_not_used() {
        let id = "c".parse().expect("id");
        for text in ["0::/../../x\n", "0::/x (deleted)\n"] {
            let record = layout(text).place(&id, None).expect("placed");
            assert_eq!(record.paths()[""], Path::new("/sys/fs/cgroup/c"));
        }
    }

    #[test]
    fn on_v2_a_relative_path_lies_beside_the_own_cgroup() {
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "");
        assert_eq!(parent("/"), "");
    }

    #[test]
    fn the_root_of_a_mount_is_taken_off() {
        assert_eq!(below_root("/docker/x/y", "/docker/x"), "/y");
        assert_eq!(below_root("/docker/xy", "/docker/x"), "/docker/xy");
        assert_eq!(below_root("/a", "/"), "/a");
    }

    #[test]
    fn mounts_for_a_container() {
        let id = "c".parse().expect("id");
        let record = layout(HYBRID).place(&id, Some("/c")).expect("placed");
        let points = Layout::mount_points(&record);
        assert_eq!(points[1].name, "systemd");
        assert_eq!(points[1].options, "none,name=systemd");
        assert_eq!(points[2].links, ["cpu", "cpuacct"]);
        assert_eq!(points.len(), 3);
    }
}
