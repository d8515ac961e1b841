//! From a configuration to a plan.

use std::path::Path;

use super::draft::{Draft, Handle, inner_path, list, text};
use super::mounts::{self, RootTree, Setting};
use super::namespaces::{Namespaces, flag};
use super::payload::{self, Joining, Payload};
use super::scheduling::{self, Moment};
use super::{
    IdMaps, Origin, Plan, PlanOptions, Source, StateDocument, annotations, cgroup_owner, devices,
    labels, mount_options, notify,
};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::program::{CREATOR, Gate, List, Slot, Step};
use crate::spec::{Hook, MemoryPolicy, NamespaceKind, Personality, Process, Seccomp, Spec, sysctl};

/// The oldest kernel: mount_setattr(2).
const KERNEL: (u32, u32) = (5, 12);

/// What a process that joins a container needs to know of it, as it was recorded at create.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container<'a> {
    /// `CLONE_NEW*` kinds of the container's own namespaces ([`Plan::namespaces`]).
    pub(crate) namespaces: u64,
    /// Whether its root is not that of its mount namespace.
    pub(crate) shares_mounts: bool,
    /// The maps of its user namespace, as far as create knew them.
    pub(crate) id_maps: Option<&'a IdMaps>,
    /// Whether it has a system call filter, which the process gets as well.
    pub(crate) filter: bool,
    /// Its execution domain.
    pub(crate) personality: Option<&'a Personality>,
    /// Its NUMA memory policy.
    pub(crate) memory_policy: Option<&'a MemoryPolicy>,
    /// The name of its session keyring, which the process joins.
    pub(crate) keyring: Option<&'a str>,
    /// How many descriptors from 3 on are sockets for the process.
    pub(crate) listen_fds: u32,
    /// How many more descriptors the process keeps.
    pub(crate) preserve_fds: u32,
    /// Whether it gets other standard streams than the caller's.
    pub(crate) streams: bool,
    /// Whether it keeps the caller's groups.
    pub(crate) keep_groups: bool,
}

impl Plan {
    /// Decides what a configuration means on a host. Nothing is done and nothing is read.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] for a configuration that contradicts itself,
    /// [`ErrorKind::Unsupported`] for what this version or the host cannot do, and
    /// [`ErrorKind::Denied`] when the caller lacks privilege for it; each names the field.
    pub fn compile(spec: &Spec, host: &Host, options: &PlanOptions) -> Result<Self> {
        spec.validate()?;
        annotations::check(&spec.annotations)?;
        check_kernel(host)?;
        let Some(process) = &spec.process else {
            return Err(Error::new(ErrorKind::InvalidSpec, "required, but missing")
                .with_field("process")
                .with_hint("a container without a program cannot be started"));
        };
        let mut draft = Draft::new(host);
        let parts = Parts::gather(spec, options, &mut draft)?;
        parts.write((spec, process), options, &mut draft)?;
        Self::assemble(draft, |plan| {
            let linux = &spec.linux;
            plan.clone_flags = parts.namespaces.at_spawn.into();
            plan.namespaces = parts.namespaces.all().into();
            plan.id_maps.clone_from(&parts.namespaces.id_maps);
            plan.joined_maps.clone_from(&parts.namespaces.joined_maps);
            plan.shares_mounts = parts.namespaces.is_joined(NamespaceKind::Mount);
            plan.cgroups_path.clone_from(&linux.cgroups_path);
            plan.cgroup_owner = cgroup_owner::owner(spec, process, &parts.namespaces, host);
            plan.resources.clone_from(&linux.resources);
            plan.intel_rdt.clone_from(&linux.intel_rdt);
            plan.net_devices.clone_from(&linux.net_devices);
            plan.personality.clone_from(&linux.personality);
            plan.memory_policy.clone_from(&linux.memory_policy);
            plan.seccomp = parts.seccomp.cloned();
            plan.hooks = spec.hooks.clone();
            plan.keep_fds = options.listen_fds.saturating_add(options.preserve_fds);
            plan.take_process(process);
        })
    }

    /// The plan of a process that joins a container.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub(crate) fn compile_exec(
        process: &Process,
        container: Container<'_>,
        host: &Host,
    ) -> Result<Self> {
        process.validate("process")?;
        check_kernel(host)?;
        let mut draft = Draft::new(host);
        let init = draft.receive(Source::InitPidfd, Origin::None);
        let root = container.shares_mounts.then(|| draft.receive(Source::InitRoot, Origin::None));
        let streams = payload::streams(container.streams, &mut draft);
        let has = |kind| container.namespaces & u64::from(flag(kind)) != 0;
        let payload = Payload {
            process,
            seccomp: container.filter,
            user_namespace: has(NamespaceKind::User),
            id_maps: container.id_maps,
            listen_fds: container.listen_fds,
            notify: false,
            joining: Joining::Running,
            hooks: false,
            personality: container.personality,
            memory_policy: container.memory_policy,
            keep_groups: container.keep_groups,
        };
        scheduling::write_affinity(process, Moment::Outside, &mut draft)?;
        draft.push(&Step::Gate { gate: Gate::Mapped as u32 }, Origin::None);
        scheduling::write_affinity(process, Moment::Inside, &mut draft)?;
        payload::write_streams(streams, &mut draft);
        let kinds = u32::try_from(container.namespaces).unwrap_or(0);
        if kinds != 0 {
            draft.push(&Step::Join { namespace: draft.slot(init), kinds }, Origin::None);
        }
        if let Some(root) = root {
            draft.push(&Step::EnterRoot { directory: draft.slot(root) }, Origin::None);
        }
        if has(NamespaceKind::User) {
            let (uid, gid) = container.id_maps.map_or((0, 0), IdMaps::identity);
            draft.push(&Step::Identity { uid, gid }, Origin::None);
        }
        if has(NamespaceKind::Pid) {
            draft.push(&Step::Respawn {}, Origin::None);
        }
        payload.write_terminal(&mut draft, false);
        if let Some(name) = container.keyring {
            labels::write_keyring(name, process, &mut draft)?;
        }
        payload.write_settings(&mut draft)?;
        payload.write_execution(&mut draft)?;
        Self::assemble(draft, |plan| {
            plan.namespaces = container.namespaces;
            plan.keep_fds = container.listen_fds.saturating_add(container.preserve_fds);
            plan.take_process(process);
        })
    }

    fn take_process(&mut self, process: &Process) {
        self.process = Some(process.clone());
        self.terminal = process.terminal;
        self.oom_score_adj = process.oom_score_adj;
        self.rlimits.clone_from(&process.rlimits);
    }

    pub(super) fn assemble(mut draft: Draft<'_>, fill: impl FnOnce(&mut Self)) -> Result<Self> {
        let mut plan = Self {
            program: draft.finish()?,
            origins: draft.origins,
            sources: draft.sources,
            clone_flags: 0,
            namespaces: 0,
            id_maps: None,
            joined_maps: None,
            shares_mounts: false,
            privileged: draft.host.is_privileged(),
            oom_score_adj: None,
            rlimits: Vec::new(),
            cgroups_path: None,
            cgroup_owner: None,
            resources: None,
            intel_rdt: None,
            net_devices: Default::default(),
            seccomp: None,
            hooks: Default::default(),
            process: None,
            personality: None,
            memory_policy: None,
            terminal: false,
            keep_fds: 0,
            warnings: draft.warnings,
            shown_devices: draft.shown_devices,
        };
        fill(&mut plan);
        Ok(plan)
    }
}

pub(super) fn check_kernel(host: &Host) -> Result<()> {
    if host.kernel >= KERNEL {
        return Ok(());
    }
    let ((major, minor), (least_major, least_minor)) = (host.kernel, KERNEL);
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("Linux {least_major}.{least_minor} or newer is needed, this is {major}.{minor}"),
    ))
}

/// Everything of a create that needs a slot.
#[derive(Debug)]
struct Parts<'a> {
    namespaces: Namespaces,
    root: RootTree,
    planned: Vec<mounts::Planned>,
    /// The host's /dev/null, to hide files with.
    null: Option<(Handle, Option<mounts::Make>)>,
    /// A tree with the label of the mounts, to hide directories with.
    mask: Option<Handle>,
    listener: Handle,
    streams: Option<[Handle; 3]>,
    seccomp: Option<&'a Seccomp>,
}

impl<'a> Parts<'a> {
    fn gather(spec: &'a Spec, options: &PlanOptions, draft: &mut Draft<'_>) -> Result<Self> {
        labels::check_mount_label(spec, draft)?;
        let linux = &spec.linux;
        let namespaces = Namespaces::gather(spec, draft)?;
        let root = RootTree::gather(&options.bundle.join(&spec.root.path), draft)?;
        let setting = Setting { spec, bundle: &options.bundle, namespaces: &namespaces };
        let mut planned = mounts::gather(setting, draft)?;
        planned.extend(devices::gather(setting, draft)?);
        if let Some(directory) = &options.notify_directory {
            planned.push(notify::mount(directory, draft)?);
        }
        let null = if linux.masked_paths.is_empty() {
            None
        } else {
            let origin = Origin::Field("linux.maskedPaths");
            Some(mounts::copy(draft, Path::new("/dev/null"), false, &origin)?)
        };
        let listener = draft.receive(Source::StartSocket, Origin::None);
        let streams = payload::streams(options.streams, draft);
        let seccomp = linux.seccomp.as_ref().filter(|profile| !profile.is_empty());
        if seccomp.is_some_and(Seccomp::asks_a_listener) {
            scheduling::check_threads(spec.process.as_ref())?;
        }
        let mask = (null.is_some() && linux.mount_label.is_some()).then(|| draft.make());
        Ok(Self { namespaces, root, planned, null, mask, listener, streams, seccomp })
    }

    fn write(
        &self,
        (spec, process): (&Spec, &Process),
        options: &PlanOptions,
        draft: &mut Draft<'_>,
    ) -> Result<()> {
        let payload = Payload {
            process,
            seccomp: self.seccomp.is_some(),
            user_namespace: self.namespaces.has_user(),
            id_maps: self.namespaces.id_maps.as_ref(),
            listen_fds: options.listen_fds,
            notify: options.notify_directory.is_some(),
            joining: Joining::First,
            hooks: !spec.hooks.start_container.is_empty(),
            personality: spec.linux.personality.as_ref(),
            memory_policy: spec.linux.memory_policy.as_ref(),
            keep_groups: annotations::keeps_groups(&spec.annotations),
        };
        let document = |status| {
            let (version, bundle) = (&spec.oci_version, &options.bundle);
            StateDocument::new(version, &options.id, status, bundle, &spec.annotations)
        };
        self.namespaces.write(draft);
        self.write_mounts(spec, options, draft);
        labels::write_queues(spec, draft)?;
        draft.push(&Step::Gate { gate: Gate::Mounted as u32 }, Origin::None);
        let creating = document("creating");
        let hooks = ("hooks.createContainer", &*spec.hooks.create_container);
        write_hooks(draft, hooks, &creating)?;
        self.write_pivot(spec, options, draft);
        payload::write_streams(self.streams, draft);
        payload.write_terminal(draft, self.namespaces.is_new(NamespaceKind::Mount));
        self.write_inside(spec, draft)?;
        if !options.no_new_keyring {
            labels::write_keyring(&options.id.keyring(), process, draft)?;
        }
        payload.write_settings(draft)?;
        self.write_start(draft);
        let created = document("created");
        write_hooks(draft, ("hooks.startContainer", &spec.hooks.start_container), &created)?;
        payload.write_execution(draft)
    }

    fn write_mounts(&self, spec: &Spec, options: &PlanOptions, draft: &mut Draft<'_>) {
        let setting = Setting { spec, bundle: &options.bundle, namespaces: &self.namespaces };
        let null = self.null.as_ref().map(|(tree, make)| (*tree, make.as_ref()));
        mounts::write(setting, draft, (&self.root, null), &self.planned);
    }

    fn write_start(&self, draft: &mut Draft<'_>) {
        let step = Step::AwaitStart {
            listener: draft.slot(self.listener),
            peer_uid: self.peer_uid(draft.host),
        };
        draft.push(&step, Origin::None);
    }

    /// What the caller's user is in the container's user namespace. Of a namespace that is joined
    /// the maps are not known here: the init program asks the kernel.
    fn peer_uid(&self, host: &Host) -> u32 {
        match &self.namespaces.id_maps {
            Some(maps) => maps.inside(host.uid),
            None if self.namespaces.has_user() => CREATOR,
            None => host.uid,
        }
    }

    fn write_pivot(&self, spec: &Spec, options: &PlanOptions, draft: &mut Draft<'_>) {
        if !self.namespaces.is_new(NamespaceKind::Mount) {
            draft.push(&Step::Chroot {}, Origin::Field("linux.namespaces"));
            return;
        }
        let (mut propagation, recursive) = root_propagation(spec);
        let origin = match propagation {
            0 => Origin::None,
            _ => Origin::Field("linux.rootfsPropagation"),
        };
        if propagation == libc::MS_UNBINDABLE {
            // What follows makes bind mounts of its own: the terminal, read-only and masked paths.
            propagation = 0;
        }
        draft.push(&Step::Pivot { pivot: !options.no_pivot, propagation, recursive }, origin);
    }

    /// Step 16 and 17: what is set inside the new root.
    fn write_inside(&self, spec: &Spec, draft: &mut Draft<'_>) -> Result<()> {
        mounts::write_seals(draft, &self.planned);
        if spec.root.readonly {
            draft.push(&Step::ReadonlyRoot {}, Origin::Field("root.readonly"));
        }
        if let Some(name) = &spec.hostname {
            let origin = Origin::Field("hostname");
            draft.push(&Step::Hostname { name: &text(name, &origin)? }, origin);
        }
        if let Some(name) = &spec.domainname {
            let origin = Origin::Field("domainname");
            draft.push(&Step::Domainname { name: &text(name, &origin)? }, origin);
        }
        for (name, value) in &spec.linux.sysctl {
            let origin = Origin::Entry("linux.sysctl", name.clone());
            let (key, value) = (text(sysctl::file(name), &origin)?, text(value, &origin)?);
            draft.push(&Step::Sysctl { key: &key, value: &value }, origin);
        }
        for (index, path) in spec.linux.readonly_paths.iter().enumerate() {
            let origin = Origin::Element("linux.readonlyPaths", index);
            draft.push(&Step::ReadonlyPath { path: &inner_path(path, &origin)? }, origin);
        }
        if let (Some(tree), Some(label)) = (self.mask, &spec.linux.mount_label) {
            labels::write_mask(label, tree, draft)?;
        }
        let null = self.null.as_ref().map_or(Slot::NONE, |(tree, _)| draft.slot(*tree));
        for (index, path) in spec.linux.masked_paths.iter().enumerate() {
            let origin = Origin::Element("linux.maskedPaths", index);
            draft.push(&Step::MaskPath { path: &inner_path(path, &origin)?, null }, origin);
        }
        if self.namespaces.is_new(NamespaceKind::Mount)
            && let (libc::MS_UNBINDABLE, recursive) = root_propagation(spec)
        {
            let (set, clear, propagation) = (0, 0, libc::MS_UNBINDABLE);
            let step = Step::Reattribute { target: c"/", set, clear, propagation, recursive };
            draft.push(&step, Origin::Field("linux.rootfsPropagation"));
        }
        Ok(())
    }
}

fn write_hooks(
    draft: &mut Draft<'_>,
    (name, hooks): (&'static str, &[Hook]),
    StateDocument { head, tail }: &StateDocument,
) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        let origin = Origin::Element(name, index);
        let path = text(&hook.path, &origin)?;
        let args = if hook.args.is_empty() {
            path.as_bytes_with_nul().to_vec()
        } else {
            list(&hook.args, &origin)?
        };
        let env = list(hook.env.as_deref().unwrap_or_default(), &origin)?;
        let (Some(args), Some(env)) = (List::new(&args), List::new(&env)) else {
            continue;
        };
        let step = Step::RunHook {
            path: &path,
            args,
            env,
            timeout_ms: u64::from(hook.timeout.unwrap_or(0)) * 1000,
            state_head: head.as_bytes(),
            state_tail: tail.as_bytes(),
            outside: name == "hooks.createContainer",
        };
        draft.push(&step, origin);
    }
    Ok(())
}

/// `linux.rootfsPropagation` as flags and reach; no flags without it.
fn root_propagation(spec: &Spec) -> (u64, bool) {
    spec.linux.rootfs_propagation.map_or((0, false), mount_options::propagation_flags)
}
