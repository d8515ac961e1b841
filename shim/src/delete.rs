//! The action `delete`: removes what is left of a container, whatever has become of its shim.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::MessageField;
use coracle::{ContainerId, Runtime};

use crate::failure::Failure;
use crate::flags::Flags;
use crate::message::{encode, timestamp};
use crate::options::Options;
use crate::rootfs::Rootfs;

/// As if it was killed by `SIGKILL`, which it was if it still ran.
const KILLED: u32 = 137;

/// Does it; returns what belongs on standard output. All may be gone already.
///
/// # Errors
/// What cannot be removed.
pub(crate) fn delete(flags: &Flags) -> Result<Vec<u8>, Failure> {
    let bundle = match flags.bundle.as_os_str().is_empty() {
        true => std::env::current_dir()?,
        false => flags.bundle.clone(),
    };
    let id: ContainerId = flags.id.parse()?;
    let root = Options::recorded(&bundle).state_root(&flags.namespace);
    if root.join(id.as_str()).exists() {
        Runtime::new(root).delete(&id, true)?;
    }
    Rootfs::at(bundle.join("rootfs")).unmount();
    remove_dead_socket(&bundle);
    let pid = fs::read_to_string(bundle.join("init.pid")).unwrap_or_default();
    encode(&DeleteResponse {
        pid: pid.trim().parse().unwrap_or_default(),
        exit_status: KILLED,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        ..DeleteResponse::default()
    })
}

/// Removes the socket that the bundle names, if nobody answers there.
fn remove_dead_socket(bundle: &Path) {
    let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
    let Some(socket) = address.trim().strip_prefix("unix://").map(PathBuf::from) else { return };
    let refused = UnixStream::connect(&socket)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    if refused {
        let _gone = fs::remove_file(&socket);
    }
}
