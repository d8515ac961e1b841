//! What a container is doing: derived from the process, never stored alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::unistd::{Uid, User};
use serde::{Serialize, Serializer};

use super::{Container, Known};
use crate::error::Result;
use crate::state::{Beginning, Reader, Record, START_SOCKET};

/// The time of a creation that had not even written down when it began.
const NEVER: &str = "0001-01-01T00:00:00Z";

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
            Known::Creating { beginning, init, locked } => {
                let pid = if *locked { *init } else { 0 };
                return Ok(self.incomplete(beginning.as_ref(), self.status()?, pid));
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

    fn incomplete(&self, beginning: Option<&Beginning>, status: Status, pid: i32) -> State {
        let path = |of: fn(&Beginning) -> &PathBuf| beginning.map(of).cloned().unwrap_or_default();
        State {
            oci_version: crate::spec::OCI_VERSION.to_owned(),
            id: self.id.to_string(),
            pid,
            status,
            bundle: path(|known| &known.bundle),
            rootfs: path(|known| &known.rootfs),
            // Go programs parse it, and an empty text is no time.
            created: beginning.map_or_else(|| NEVER.to_owned(), |known| known.created.clone()),
            annotations: BTreeMap::new(),
            owner: beginning.map(|known| owner(known.owner)).unwrap_or_default(),
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
        match self.is_frozen(record) {
            Ok(true) => return Ok(Status::Paused),
            Ok(false) => {}
            // It has ended since, and its cgroups may be gone.
            Err(_) if record.init.open().is_none() => return Ok(Status::Stopped),
            Err(error) => return Err(error),
        }
        let waits = Reader::open(self.runtime.root(), &self.id)?.has(START_SOCKET);
        Ok(if waits { Status::Created } else { Status::Running })
    }

    fn is_frozen(&self, record: &Record) -> Result<bool> {
        Ok(!record.cgroup.is_empty() && self.cgroup()?.frozen()?)
    }
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
