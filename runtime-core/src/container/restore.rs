//! Making a container of the images of a checkpoint.

use std::fs::{File, read_link};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::announcement::Announcement;
use super::checkpoint::{EXTERNAL, config};
use super::creation::{self, Creation, Order, Outside, Served, document};
use super::options::{Console, ConsoleTarget, CreateOptions, Stdio};
use super::{Bundle, CgroupDriver, Container, Runtime};
use crate::cgroup::{Entry, Layout};
use crate::criu::{
    self, Criu, CriuOptions, Images, Kind, Notice, Request, Sources, Start, Streams,
};
use crate::error::{Attempt, Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::id::ContainerId;
use crate::launch::Process;
use crate::netdev;
use crate::plan::{IdMaps, Plan, StateDocument, namespace_flag};
use crate::spec::{Namespace, NamespaceKind};
use crate::state::NOTIFY_DIRECTORY;
use crate::sys::pidfd;

/// The name of criu's log.
const LOG: &str = "restore.log";

/// Options of [`Runtime::restore`](crate::Runtime::restore).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// What criu is told.
    pub criu: CriuOptions,
    /// Where the master of the terminal goes if the configuration asks for one.
    pub console: ConsoleTarget,
    /// As in [`CreateOptions`].
    pub pid_file: Option<PathBuf>,
    /// As in [`CreateOptions`].
    pub pidfd_socket: Option<PathBuf>,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// What takes the place of pipes that were the standard streams, and of files of the host, whose type and
    /// mode it must have.
    pub stdio: Stdio,
    /// Who makes the container's cgroup.
    pub cgroup_driver: CgroupDriver,
    /// The profile of a security module in the place of the dumped one: `apparmor:NAME` or `selinux:LABEL`.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts in the place of the dumped one.
    pub lsm_mount_context: Option<String>,
}

/// Restores a container. See [`Runtime::restore`].
pub(super) fn restore(
    runtime: &Runtime,
    id: &ContainerId,
    bundle: &Bundle,
    options: &RestoreOptions,
) -> Result<Container> {
    let namespaces = Namespaces::of(&bundle.spec().linux.namespaces)?;
    let host = Host::read(bundle.spec())?;
    let create =
        CreateOptions { no_new_keyring: options.no_new_keyring, ..CreateOptions::default() };
    let plan = runtime.plan_for(&host, id, bundle, &create)?;
    let mut console = Console::connect(&options.console, plan.terminal)?;
    let announcement = Announcement::new(&options.pid_file, &options.pidfd_socket)?;
    let images = Images::open(&options.criu, false)?;
    let streams = Streams::load(&images)?;
    let order = Order {
        runtime,
        id,
        bundle,
        plan,
        driver: options.cgroup_driver,
        resctrl: None,
        announcement,
        keyring: !options.no_new_keyring,
        notify: true,
    };
    let mut container = order.carry_out(&mut |plan, creation| {
        let places = (&namespaces, &streams);
        let revival = Revival { bundle, options, plan, images: &images, places };
        revival.run(creation, &mut console).context(format!("restore container {id}"))
    })?;
    container.console = console.into_kept();
    Ok(container)
}

/// The group, as outside, of the container's root.
fn root_group(maps: &IdMaps) -> Option<u32> {
    IdMaps::outside(&maps.gid, maps.identity().1)
}

/// The namespaces of the configuration that exist already.
#[derive(Debug, Default)]
struct Namespaces {
    /// Those that stay as they are: the name in the images and the open file.
    external: Vec<(&'static str, File)>,
    /// Those that criu joins: kind and file.
    joined: Vec<(&'static str, String)>,
}

impl Namespaces {
    fn of(namespaces: &[Namespace]) -> Result<Self> {
        let mut found = Self::default();
        for (index, Namespace { kind, path }) in namespaces.iter().enumerate() {
            let Some(path) = path else { continue };
            found
                .add(*kind, path)
                .map_err(|error| error.with_field(format!("linux.namespaces[{index}].path")))?;
        }
        Ok(found)
    }

    fn add(&mut self, kind: NamespaceKind, path: &Path) -> Result<()> {
        let external =
            EXTERNAL.iter().find(|(flag, ..)| flag.cast_unsigned() == namespace_flag(kind));
        match (external, kind) {
            (Some((_, _, name)), _) => {
                let file = File::open(path).attempt_on("open the namespace", path)?;
                self.external.push((name, file));
            }
            (None, NamespaceKind::Cgroup | NamespaceKind::Mount) => {
                let message =
                    format!("criu cannot restore into a {} namespace that exists", kind.name());
                return Err(Error::new(ErrorKind::Unsupported, message).with_path(path));
            }
            (None, kind) => self.joined.push((kind.name(), path.to_string_lossy().into_owned())),
        }
        Ok(())
    }
}

/// What a restore is made of.
struct Revival<'a> {
    bundle: &'a Bundle,
    options: &'a RestoreOptions,
    plan: &'a Plan,
    images: &'a Images,
    /// What exists already of namespaces, and what the standard streams were.
    places: (&'a Namespaces, &'a Streams),
}

impl Revival<'_> {
    fn run(&self, creation: &mut Creation, console: &mut Console) -> Result<Served> {
        let group = self.plan.id_maps.as_ref().and_then(root_group);
        let _allowed = group.map(|group| self.images.allow(group)).transpose()?;
        let mounts = self.mounts(creation)?;
        let rootfs = std::fs::canonicalize(self.bundle.rootfs())
            .attempt_on("find the root file system", &self.bundle.rootfs())?;
        let streams = self.streams()?;
        let given = streams.each_ref().map(AsFd::as_fd);
        let (namespaces, earlier) = self.places;
        let replacements = earlier.replacements(given)?;
        let external = namespaces.external.iter();
        let mut inherited = replacements.all();
        inherited
            .extend(external.clone().map(|(name, file)| ((*name).to_owned(), file.as_raw_fd())));
        let kept = external.map(|(_, file)| file.as_fd()).chain(replacements.opened()).collect();
        let criu = self.start(creation, &rootfs, (streams, kept))?;
        self.enter_groups(creation, &criu)?;
        creation.journal.note_hook(criu.pid(), criu.pidfd())?;
        let images = self.images.seen_by(criu.pid())?;
        let request = Request {
            options: Some(&self.options.criu),
            images: images.fd(),
            work: images.work(),
            log: LOG,
            root: &rootfs.to_string_lossy(),
            config: config(&self.bundle.spec().annotations),
            sibling: true,
            mounts,
            inherited,
            joined: namespaces.joined.clone(),
            cgroups: cgroups_of(criu.pid())?,
            lsm_profile: self.options.lsm_profile.as_deref(),
            lsm_mount_context: self.options.lsm_mount_context.as_deref(),
            ..Request::default()
        };
        let state = document(self.bundle, creation.directory.id(), "creating");
        let mut notify = |notice| self.attend(notice, &state, (creation, console));
        let restored = criu.carry_out(Kind::Restore, &request, &images.log(LOG), &mut notify)?;
        self.finish(creation, restored)
    }

    /// What the mounts of the host are, after their mount points were made.
    fn mounts(&self, creation: &Creation) -> Result<Vec<(String, String)>> {
        let cgroup = creation.cgroup.as_ref().map(|cgroup| cgroup.record().clone());
        let place = cgroup.map_or_else(|| Layout::detect().map(|layout| layout.own()), Ok)?;
        criu::sources(&Sources {
            spec: self.bundle.spec(),
            bundle: self.bundle.directory(),
            rootfs: &self.bundle.rootfs(),
            cgroups: &Layout::mount_points(&place),
            notify: &creation.directory.path().join(NOTIFY_DIRECTORY),
        })
    }

    fn streams(&self) -> Result<[OwnedFd; 3]> {
        match &self.options.stdio {
            Stdio::Inherit => Ok([own(0)?, own(1)?, own(2)?]),
            given @ Stdio::Fds { .. } => Ok([given.stream(0)?, given.stream(1)?, given.stream(2)?]),
        }
    }

    fn start(
        &self,
        creation: &Creation,
        rootfs: &Path,
        (streams, inherited): ([OwnedFd; 3], Vec<BorrowedFd<'_>>),
    ) -> Result<Criu> {
        let start = Start {
            streams: Some(streams),
            inherited,
            root: Some(rootfs),
            keyring: (!self.options.no_new_keyring).then(|| creation.directory.id().keyring()),
            // A job of a shell stays in the process group that the shell has put this process into.
            group: !self.options.criu.shell_job,
        };
        Criu::start(start, &self.options.criu)
    }

    /// criu's children are where it is itself.
    fn enter_groups(&self, creation: &Creation, criu: &Criu) -> Result<()> {
        if let Some(cgroup) = &creation.cgroup {
            cgroup.add(criu.pid(), Entry::Moved)?;
        }
        creation.resctrl.as_ref().map_or(Ok(()), |group| group.add(criu.pid()))
    }

    fn attend(
        &self,
        notice: Notice,
        state: &StateDocument,
        (creation, console): (&mut Creation, &mut Console),
    ) -> Result<()> {
        match notice {
            Notice::Namespaces(pid) => {
                let pidfd = pidfd::open(pid).attempt("open the restored process")?;
                let process = creation.process.insert(Process { pid, pidfd });
                let mut outside = Outside {
                    plan: self.plan,
                    bundle: self.bundle,
                    document: state,
                    journal: &mut creation.journal,
                    hooked: &mut creation.hooked,
                    devices: &mut creation.devices,
                };
                outside.note(process)?;
                raise_loopback(self.bundle, process)?;
                outside.enter(process)
            }
            Notice::Terminal(master) => console.accept(master),
            Notice::Ready => Ok(()),
        }
    }

    fn finish(&self, creation: &mut Creation, restored: Option<i32>) -> Result<Served> {
        let missing = || Error::new(ErrorKind::System, "criu has told of no process");
        if creation.process.is_none() {
            let pid = restored.filter(|pid| *pid > 0).ok_or_else(missing)?;
            let pidfd = pidfd::open(pid).attempt("open the restored process")?;
            creation.process = Some(Process { pid, pidfd });
        }
        let process = creation.process.as_ref().ok_or_else(missing)?;
        let init = crate::state::Identity::of(process.pid, process.pidfd.as_fd())?;
        let (filter, agent) = creation::filter(self.plan, self.bundle)?;
        Ok(Served { init, namespaces: time_namespace(process.pid), filter, agent })
    }
}

/// criu makes a network namespace, but leaves what is in it to others.
fn raise_loopback(bundle: &Bundle, process: &Process) -> Result<()> {
    let linux = &bundle.spec().linux;
    match linux.namespace(NamespaceKind::Network) {
        Some(Namespace { path: None, .. }) => {
            let path = PathBuf::from(format!("/proc/{}/ns/net", process.pid));
            netdev::raise_loopback(netdev::open_namespace(&path)?.as_fd())
        }
        _ => Ok(()),
    }
}

/// A copy of one of the caller's standard streams.
fn own(number: u32) -> Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/self/fd/{number}"));
    let _exists = read_link(&path).attempt_on("look at the standard stream", &path)?;
    let copied = match number {
        0 => std::io::stdin().as_fd().try_clone_to_owned(),
        1 => std::io::stdout().as_fd().try_clone_to_owned(),
        _ => std::io::stderr().as_fd().try_clone_to_owned(),
    };
    copied.attempt("copy a standard stream")
}

/// The cgroup of a process in each hierarchy, by controller, as the process sees it.
fn cgroups_of(pid: i32) -> Result<Vec<(String, String)>> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = std::fs::read_to_string(&path).attempt_on("read", &path)?;
    let lines = text.lines().filter_map(|line| {
        let (controllers, place) = line.split_once(':')?.1.split_once(':')?;
        Some((controllers, place))
    });
    let each = lines.flat_map(|(controllers, place)| {
        controllers.split(',').map(move |controller| (controller.to_owned(), place.to_owned()))
    });
    Ok(each.collect())
}

/// criu restores processes into a time namespace, so that their clocks go on.
fn time_namespace(pid: i32) -> u64 {
    let link = |of: &str| read_link(format!("/proc/{of}/ns/time")).ok();
    let other = link(&pid.to_string()) != link("self");
    if other { u64::from(namespace_flag(NamespaceKind::Time)) } else { 0 }
}
