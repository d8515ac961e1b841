//! Statistics in the messages of containerd: `io.containerd.cgroups.v1.Metrics` and
//! `io.containerd.cgroups.v2.Metrics`.

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use coracle::stats::Stats;

/// The figures as one of the two messages, by what the container's cgroup is.
/// `None`: not written yet.
pub(crate) fn metrics(_stats: &Stats) -> Option<Any> {
    None
}
