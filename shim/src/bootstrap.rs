//! What `start` is given and what it answers, which differ between the versions of containerd.
//!
//! | containerd | standard input | answer |
//! | --- | --- | --- |
//! | 1.6 | options or nothing | the address |
//! | 1.7 to 2.2 | options or nothing | JSON |
//! | 2.3 and newer | `BootstrapParams` | `BootstrapResult` |

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use log::LevelFilter;
use serde::Deserialize;

use crate::failure::Failure;
use crate::flags::Flags;
use crate::message::encode;
use crate::options::Options;
use crate::sha256;

/// How much of standard input is read.
const INPUT: u64 = 10 << 20;

/// Where sockets are unless containerd names another place.
const SOCKETS: &str = "/run/containerd/s";

/// A longer directory leaves no room for the name in an address of a socket.
const SOCKETS_LENGTH: usize = 42;

/// Annotations that name the group of a container, the first one first.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Plain,
    Json,
    Message,
}

/// What `start` was given.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    protocol: Protocol,
    /// Containerd's ttrpc socket.
    pub(crate) ttrpc_address: String,
    /// The options of the runtime.
    pub(crate) options: Options,
    /// How much is logged.
    pub(crate) level: LevelFilter,
    /// Where the socket goes.
    pub(crate) sockets: PathBuf,
}

impl Bootstrap {
    /// Reads standard input and the environment.
    ///
    /// # Errors
    /// Options that cannot be read; a place for sockets that is too long.
    pub(crate) fn read(flags: &Flags, input: impl Read) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        input.take(INPUT).read_to_end(&mut bytes)?;
        let level = if flags.debug { LevelFilter::Debug } else { LevelFilter::Info };
        match params(flags, &bytes) {
            Some(params) => Self::of_params(&params, level),
            None => Self::of_environment(flags, &bytes, level),
        }
    }

    fn of_environment(flags: &Flags, bytes: &[u8], level: LevelFilter) -> Result<Self, Failure> {
        let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let options = Any::parse_from_bytes(bytes).unwrap_or_default();
        Ok(Self {
            protocol: match given("MAX_SHIM_VERSION") {
                Some(_) => Protocol::Json,
                None => Protocol::Plain,
            },
            ttrpc_address: given("TTRPC_ADDRESS")
                .unwrap_or_else(|| format!("{}.ttrpc", flags.address)),
            options: Options::read(&options)?.unwrap_or_default(),
            level,
            sockets: PathBuf::from(SOCKETS),
        })
    }

    fn of_params(params: &BootstrapParams, level: LevelFilter) -> Result<Self, Failure> {
        let mut options = Options::default();
        let messages = params.extensions.iter().filter_map(|extension| extension.value.as_ref());
        for message in messages.filter(|message| Options::is_one(message)) {
            options = Options::read(message)?.unwrap_or_default();
        }
        let sockets = params.socket_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(SOCKETS);
        if sockets.len() > SOCKETS_LENGTH {
            return Err(Failure::invalid(format!(
                "the place for sockets {sockets:?} is longer than {SOCKETS_LENGTH} bytes"
            )));
        }
        Ok(Self {
            protocol: Protocol::Message,
            ttrpc_address: params.containerd_ttrpc_address.clone(),
            options,
            level: match params.log_level.value() {
                ..=-8 => LevelFilter::Trace,
                -7..=-1 => LevelFilter::Debug,
                0..=3 => level,
                4..=7 => LevelFilter::Warn,
                8.. => LevelFilter::Error,
            },
            sockets: PathBuf::from(sockets),
        })
    }

    /// The address of the socket for this group.
    pub(crate) fn address(&self, flags: &Flags, group: &str) -> String {
        let name = format!("{}/{}/{group}", flags.address, flags.namespace);
        format!("unix://{}/{}", self.sockets.display(), sha256::hex(&name))
    }

    /// What belongs on standard output. Older callers are told version 2: they cannot be told apart, and
    /// the oldest of them refuse version 3.
    ///
    /// # Errors
    /// None that can happen.
    pub(crate) fn answer(&self, address: &str) -> Result<Vec<u8>, Failure> {
        match self.protocol {
            Protocol::Plain => Ok(address.as_bytes().to_vec()),
            Protocol::Json => {
                let answer =
                    serde_json::json!({ "version": 2, "address": address, "protocol": "ttrpc" });
                Ok(answer.to_string().into_bytes())
            }
            Protocol::Message => encode(&BootstrapResult {
                version: 3,
                address: address.to_owned(),
                protocol: "ttrpc".to_owned(),
                ..BootstrapResult::default()
            }),
        }
    }
}

/// The parameters of newer versions. Options can be read as such too, but never with the right names.
fn params(flags: &Flags, bytes: &[u8]) -> Option<BootstrapParams> {
    let params = BootstrapParams::parse_from_bytes(bytes).ok()?;
    let own = params.instance_id == flags.id && params.namespace == flags.namespace;
    own.then_some(params)
}

/// The part of a configuration that names the group.
#[derive(Debug, Default, Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The group of the container in `bundle`: all of a group are served by one shim.
///
/// # Errors
/// The configuration cannot be read.
pub(crate) fn group(bundle: &Path, id: &str) -> Result<String, Failure> {
    let path = bundle.join("config.json");
    let told = |problem: String| Failure::invalid(format!("{}: {problem}", path.display()));
    let text = fs::read(&path).map_err(|error| told(error.to_string()))?;
    let found: Annotated =
        serde_json::from_slice(&text).map_err(|error| told(error.to_string()))?;
    let annotations = found.annotations.unwrap_or_default();
    let named = GROUPS.iter().find_map(|name| annotations.get(*name));
    Ok(named.map_or(id, String::as_str).to_owned())
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::protobuf::MessageField;
    use containerd_shim_protos::shim::oci;

    use super::*;

    fn flags() -> Flags {
        Flags {
            namespace: "n".to_owned(),
            id: "c".to_owned(),
            address: "/run/containerd.sock".to_owned(),
            ..Flags::default()
        }
    }

    fn options() -> Any {
        let options = oci::Options { systemd_cgroup: true, ..oci::Options::default() };
        crate::message::any("containerd.runc.v1", &options)
    }

    #[test]
    fn options_are_not_taken_for_parameters() {
        let bytes = options().write_to_bytes().expect("bytes");
        let bootstrap = Bootstrap::read(&flags(), bytes.as_slice()).expect("read");
        assert!(bootstrap.options.systemd_cgroup);
        assert_ne!(bootstrap.protocol, Protocol::Message);
    }

    #[test]
    fn parameters_are_answered_with_version_3() {
        let mut params = BootstrapParams::new();
        params.instance_id = "c".to_owned();
        params.namespace = "n".to_owned();
        params.containerd_ttrpc_address = "unix:///run/x.ttrpc".to_owned();
        params.socket_dir = Some("/run/elsewhere".to_owned());
        let mut extension = containerd_shim_protos::bootstrap_api::Extension::new();
        extension.value = MessageField::some(options());
        params.extensions.push(extension);
        let bytes = params.write_to_bytes().expect("bytes");
        let bootstrap = Bootstrap::read(&flags(), bytes.as_slice()).expect("read");
        assert!(bootstrap.options.systemd_cgroup);
        assert_eq!(bootstrap.ttrpc_address, "unix:///run/x.ttrpc");
        let address = bootstrap.address(&flags(), "g");
        assert!(address.starts_with("unix:///run/elsewhere/"), "{address}");
        let answer = bootstrap.answer(&address).expect("answer");
        let answer = BootstrapResult::parse_from_bytes(&answer).expect("message");
        assert_eq!((answer.version, answer.address), (3, address));
    }

    #[test]
    fn the_group_comes_from_the_annotations() {
        let dir = tempfile::tempdir().expect("directory");
        let write = |text: &str| fs::write(dir.path().join("config.json"), text).expect("write");
        write("{}");
        assert_eq!(group(dir.path(), "c"), Ok("c".to_owned()));
        write(r#"{"annotations":null}"#);
        assert_eq!(group(dir.path(), "c"), Ok("c".to_owned()));
        write(r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"s"}}"#);
        assert_eq!(group(dir.path(), "c"), Ok("s".to_owned()));
    }
}
