//! Statistics in the messages of containerd: `io.containerd.cgroups.v1.Metrics` and
//! `io.containerd.cgroups.v2.Metrics`.
//!
//! What the message has no place for is left out, and what the kernel does not account for stays zero.
//! A limit that is not set is the greatest number, except that of tasks on cgroup v1, which is 0: as
//! containerd's own shim tells it.

mod v1;
mod v2;

use std::path::Path;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{self, Message};
use coracle::stats::Stats;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// The figures as one of the two messages, by what the host's cgroups are.
///
/// # Errors
/// The message cannot be encoded.
pub(crate) fn metrics(stats: &Stats) -> protobuf::Result<Any> {
    if is_unified(Path::new("/sys/fs/cgroup")) {
        any("io.containerd.cgroups.v2.Metrics", &v2::metrics(stats))
    } else {
        any("io.containerd.cgroups.v1.Metrics", &v1::metrics(stats))
    }
}

/// Whether a directory belongs to the cgroup2 file system (statfs(2)).
fn is_unified(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn any(name: &str, message: &impl Message) -> protobuf::Result<Any> {
    let value = message.write_to_bytes()?;
    // containerd's types have no prefix in front of the name.
    Ok(Any { type_url: name.to_owned(), value, ..Any::default() })
}

#[cfg(test)]
mod tests;
