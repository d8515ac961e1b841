//! What a container is doing: derived from the process, never stored alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::unistd::{Uid, User};
use serde::{Serialize, Serializer};

use super::{Container, Known};
use crate::error::Result;
use crate::state::{Reader, START_SOCKET};

/// The status of a container (runtime-spec, runtime.md "State"; `paused` is the usual extension).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It is being created.
    Creating,
    /// It waits for the start.
    Created,
    /// Its program runs.
    Running,
    /// Its program is frozen.
    Paused,
    /// Its init process has ended or is ending.
    Stopped,
}

impl Status {
    /// The status as the state document spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The state document (runtime-spec, runtime.md "State") with the fields that runc adds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct State {
    /// The version of the specification that the configuration names.
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The pid of the init process in the caller's pid namespace; 0 when it is stopped.
    pub pid: i32,
    /// What it is doing.
    pub status: Status,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root file system.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Annotations of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who created it (the number if it has no name).
    pub owner: String,
}

impl Container {
    /// Its state now.
    ///
    /// # Errors
    /// The failure to read the state directory or the cgroup.
    pub fn state(&self) -> Result<State> {
        let record = match &self.known {
            Known::Created(record) => record,
            Known::Creating { bundle, init, locked } => {
                let status = if *locked { Status::Creating } else { Status::Stopped };
                return Ok(self.incomplete(bundle.clone(), status, *init));
            }
        };
        let status = self.status()?;
        let stopped = status == Status::Stopped;
        Ok(State {
            oci_version: record.oci_version.clone(),
            id: self.id.to_string(),
            pid: if stopped { 0 } else { record.init.pid },
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: owner(record.owner),
        })
    }

    fn incomplete(&self, bundle: PathBuf, status: Status, pid: i32) -> State {
        State {
            oci_version: crate::spec::OCI_VERSION.to_owned(),
            id: self.id.to_string(),
            pid: if status == Status::Creating { pid } else { 0 },
            status,
            bundle,
            rootfs: PathBuf::new(),
            created: String::new(),
            annotations: BTreeMap::new(),
            owner: String::new(),
        }
    }

    /// Its status now, without the rest of the document.
    pub(super) fn status(&self) -> Result<Status> {
        let record = match &self.known {
            Known::Created(record) => record,
            Known::Creating { locked: true, .. } => return Ok(Status::Creating),
            Known::Creating { .. } => return Ok(Status::Stopped),
        };
        if record.init.open().is_none() {
            return Ok(Status::Stopped);
        }
        let frozen = !record.cgroup.is_empty() && self.cgroup()?.frozen()?;
        if frozen {
            return Ok(Status::Paused);
        }
        let waits = Reader::open(self.runtime.root(), &self.id)?.has(START_SOCKET);
        Ok(if waits { Status::Created } else { Status::Running })
    }
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
