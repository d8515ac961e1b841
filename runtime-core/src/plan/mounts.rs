//! Steps 7 to 10: the root file system and the mounts.

use std::ffi::CString;
use std::path::Path;

use super::draft::{Draft, Handle, inner_path, list, text};
use super::mount_options::{Change, Options, attribute, propagation_flags};
use super::namespaces::Namespaces;
pub(super) use super::trees::copy;
use super::{Origin, cgroup_mount, filesystem, trees};
use crate::error::{Error, ErrorKind, Result};
use crate::program::{List, Step};
use crate::spec::{Mount, Propagation, Spec};

/// Files of procfs that may be mounted over (runc's list): they describe the machine, and
/// programs such as LXCFS show the container's share there instead.
const OVER_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// How a tree comes to be that the caller does not open.
#[derive(Clone, Debug)]
pub(super) enum Make {
    /// A copy of a mount of the host.
    Copy { path: CString, recursive: bool },
    /// A new file system.
    New { kind: CString, source: CString, options: Vec<u8>, attributes: u64, otherwise: CString },
    /// A new file system whose options go to the kernel as one text, with `MS_*` flags.
    Mount { kind: CString, source: CString, data: CString, flags: u64 },
}

impl Make {
    /// Leaves a new file system writable; whether it was to be read-only.
    pub(super) fn take_readonly(&mut self) -> bool {
        let Self::New { attributes, .. } = self else { return false };
        let readonly = *attributes & libc::MOUNT_ATTR_RDONLY != 0;
        *attributes &= !libc::MOUNT_ATTR_RDONLY;
        readonly
    }
}

/// A tree and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) tree: Handle,
    /// Absent: the caller opens it.
    pub(super) make: Option<Make>,
    pub(super) target: CString,
    pub(super) set: u64,
    pub(super) clear: u64,
    pub(super) set_recursive: u64,
    pub(super) clear_recursive: u64,
    pub(super) propagation: (u64, bool),
    pub(super) over_proc: bool,
    pub(super) no_symlink: bool,
    /// A tmpfs that turns read-only when everything in it has been made: devices, links, the
    /// directories that other mounts go to. Podman asks for such a /dev in read-only pods.
    pub(super) sealed: bool,
    /// A tmpfs takes the mode of the directory that it covers.
    pub(super) keep_mode: bool,
    /// A tmpfs takes a copy of what it covers.
    pub(super) copy: bool,
}

/// One thing to do inside the root file system.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Attach(Box<Attachment>),
    Reattribute { target: CString, change: Change, propagation: u64, recursive: bool },
    Reconfigure { target: CString, options: Vec<u8> },
    Symlink { target: CString, path: CString },
    SymlinkIfThere { needs: CString, target: CString, path: CString },
    ReplaceBySymlink { target: CString, path: CString },
    Device { path: CString, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 },
}

impl Action {
    /// Changes attributes of a mount that is there.
    pub(super) const fn reattribute(target: CString, change: Change, recursive: bool) -> Self {
        Self::Reattribute { target, change, propagation: 0, recursive }
    }

    /// Changes how the events of a mount that is there travel.
    pub(super) fn propagate(target: CString, propagation: Propagation) -> Self {
        let (propagation, recursive) = propagation_flags(propagation);
        Self::Reattribute { target, change: Change::default(), propagation, recursive }
    }
}

/// An action with the field it comes from.
pub(super) type Planned = (Action, Origin);

/// What the planning of mounts depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) spec: &'a Spec,
    pub(super) bundle: &'a Path,
    pub(super) namespaces: &'a Namespaces,
}

impl Setting<'_> {
    /// Whether the container's own privilege counts for less than the host's: in a user namespace.
    pub(super) fn is_confined(&self, draft: &Draft<'_>) -> bool {
        self.namespaces.has_user() || draft.host.user_namespace
    }
}

/// Plans all mounts of the configuration.
pub(super) fn gather(setting: Setting<'_>, draft: &mut Draft<'_>) -> Result<Vec<Planned>> {
    let mut planned = Vec::with_capacity(setting.spec.mounts.len() + 20);
    for (index, mount) in setting.spec.mounts.iter().enumerate() {
        let options = Options::parse(mount, index)?;
        gather_one(setting, draft, (index, mount, &options), &mut planned)?;
    }
    Ok(planned)
}

/// Plans one mount.
pub(super) fn gather_one(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    (index, mount, options): (usize, &Mount, &Options<'_>),
    planned: &mut Vec<Planned>,
) -> Result<()> {
    let origin = Origin::Element("mounts", index);
    trees::check_ids(mount, options, &origin)?;
    check_target(mount, index)?;
    let target = inner_path(&mount.destination, &origin)?;
    if options.remount {
        planned.extend(remount(options, &target, &origin)?);
        return Ok(());
    }
    if options.bind.is_none() && mount.kind.as_deref() == Some("cgroup") {
        planned.extend(cgroup_mount::gather(setting, draft, mount, options, &origin)?);
        return Ok(());
    }
    if options.copy_link
        && let Some(link) = mount.source.as_ref().and_then(|source| draft.host.links.get(source))
    {
        let link = text(link, &origin.part("source"))?;
        planned.push((Action::Symlink { target: link, path: target }, origin));
        return Ok(());
    }
    let (attachment, later) = match options.bind {
        Some(recursive) => bind(setting, draft, mount, (options, recursive, &origin))?,
        None => filesystem::gather(setting, draft, mount, options, &origin)?,
    };
    planned.push((Action::Attach(Box::new(attachment)), origin.clone()));
    planned
        .extend(later.iter().map(|one| (Action::propagate(target.clone(), *one), origin.clone())));
    Ok(())
}

/// Whether a mount may go to its destination, as far as that can be told from its name; the
/// init program asks the kernel what really is there.
fn check_target(mount: &Mount, index: usize) -> Result<()> {
    let path = &mount.destination;
    let fault = |words: &str| {
        Err(Error::new(ErrorKind::InvalidSpec, format!("{path:?} {words}"))
            .with_field(format!("mounts[{index}].destination")))
    };
    if path.components().any(|part| part.as_os_str() == "..") {
        return fault("contains `..`");
    }
    if path == Path::new("/") {
        return fault("is the root itself");
    }
    if path == Path::new("/proc") && !mount.is_bind() && mount.kind.as_deref() != Some("proc") {
        let remount = mount.options.iter().any(|option| option == "remount");
        return if remount { Ok(()) } else { fault("takes a proc or a bind mount only") };
    }
    if path.starts_with("/proc") && path != Path::new("/proc") && !is_over_proc(path) {
        return fault("is inside /proc, where only few files may be mounted over");
    }
    Ok(())
}

fn is_over_proc(path: &Path) -> bool {
    OVER_PROC.iter().any(|allowed| path == Path::new(allowed))
}

/// Changes of a mount that is there: each concerns only what the options name, so what is locked in a
/// user namespace stays as it is unless somebody asks for its end, which the kernel refuses.
fn remount(options: &Options<'_>, target: &CString, origin: &Origin) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    if !options.data.is_empty() {
        let options = list(&filesystem::options(&options.data), origin)?;
        planned.push((Action::Reconfigure { target: target.clone(), options }, origin.clone()));
    }
    for (change, recursive) in [(options.own, false), (options.tree, true)] {
        if change != Change::default() {
            let action = Action::reattribute(target.clone(), change, recursive);
            planned.push((action, origin.clone()));
        }
    }
    for one in &options.propagation {
        planned.push((Action::propagate(target.clone(), *one), origin.clone()));
    }
    Ok(planned)
}

/// The attachment, and how events travel that is to be set after it.
fn bind<'o>(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    mount: &Mount,
    (options, recursive, origin): (&'o Options<'_>, bool, &Origin),
) -> Result<(Attachment, &'o [Propagation])> {
    let (tree, make) = trees::bind(setting, draft, mount, (options, recursive, origin))?;
    let mut attachment = attach(mount, tree, make, origin)?;
    (attachment.set, attachment.clear) = (options.own.set, options.own.clear);
    if !draft.host.is_privileged() || draft.host.user_namespace {
        // Engines write `rw` for every volume, and read-only may be locked: as writable as the host has it.
        attachment.clear &= !attribute::RDONLY;
    }
    (attachment.set_recursive, attachment.clear_recursive) = (options.tree.set, options.tree.clear);
    let wanted = setting.spec.linux.rootfs_propagation;
    let shares = matches!(wanted, Some(Propagation::Shared | Propagation::RecursiveShared));
    let separate = match wanted {
        _ if shares => (0, false),
        None | Some(Propagation::Slave | Propagation::RecursiveSlave) => {
            (libc::MS_SLAVE, recursive)
        }
        Some(_) => (libc::MS_PRIVATE, recursive),
    };
    let (first, later) = match options.propagation.split_first() {
        None => (separate, &[][..]),
        // The source may be shared with the host, which the container's mounts must not reach: it
        // shares with its own copies only.
        Some((Propagation::Shared | Propagation::RecursiveShared, _))
            if !shares && draft.host.is_privileged() =>
        {
            (separate, options.propagation.as_slice())
        }
        Some((first, later)) => (propagation_flags(*first), later),
    };
    attachment.propagation = first;
    Ok((attachment, later))
}

/// An attachment without any change to the tree.
pub(super) fn attach(
    mount: &Mount,
    tree: Handle,
    make: Option<Make>,
    origin: &Origin,
) -> Result<Attachment> {
    let kind = mount.kind.as_deref();
    let special = matches!(kind, Some("proc" | "sysfs")) && !mount.is_bind();
    Ok(Attachment {
        tree,
        make,
        target: inner_path(&mount.destination, origin)?,
        set: 0,
        clear: 0,
        set_recursive: 0,
        clear_recursive: 0,
        propagation: (0, false),
        over_proc: is_over_proc(&mount.destination)
            || kind == Some("proc") && mount.destination == Path::new("/proc"),
        no_symlink: special || mount.destination == Path::new("/dev"),
        sealed: false,
        keep_mode: false,
        copy: false,
    })
}

/// The root file system.
#[derive(Debug)]
pub(super) struct RootTree {
    tree: Handle,
    make: Option<Make>,
    path: CString,
}

impl RootTree {
    pub(super) fn gather(root: &Path, draft: &mut Draft<'_>) -> Result<Self> {
        let origin = Origin::Field("root.path");
        let (tree, make) = copy(draft, root, true, &origin)?;
        Ok(Self { tree, make, path: text(root, &origin)? })
    }
}

/// Writes the mounts: the trees, the root, what goes inside.
pub(super) fn write(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    (root, null): (&RootTree, Option<(Handle, Option<&Make>)>),
    planned: &[Planned],
) {
    let private = matches!(
        setting.spec.linux.rootfs_propagation,
        Some(
            Propagation::Private
                | Propagation::RecursivePrivate
                | Propagation::Unbindable
                | Propagation::RecursiveUnbindable
        )
    );
    let propagation = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
    let from = Origin::Field("linux.rootfsPropagation");
    let from = if private { from } else { Origin::None };
    // Also where others live in the mount namespace, as runc does: the container's mounts would reach
    // whoever shares theirs with it, mostly the host.
    draft.push(&Step::Propagation { propagation }, from);
    if let Some((tree, make)) = null {
        write_make(draft, tree, make, &Origin::Field("linux.maskedPaths"));
    }
    let origin = Origin::Field("root.path");
    write_make(draft, root.tree, root.make.as_ref(), &origin);
    for (action, origin) in planned {
        if let Action::Attach(attachment) = action {
            write_make(draft, attachment.tree, attachment.make.as_ref(), origin);
        }
    }
    draft.push(&Step::Root { tree: draft.slot(root.tree), path: &root.path, propagation }, origin);
    for (action, origin) in planned {
        write_action(draft, action, origin.clone());
    }
}

/// Writes what makes the sealed mounts read-only, except those that another mount covers.
pub(super) fn write_seals(draft: &mut Draft<'_>, planned: &[Planned]) {
    let mut covered: Vec<&CString> = Vec::new();
    let mut seals: Vec<(&CString, &Origin)> = Vec::new();
    for (action, origin) in planned.iter().rev() {
        let Action::Attach(attachment) = action else { continue };
        if attachment.sealed && !covered.contains(&&attachment.target) {
            seals.push((&attachment.target, origin));
        }
        covered.push(&attachment.target);
    }
    for (target, origin) in seals.into_iter().rev() {
        let set = libc::MOUNT_ATTR_RDONLY;
        let step = Step::Reattribute { target, set, clear: 0, propagation: 0, recursive: false };
        draft.push(&step, origin.clone());
    }
}

/// Writes the step that makes a tree, if the caller does not open it.
pub(super) fn write_make(
    draft: &mut Draft<'_>,
    tree: Handle,
    make: Option<&Make>,
    origin: &Origin,
) {
    let slot = draft.slot(tree);
    match make {
        None => {}
        Some(Make::Copy { path, recursive }) => {
            let origin = match origin {
                Origin::Element("mounts", _) => origin.part("source"),
                other => other.clone(),
            };
            draft.push(&Step::OpenTree { slot, path, recursive: *recursive }, origin);
        }
        Some(Make::Mount { kind, source, data, flags }) => {
            draft.push(&Step::Mount { slot, kind, source, data, flags: *flags }, origin.clone());
        }
        Some(Make::New { kind, source, options, attributes, otherwise }) => {
            // The list was made of whole strings.
            let Some(options) = List::new(options) else {
                return;
            };
            let attributes = *attributes;
            let step = Step::NewFilesystem { slot, kind, source, options, attributes, otherwise };
            draft.push(&step, origin.clone());
        }
    }
}

pub(super) fn write_action(draft: &mut Draft<'_>, action: &Action, origin: Origin) {
    let step = match action {
        Action::Attach(attachment) => Step::Attach {
            slot: draft.slot(attachment.tree),
            target: &attachment.target,
            set: attachment.set,
            clear: attachment.clear,
            set_recursive: attachment.set_recursive,
            clear_recursive: attachment.clear_recursive,
            propagation: attachment.propagation.0,
            propagation_recursive: attachment.propagation.1,
            over_proc: attachment.over_proc,
            no_symlink: attachment.no_symlink,
            keep_mode: attachment.keep_mode,
            copy: attachment.copy,
        },
        Action::Reattribute { target, change: Change { set, clear }, propagation, recursive } => {
            let (set, clear, propagation) = (*set, *clear, *propagation);
            Step::Reattribute { target, set, clear, propagation, recursive: *recursive }
        }
        Action::Reconfigure { target, options } => match List::new(options) {
            Some(options) => Step::Reconfigure { target, options },
            None => return,
        },
        Action::Symlink { target, path } => Step::Symlink { target, path },
        Action::SymlinkIfThere { needs, target, path } => {
            Step::SymlinkIfThere { needs, target, path }
        }
        Action::ReplaceBySymlink { target, path } => Step::ReplaceBySymlink { target, path },
        Action::Device { path, mode, major, minor, uid, gid } => {
            Step::Device { path, mode: *mode, major: *major, minor: *minor, uid: *uid, gid: *gid }
        }
    };
    draft.push(&step, origin);
}
