//! The configuration of a container: `config.json`, and the process files of `exec`.
//!
//! The types follow the [runtime specification](https://github.com/opencontainers/runtime-spec)
//! field by field; names that are keywords or that need explanation differ and say so. They are
//! plain data: an embedder may fill them by hand, and [`Spec::validate`] then checks them as it
//! checks a file.
//!
//! Reading is strict where a mistake would change what the container may do (types, ids, ranges,
//! unknown names of namespaces and limits) and lenient where the specification asks for it (unknown
//! properties, unknown capabilities). An error names the field, its line and its column.

mod capabilities;
mod hooks;
mod linux;
mod mounts;
pub(crate) mod number_list;
mod object;
mod process;
pub mod resources;
mod scan;
pub mod seccomp;
mod source;
pub(crate) mod sysctl;
mod validate;

#[cfg(feature = "oci-spec")]
mod oci;

use std::collections::BTreeMap;
use std::path::Path;

pub use capabilities::{CAPABILITY_NAMES, Capabilities, CapabilitySet};
pub use hooks::{Hook, Hooks};
pub use linux::{
    Device, DeviceKind, IdMapping, IntelRdt, Linux, MemoryPolicy, MemoryPolicyFlag,
    MemoryPolicyMode, Namespace, NamespaceKind, NetDevice, Personality, PersonalityDomain,
    Propagation, TimeOffset,
};
pub use mounts::{Mount, Root};
pub use process::{
    ConsoleSize, ExecCpuAffinity, IoPriority, IoPriorityClass, Process, Rlimit, RlimitResource,
    Scheduler, SchedulerFlag, SchedulerPolicy, User,
};
pub use resources::Resources;
pub use seccomp::Seccomp;
pub(crate) use validate::{check_mounts, net_device_field};

use crate::error::{Error, ErrorKind, Result};
use object::object;

/// The major version of the runtime specification that is understood.
pub const OCI_MAJOR_VERSION: u64 = 1;

/// The version of the runtime specification that this library implements.
pub const OCI_VERSION: &str = "1.3.0";

object! {
    /// A container's configuration (config.md).
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Spec {
        /// The version of the specification that it was written for.
        pub oci_version: String = required "ociVersion",
        /// The host name in the container.
        pub hostname: Option<String> = "hostname",
        /// The NIS domain name in the container.
        pub domainname: Option<String> = "domainname",
        /// The root file system.
        pub root: Root = required "root",
        /// The mounts, in order.
        pub mounts: Vec<Mount> = "mounts",
        /// The program; a container without one can be created but not started.
        pub process: Option<Process> = "process",
        /// Programs to run at points of the container's life.
        pub hooks: Hooks = "hooks",
        /// Free metadata.
        pub annotations: BTreeMap<String, String> = "annotations",
        /// What only Linux has.
        pub linux: Linux = "linux",
    }

    /// Which platforms a configuration speaks of.
    struct Platforms {
        linux: Option<serde_json::Value> = "linux",
        solaris: Option<serde_json::Value> = "solaris",
        windows: Option<serde_json::Value> = "windows",
        vm: Option<serde_json::Value> = "vm",
        zos: Option<serde_json::Value> = "zos",
        freebsd: Option<serde_json::Value> = "freebsd",
    }
}

/// Something read from a file, with what its author should be told.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// What was read, validated.
    pub value: T,
    /// What is odd but no error, in words for the user.
    pub warnings: Vec<String>,
}

impl Spec {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] with field, line and column when the content is at fault, when
    /// the file is larger than 64 MiB or not a regular file; else the failed system call.
    pub fn load(path: &Path) -> Result<Loaded<Self>> {
        Self::parse(&source::read(path)?).map_err(|error| error.context(name_of(path)))
    }

    /// Parses and validates the text of a `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] with field, line and column.
    pub fn parse(text: &[u8]) -> Result<Loaded<Self>> {
        let mut value: Self =
            source::parse(text).map_err(|error| prefer_platform_error(text, error))?;
        let mut warnings = Vec::new();
        value.normalize(&mut warnings);
        if value.linux == Linux::default() {
            check_platform(text)?;
        }
        value.validate().map_err(|error| source::locate(text, error))?;
        Ok(Loaded { value, warnings })
    }
}

impl Process {
    /// Reads and validates a process file, as `exec --process` takes it.
    ///
    /// # Errors
    /// As [`Spec::load`].
    pub fn load(path: &Path) -> Result<Loaded<Self>> {
        Self::parse(&source::read(path)?).map_err(|error| error.context(name_of(path)))
    }

    /// Parses and validates the text of a process file.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse(text: &[u8]) -> Result<Loaded<Self>> {
        let mut value: Self = source::parse(text)?;
        let mut warnings = Vec::new();
        value.normalize(&mut warnings);
        value.validate("").map_err(|error| source::locate(text, error))?;
        Ok(Loaded { value, warnings })
    }
}

object! {
    /// A file with nothing but mounts, or a configuration of which nothing else is looked at.
    struct Mounts {
        mounts: Vec<Mount> = required "mounts",
    }
}

impl Mount {
    /// Parses and validates mounts as the command `mounts` takes them: a list, or an object with the key
    /// `mounts` as in `config.json`.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse_list(text: &[u8]) -> Result<Loaded<Vec<Self>>> {
        let list = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let mut value: Vec<Self> =
            if list { source::parse(text)? } else { source::parse::<Mounts>(text)?.mounts };
        let mut warnings = Vec::new();
        validate::normalize_mounts(&mut value, &mut warnings);
        validate::check_mounts(&value).map_err(|error| source::locate(text, error))?;
        Ok(Loaded { value, warnings })
    }
}

impl Resources {
    /// Parses the limits of a file as `update` takes it: `linux.resources` alone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] with field, line and column.
    pub fn parse(text: &[u8]) -> Result<Self> {
        source::parse(text)
    }
}

fn name_of(path: &Path) -> String {
    path.display().to_string()
}

/// A configuration for another platform lacks what Linux needs; then the platform is the fault.
fn prefer_platform_error(text: &[u8], error: Error) -> Error {
    match check_platform(text) {
        Err(platform) => platform,
        Ok(()) => error,
    }
}

/// Refuses a configuration that speaks of other platforms and not of Linux.
fn check_platform(text: &[u8]) -> Result<()> {
    let Ok(platforms) = source::parse::<Platforms>(text) else {
        return Ok(());
    };
    if platforms.linux.is_some() {
        return Ok(());
    }
    let others = [
        ("solaris", platforms.solaris),
        ("windows", platforms.windows),
        ("vm", platforms.vm),
        ("zos", platforms.zos),
        ("freebsd", platforms.freebsd),
    ];
    match others.into_iter().find(|(_, present)| present.is_some()) {
        Some((name, _)) => Err(source::locate(
            text,
            Error::new(
                ErrorKind::Unsupported,
                "the configuration is for another platform than Linux",
            )
            .with_field(name)
            .with_hint("a `linux` section is needed"),
        )),
        None => Ok(()),
    }
}
