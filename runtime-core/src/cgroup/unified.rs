//! A container's directory in the cgroup v2 hierarchy: on a pure v2 host all there is, on a hybrid
//! host beside the v1 ones, for starting processes inside and for killing all at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;

use super::record::Place;
use super::setting::{Setting, missing_controller};
use super::tree::{Tree, read_path, write_file};
use crate::error::{Error, ErrorKind, Result};

/// The directory.
#[derive(Debug)]
pub(super) struct Unified {
    pub(super) place: Place,
    pub(super) directory: String,
    fd: OnceLock<OwnedFd>,
}

impl Unified {
    pub(super) fn new(place: &Place) -> Self {
        Self { place: place.clone(), directory: place.directory(), fd: OnceLock::new() }
    }

    /// The directory itself, opened at first use.
    pub(super) fn fd(&self, tree: &Tree) -> Result<BorrowedFd<'_>> {
        let open = match self.fd.get() {
            Some(open) => open,
            None => {
                let fresh = tree.directory(&self.directory).map_err(|errno| {
                    Error::system("open the cgroup", errno as i32)
                        .with_path(tree.absolute(&self.directory))
                })?;
                self.fd.get_or_init(|| fresh)
            }
        };
        Ok(open.as_fd())
    }

    /// The directory that a process of the container has moved to: itself or one below.
    pub(super) fn fd_of(&self, tree: &Tree, pid: i32) -> Result<OwnedFd> {
        let membership = read_path(&format!("/proc/{pid}/cgroup"))?;
        let path = membership.lines().find_map(|line| line.strip_prefix("0::"));
        let path = path.unwrap_or_default();
        let rest = path.trim_start_matches('/').strip_prefix(&*self.place.path);
        // A path that leads out of the hierarchy as it is mounted here shows "..".
        let inside = |rest: &&str| {
            (rest.is_empty() || rest.starts_with('/')) && !rest.split('/').any(|part| part == "..")
        };
        let Some(rest) = rest.filter(inside) else {
            let message = format!("process {pid} is not in the container's cgroup but in {path}");
            return Err(Error::new(ErrorKind::WrongStatus, message));
        };
        let directory = format!("{}{rest}", self.directory);
        tree.directory(&directory).map_err(|errno| {
            Error::system("open the cgroup", errno as i32).with_path(tree.absolute(&directory))
        })
    }

    /// Kills every process in the directory and below, at once and without a race with forks; it
    /// works on frozen ones too. `false`: this kernel cannot (before 5.14).
    pub(super) fn kill(&self, tree: &Tree) -> Result<bool> {
        match tree.write(&self.directory, "cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::ENODEV) => match tree.directory(&self.directory) {
                // The whole cgroup is gone, and its processes with it.
                Err(Errno::ENOENT) => Ok(true),
                _ => Ok(false),
            },
            Err(errno) => Err(Error::system("write \"1\" to", errno as i32)
                .with_path(tree.absolute(&format!("{}/cgroup.kill", self.directory)))),
        }
    }

    /// Makes the controllers of these settings available in the directory, by sharing them out
    /// from the root of the hierarchy down. What the user may not write above a delegated cgroup is
    /// left to those who own it; what is missing in the end is the error. Controllers in `wanted`
    /// are shared out too, but may fail.
    pub(super) fn enable(&self, tree: &Tree, settings: &[Setting], wanted: &[&str]) -> Result<()> {
        let here = self.controllers(tree)?;
        let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
        let lacks =
            |setting: &&Setting| setting.controller != "cgroup" && !has(&here, &setting.controller);
        let needed: Vec<&Setting> = settings.iter().filter(lacks).collect();
        let mut names: Vec<&str> = needed.iter().map(|setting| &*setting.controller).collect();
        names.extend(wanted.iter().filter(|name| !has(&here, name)));
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let mut last = None;
        for ancestor in self.place.ancestors() {
            for name in &names {
                let control = "cgroup.subtree_control";
                if let Err(errno) = tree.write(&ancestor, control, &format!("+{name}")) {
                    last = Some(errno);
                }
            }
        }
        let Some(first) = needed.first() else {
            return Ok(());
        };
        let here = self.controllers(tree)?;
        match needed.iter().find(|setting| !has(&here, &setting.controller)) {
            None => Ok(()),
            Some(setting) => Err(self
                .not_enabled(tree, setting, last)
                .context(format!("make the controllers for {} available", first.field))),
        }
    }

    fn not_enabled(&self, tree: &Tree, setting: &Setting, last: Option<Errno>) -> Error {
        let hint = match last {
            Some(Errno::ENOENT | Errno::EINVAL) => {
                "the kernel does not have it, or a cgroup v1 hierarchy does"
            }
            Some(Errno::EBUSY) => {
                "a cgroup above has processes of its own; choose another linux.cgroupsPath"
            }
            Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
                "it is not delegated to this user; ask systemd with Delegate=yes"
            }
            _ => "no cgroup above shares it out",
        };
        let error = missing_controller(setting, hint).with_path(tree.absolute(&self.directory));
        match last {
            Some(errno) => error.with_errno(errno as i32),
            None => error,
        }
    }

    fn controllers(&self, tree: &Tree) -> Result<Vec<String>> {
        let text = tree.read(&self.directory, "cgroup.controllers").map_err(|errno| {
            Error::system("read", errno as i32)
                .with_path(tree.absolute(&format!("{}/cgroup.controllers", self.directory)))
        })?;
        Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// Writes one of the files of the directory.
    pub(super) fn write(&self, tree: &Tree, file: &str, value: &str) -> Result<()> {
        write_file(self.fd(tree)?, file, value).map_err(|errno| {
            Error::system(format!("write {value:?} to"), errno as i32)
                .with_path(tree.absolute(&format!("{}/{file}", self.directory)))
        })
    }
}
