//! Opening what a plan needs from the host, before anything is started.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{self, OFlag};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::Mode;

use super::node::{self, MadeNode};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::plan::{self, IdMaps, MountIds, Plan, Source};
use crate::program::MAX_SLOTS;
use crate::spec::NamespaceKind;
use crate::sys::{self, mount};

/// What only the caller of [`open`] knows.
pub(crate) trait Resolver {
    /// The path on which the start socket is bound.
    fn start_socket(&self) -> Result<PathBuf>;
    /// The container's directory in the v1 hierarchy of this name.
    fn cgroup(&self, hierarchy: &str) -> Result<PathBuf>;
    /// Where a device node can be made, for each index another path.
    fn node(&self, index: usize) -> Result<PathBuf>;
    /// A user namespace with these maps.
    fn user_namespace(&self, maps: &IdMaps) -> Result<OwnedFd>;
    /// The pidfd of the container's init process.
    fn init(&self) -> Result<OwnedFd>;
    /// The root directory of that process.
    fn init_root(&self) -> Result<OwnedFd>;
    /// The standard stream of this number, where it is not the caller's.
    fn stream(&self, number: usize) -> Result<OwnedFd>;
}

/// The opened sources.
#[derive(Debug)]
pub(crate) struct Opened {
    /// One descriptor for each slot, in their order.
    pub(crate) slots: Vec<OwnedFd>,
    /// The nodes that were made, which must exist until they are attached.
    pub(crate) nodes: Vec<MadeNode>,
}

/// Opens all sources of a plan.
///
/// # Errors
/// The failure of the system call, with the field and the path.
pub(crate) fn open(plan: &Plan, resolver: &dyn Resolver) -> Result<Opened> {
    if plan.sources.len() > MAX_SLOTS {
        let message = format!("more than {MAX_SLOTS} mounts and namespaces");
        return Err(Error::new(ErrorKind::Unsupported, message).with_field("mounts"));
    }
    for (device, origin) in &plan.shown_devices {
        node::check(device).map_err(|error| origin.blame(error))?;
    }
    let mut opened = Opened { slots: Vec::with_capacity(plan.sources.len()), nodes: Vec::new() };
    for (source, origin) in &plan.sources {
        let fd = open_one(source, resolver, &mut opened.nodes);
        let fd = fd.map_err(|error| origin.blame(error))?;
        let mapped = match source {
            Source::MappedTree { path, ids, whole, .. } => {
                map_ids(fd.as_fd(), ids, *whole, resolver).map_err(|error| error.with_path(path))
            }
            Source::MappedFilesystem { ids, .. } => map_ids(fd.as_fd(), ids, false, resolver),
            _ => Ok(()),
        };
        mapped.map_err(|error| origin.part("uidMappings").blame(error))?;
        opened.slots.push(fd);
    }
    Ok(opened)
}

fn open_one(
    source: &Source,
    resolver: &dyn Resolver,
    nodes: &mut Vec<MadeNode>,
) -> Result<OwnedFd> {
    match source {
        Source::Tree { path, recursive } | Source::MappedTree { path, recursive, .. } => {
            tree(path, *recursive)
        }
        Source::MappedFilesystem { kind, source, options, attributes, .. } => {
            filesystem((kind, source), options, *attributes)
        }
        Source::Node(wanted) => {
            let (made, tree) = MadeNode::new(resolver.node(nodes.len())?, wanted)?;
            nodes.push(made);
            Ok(tree)
        }
        Source::Cgroup { hierarchy } => tree(&resolver.cgroup(hierarchy)?, false),
        Source::Namespace { path, kind } => {
            let namespace = namespace(path)?;
            check_kind(namespace.as_fd(), *kind).map_err(|error| error.with_path(path))?;
            Ok(namespace)
        }
        Source::StartSocket => start_socket(&resolver.start_socket()?),
        Source::InitPidfd => resolver.init(),
        Source::InitRoot => resolver.init_root(),
        Source::Stream(number) => resolver.stream(*number),
    }
}

fn namespace(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    fcntl::open(path, flags, Mode::empty()).attempt_on("open the namespace", path)
}

fn check_kind(namespace: BorrowedFd<'_>, wanted: NamespaceKind) -> Result<()> {
    let Some(found) = sys::namespace::flag(namespace).attempt("ask for the type of a namespace")?
    else {
        return Err(Error::new(ErrorKind::InvalidSpec, "is the file of no namespace:"));
    };
    let kind = NamespaceKind::ALL.iter().find(|kind| plan::namespace_flag(**kind) == found);
    if kind == Some(&wanted) {
        return Ok(());
    }
    let message = format!(
        "is a namespace of type {}, not {}:",
        kind.map_or("unknown", |kind| kind.name()),
        wanted.name()
    );
    Err(Error::new(ErrorKind::InvalidSpec, message))
}

fn map_ids(
    tree: BorrowedFd<'_>,
    ids: &MountIds,
    whole: bool,
    resolver: &dyn Resolver,
) -> Result<()> {
    let namespace = match ids {
        MountIds::Maps(maps) => resolver.user_namespace(maps)?,
        MountIds::Namespace(path) => namespace(path)?,
    };
    mount::map_ids(tree, namespace.as_fd(), whole).attempt("map the ids of the mount").map_err(
        |error| match error.errno() {
            Some(libc::EINVAL) => {
                error.with_hint("the kernel has no id-mapped mounts for this file system (for tmpfs from Linux 6.3 on)")
            }
            Some(libc::EPERM) => error.with_hint(
                "the file system must belong to the caller's user namespace, and have no ids of its own yet",
            ),
            _ => error,
        },
    )
}

/// A new file system that is mounted nowhere.
fn filesystem((kind, source): (&CStr, &CStr), options: &[u8], attributes: u64) -> Result<OwnedFd> {
    let name = kind.to_string_lossy();
    let fs = mount::fsopen(kind).attempt(&format!("make a {name}"))?;
    let set = |key: &CStr, value: Option<&CStr>| {
        let step = format!("set the option {} of a {name}", key.to_string_lossy());
        mount::fsconfig_set(fs.as_fd(), key, value).attempt(&step)
    };
    set(c"source", Some(source))?;
    for option in options.split_inclusive(|byte| *byte == 0) {
        let equals = option.iter().position(|byte| *byte == b'=');
        let (key, value) = option.split_at(equals.unwrap_or(option.len()));
        let key: Vec<u8> = key.iter().copied().filter(|byte| *byte != 0).collect();
        let Ok(key) = CString::new(key) else { continue };
        set(&key, value.get(1..).and_then(|value| CStr::from_bytes_until_nul(value).ok()))?;
    }
    let made = mount::fsmount(fs.as_fd(), attributes);
    made.attempt(&format!("make a {name} with these options"))
}

pub(super) fn tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| {
        Error::new(ErrorKind::InvalidSpec, "the path contains a NUL byte").with_path(path)
    })?;
    mount::open_tree(&text, recursive).attempt_on("open the source", path)
}

/// A listening socket that only the owner of the state root can reach.
fn start_socket(path: &Path) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd =
        socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).attempt("make a socket")?;
    let address = UnixAddr::new(path).attempt_on("name the start socket", path)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)
        .attempt_on("bind the start socket", path)?;
    listen(&fd.as_fd(), Backlog::new(1).unwrap_or(Backlog::MAXCONN)).attempt("listen")?;
    Ok(fd)
}

/// Makes sure that the last of the descriptors promised to the payload exists. Callers leave gaps
/// below: Podman passes one descriptor of a high number as a count up to it.
///
/// # Errors
/// [`ErrorKind::InvalidSpec`] naming it.
pub(crate) fn check_kept(keep_fds: u32) -> Result<()> {
    let Some(above) = keep_fds.checked_sub(1) else { return Ok(()) };
    let fd = above.saturating_add(3);
    let path = format!("/proc/self/fd/{fd}");
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    if fcntl::open(path.as_str(), flags, Mode::empty()).is_err() {
        let message = format!("file descriptor {fd} is to be preserved but is not open");
        return Err(Error::new(ErrorKind::InvalidSpec, message));
    }
    Ok(())
}
