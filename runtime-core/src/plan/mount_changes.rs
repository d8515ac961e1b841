//! Changes of the mounts of a container that exists.
//!
//! Its processes run meanwhile and can change every path. So a destination must be where its text says:
//! a symbolic link would let them choose what is covered or uncovered. A program of its own for each
//! mount lets the caller take back what came before a failure.

use std::path::{Component, Path};

use super::draft::{Draft, Handle, inner_path};
use super::labels;
use super::mount_options::Options;
use super::mounts::{self, Action, Make, Planned, Setting};
use super::namespaces::{Namespaces, flag};
use super::{IdMaps, Origin, Plan, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::program::{Gate, Step};
use crate::spec::{Mount, NamespaceKind, Spec};

/// The namespaces that decide what a new file system shows. Nobody is started in the pid namespace, whose
/// processes see nothing of the change but its result.
const KINDS: [NamespaceKind; 6] = [
    NamespaceKind::User,
    NamespaceKind::Mount,
    NamespaceKind::Cgroup,
    NamespaceKind::Ipc,
    NamespaceKind::Network,
    NamespaceKind::Pid,
];

/// What is known of the container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mounting<'a> {
    /// The mounts, with the settings of the container's configuration that they depend on.
    pub(crate) spec: &'a Spec,
    /// Relative sources start here.
    pub(crate) bundle: &'a Path,
    /// `CLONE_NEW*` kinds of its namespaces.
    pub(crate) namespaces: u64,
    /// The maps of its user namespace.
    pub(crate) id_maps: Option<&'a IdMaps>,
}

/// How a mount is added.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) plan: Plan,
    /// The slot of the mount, if the caller is to set its propagation first.
    pub(crate) tree: usize,
    /// Kinds of propagation (`MS_*`, and whether of the whole tree) that come, in this order, before that
    /// of the plan.
    pub(crate) first: Vec<(u64, bool)>,
}

impl Mounting<'_> {
    fn kinds(&self) -> u32 {
        let all = KINDS.iter().fold(0, |kinds, kind| kinds | flag(*kind));
        u32::try_from(self.namespaces).unwrap_or(0) & all
    }

    /// The plan of adding a mount. All its settings are made before it is attached: afterwards the
    /// container's processes could have put another mount at its path.
    ///
    /// # Errors
    /// As [`Plan::compile`]; [`ErrorKind::Unsupported`] for what can only be had at create.
    pub(crate) fn add(&self, index: usize, host: &Host) -> Result<Addition> {
        let Some(mount) = self.spec.mounts.get(index) else {
            return Err(Error::new(ErrorKind::InvalidSpec, format!("there is no mount {index}")));
        };
        let options = Options::parse(mount, index)?;
        check(mount, &options, index)?;
        let namespaces = Namespaces::of_container(self.kinds(), self.id_maps.cloned());
        let setting = Setting { spec: self.spec, bundle: self.bundle, namespaces: &namespaces };
        let mut draft = Draft::new(host);
        labels::check_mount_label(self.spec, &draft)?;
        let init = draft.receive(Source::InitPidfd, Origin::None);
        let mut planned = Vec::new();
        mounts::gather_one(setting, &mut draft, (index, mount, &options), &mut planned)?;
        let later = planned.split_off(planned.len().min(1));
        let mut first = Vec::new();
        let mut tree = 0;
        for (action, _) in &mut planned {
            let Action::Attach(attachment) = action else { continue };
            attachment.no_symlink = true;
            if attachment.sealed {
                attachment.set |= libc::MOUNT_ATTR_RDONLY;
            }
            for (action, _) in &later {
                let Action::Reattribute { propagation, recursive, .. } = action else { continue };
                first.push(std::mem::replace(
                    &mut attachment.propagation,
                    (*propagation, *recursive),
                ));
            }
            if !first.is_empty() && attachment.make.is_some() {
                let message = "several kinds of propagation can only be had at create";
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .with_field(format!("mounts[{index}].options")));
            }
            tree = usize::try_from(draft.slot(attachment.tree).0).unwrap_or(usize::MAX);
        }
        self.write(&mut draft, init, &planned);
        Ok(Addition { plan: finish(draft, self)?, tree, first })
    }

    /// The plan of taking away what is mounted at a path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] for a path that is no place of a mount.
    pub(crate) fn remove(&self, path: &Path, index: usize, host: &Host) -> Result<Plan> {
        let origin = Origin::Part("mounts", index, "destination");
        check_removable(path).map_err(|error| origin.blame(error))?;
        self.take_back(path, index, host)
    }

    /// The plan of taking away a mount that was just added.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] for a path that is no place of a mount.
    pub(crate) fn take_back(&self, path: &Path, index: usize, host: &Host) -> Result<Plan> {
        let origin = Origin::Part("mounts", index, "destination");
        let target = inner_path(path, &origin)?;
        let mut draft = Draft::new(host);
        let init = draft.receive(Source::InitPidfd, Origin::None);
        self.enter(&mut draft, init, &[]);
        draft.push(&Step::Detach { path: &target }, origin);
        finish(draft, self)
    }

    fn write(&self, draft: &mut Draft<'_>, init: Handle, planned: &[Planned]) {
        let (copies, others): (Vec<_>, Vec<_>) =
            made(planned).partition(|(_, make, _)| matches!(make, Some(Make::Copy { .. })));
        self.enter(draft, init, &copies);
        for (tree, make, origin) in others {
            mounts::write_make(draft, tree, make, origin);
        }
        for (action, origin) in planned {
            mounts::write_action(draft, action, origin.clone());
        }
    }

    /// Goes into the namespaces. A caller without privilege copies the host's mounts on the way, in a mount
    /// namespace that belongs to the container's user namespace.
    fn enter(
        &self,
        draft: &mut Draft<'_>,
        init: Handle,
        copies: &[(Handle, Option<&Make>, &Origin)],
    ) {
        draft.push(&Step::Gate { gate: Gate::Mapped as u32 }, Origin::None);
        let mut kinds = self.kinds();
        let namespace = draft.slot(init);
        let user = kinds & flag(NamespaceKind::User);
        if !copies.is_empty() {
            if user != 0 {
                draft.push(&Step::Join { namespace, kinds: user }, Origin::None);
                kinds &= !user;
            }
            draft.push(&Step::Unshare { kinds: flag(NamespaceKind::Mount) }, Origin::None);
            draft.push(&Step::Propagation { propagation: libc::MS_SLAVE }, Origin::None);
        }
        for (tree, make, origin) in copies {
            mounts::write_make(draft, *tree, *make, origin);
        }
        draft.push(&Step::Join { namespace, kinds }, Origin::None);
        if user != 0 {
            let (uid, gid) = self.id_maps.map_or((0, 0), IdMaps::identity);
            draft.push(&Step::Identity { uid, gid }, Origin::None);
        }
    }
}

fn made(planned: &[Planned]) -> impl Iterator<Item = (Handle, Option<&Make>, &Origin)> {
    planned.iter().filter_map(|(action, origin)| match action {
        Action::Attach(attachment) => Some((attachment.tree, attachment.make.as_ref(), origin)),
        _ => None,
    })
}

/// The init program has done its work when it comes to its last gate.
fn finish(mut draft: Draft<'_>, mounting: &Mounting<'_>) -> Result<Plan> {
    draft.push(&Step::Gate { gate: Gate::Ready as u32 }, Origin::None);
    Plan::assemble(draft, |plan| plan.namespaces = mounting.namespaces)
}

fn check(mount: &Mount, options: &Options<'_>, index: usize) -> Result<()> {
    let fault = |field: &str, words: &str| {
        Err(Error::new(ErrorKind::Unsupported, words)
            .with_field(format!("mounts[{index}].{field}")))
    };
    if options.remount {
        // Whoever can rename a directory on the way could have another mount made writable.
        return fault("options", "a mount of a container that exists cannot be changed");
    }
    if options.copy_link {
        return fault("options", "a link can only be copied at create");
    }
    if options.bind.is_none() && mount.kind.as_deref() == Some("cgroup") {
        return fault("type", "a mount of type cgroup can only be had at create");
    }
    Ok(())
}

/// What a runtime mounts on /proc and /sys hides and protects what is below.
fn check_removable(path: &Path) -> Result<()> {
    let fault = |words: &str| Err(Error::new(ErrorKind::InvalidSpec, format!("{path:?} {words}")));
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return fault("is not an absolute path without `..`");
    }
    if path.parent().is_none() {
        return fault("is the root itself");
    }
    if ["/proc", "/sys"].iter().any(|top| path.starts_with(top)) {
        return fault("belongs to what protects the host's /proc and /sys");
    }
    Ok(())
}
