//! What the caller chooses about criu.

use std::path::PathBuf;

/// What [`Container::checkpoint`](crate::Container::checkpoint) and
/// [`Runtime::restore`](crate::Runtime::restore) tell criu alike.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CriuOptions {
    /// The directory of the images; a checkpoint makes it.
    pub images: PathBuf,
    /// The directory for criu's log and for what it needs meanwhile, which is made; `None`: that of the
    /// images.
    pub work: Option<PathBuf>,
    /// criu's program; `None`: `criu`, looked up in `$PATH`.
    pub program: Option<PathBuf>,
    /// Take connections of TCP over. Both ends must stay where they are.
    pub tcp_established: bool,
    /// Close connections of TCP: programs find them broken. (At a restore; from criu 4.0 on at a
    /// checkpoint too.)
    pub tcp_close: bool,
    /// Leave connections of TCP out that are being made.
    pub tcp_skip_in_flight: bool,
    /// Allow unix sockets whose other end is outside of the container.
    pub external_unix_sockets: bool,
    /// Allow a session and a terminal that began outside of the container.
    pub shell_job: bool,
    /// Take file locks over.
    pub file_locks: bool,
    /// Leave memory where it is, for `criu lazy-pages` to fetch when it is needed (userfaultfd(2)).
    pub lazy_pages: bool,
    /// Remove memory from the images of earlier dumps that later ones have again.
    pub auto_dedup: bool,
    /// Give files that were unlinked while open a name, for file systems where criu cannot copy them.
    pub link_remap: bool,
    /// What becomes of cgroups; `None` leaves it to criu, which does as with [`CgroupsMode::Soft`].
    pub cgroups: Option<CgroupsMode>,
    /// How packets are held back while a container with connections is neither here nor there; `None`
    /// leaves it to criu.
    pub network_lock: Option<NetworkLock>,
}

/// What criu does about cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Properties are restored of those that criu has made.
    Soft,
    /// Properties are always restored.
    Full,
    /// As full, and a cgroup that exists already is an error.
    Strict,
    /// Nothing: processes stay where criu is.
    Ignore,
}

/// How criu holds packets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkLock {
    /// With iptables.
    Iptables,
    /// With nftables (criu 3.18).
    Nftables,
    /// Not at all (criu 3.18).
    Skip,
}

/// Where memory goes instead of into the images: `criu page-server` on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageServer {
    /// Its address or name.
    pub address: String,
    /// Its port.
    pub port: u16,
}
