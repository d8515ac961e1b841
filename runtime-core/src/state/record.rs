//! What later commands need to know about a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::plan::{IdMaps, StateDocument};
use crate::rdt;
use crate::seccomp::Address;
use crate::spec::{Hooks, MemoryPolicy, Personality, Process, Propagation};

/// The version of the schema; raised when an older library could misread a newer record.
pub(crate) const VERSION: u32 = 1;

/// The content of `state.json`, written once when the container is created.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// [`VERSION`] of the library that wrote it.
    pub(crate) version: u32,
    /// `ociVersion` of the configuration.
    pub(crate) oci_version: String,
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    /// The root file system on the host.
    pub(crate) rootfs: PathBuf,
    /// When the container was created, RFC 3339 with nanoseconds.
    pub(crate) created: String,
    /// The init process.
    pub(crate) init: Identity,
    /// The user id that created the container.
    pub(crate) owner: u32,
    /// Annotations of the configuration.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The cgroups that were made for it.
    pub(crate) cgroup: cgroup::Record,
    /// Its place in the resctrl file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<rdt::Group>,
    /// The `CLONE_NEW*` kinds of the namespaces that differ from the caller's.
    pub(crate) namespaces: u64,
    /// Those of them that it has joined and shares with others.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) joined: u64,
    /// Whether it lives below a root of its own in a mount namespace of others.
    #[serde(default)]
    pub(crate) shares_mounts: bool,
    /// The maps of its user namespace, where it was made for it or the configuration names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id_maps: Option<IdMaps>,
    /// `linux.mountLabel`, for mounts that are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mount_label: Option<String>,
    /// `linux.rootfsPropagation`, for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rootfs_propagation: Option<Propagation>,
    /// The process settings, with which further processes are started.
    pub(crate) process: Option<Process>,
    /// The execution domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) personality: Option<Personality>,
    /// The NUMA memory policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// Whether it has a session keyring of its own.
    #[serde(default)]
    pub(crate) keyring: bool,
    /// The hooks that are still to run.
    pub(crate) hooks: Hooks,
    /// Whether there is a file `filter`: the seccomp filter as the init program receives it.
    pub(crate) filter: bool,
    /// The agent that gets the listener of every process's filter, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<Address>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// [`ErrorKind::System`] for bytes that are no record, [`ErrorKind::Unsupported`] for one of a
    /// newer library.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let broken = |error: serde_json::Error| {
            Error::new(ErrorKind::System, format!("the state is broken: {error}"))
                .with_hint("delete --force removes the container all the same")
        };
        let version: Versioned = serde_json::from_slice(bytes).map_err(broken)?;
        if version.version > VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the state was written by a newer version (schema {})", version.version),
            ));
        }
        serde_json::from_slice(bytes).map_err(broken)
    }

    /// Whether it is in a namespace of this kind (`CLONE_NEW*`) that is not the caller's.
    pub(crate) fn has(&self, kind: libc::c_int) -> bool {
        self.namespaces & u64::from(kind.cast_unsigned()) != 0
    }

    /// Whether the end of its init process is the end of all its processes.
    pub(crate) fn has_pid_namespace(&self) -> bool {
        self.has(libc::CLONE_NEWPID)
    }

    /// What hooks read of the container in this status.
    pub(crate) fn document(&self, id: &ContainerId, status: &str) -> StateDocument {
        StateDocument::new(&self.oci_version, id, status, &self.bundle, &self.annotations)
    }

    /// The record as bytes.
    ///
    /// # Errors
    /// A path that is not valid UTF-8.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::System, format!("encode the state: {error}")))
    }
}

fn is_none(kinds: &u64) -> bool {
    *kinds == 0
}

/// The part of a record that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}
