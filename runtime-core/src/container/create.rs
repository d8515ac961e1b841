//! Making a container: everything up to the point where only its start is missing.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::announcement::Announcement;
use super::creation::{self, Creation, Order, Outside, Served, document};
use super::options::{Console, CreateOptions, Stdio};
use super::{Bundle, Container, Runtime};
use crate::cgroup::{Entrances, Entry, Layout, Manager, Record};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::host::Host;
use crate::id::ContainerId;
use crate::launch::{self, Control, Gates, Opened, Process, Resolver};
use crate::plan::{IdMaps, Plan};
use crate::rdt;
use crate::seccomp::Address;
use crate::state::{Identity, START_SOCKET};
use crate::sys::spawn::Spawn;

/// What a creation opens beyond the paths of its plan.
struct Opener<'a> {
    creation: &'a Creation,
    runtime: &'a Runtime,
    stdio: &'a Stdio,
}

impl Resolver for Opener<'_> {
    fn start_socket(&self) -> Result<PathBuf> {
        Ok(self.creation.directory.short_path(START_SOCKET))
    }

    fn node(&self, index: usize) -> Result<PathBuf> {
        Ok(self.creation.directory.node_path(index))
    }

    fn cgroup(&self, hierarchy: &str) -> Result<PathBuf> {
        let source = |place: &Record| {
            let mut points = Layout::mount_points(place).into_iter();
            points.find(|point| point.name == hierarchy).map(|point| point.source)
        };
        if let Some(source) = self.creation.cgroup.as_ref().and_then(|made| source(made.record())) {
            return Ok(source);
        }
        // Where a user may make no group, the container stays in the caller's.
        source(&Layout::detect()?.own()).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("there is no cgroup hierarchy {hierarchy}"))
        })
    }

    fn user_namespace(&self, maps: &IdMaps) -> Result<OwnedFd> {
        launch::user_namespace(self.runtime.image()?.as_fd(), maps)
    }

    fn init(&self) -> Result<OwnedFd> {
        Err(Error::new(ErrorKind::WrongStatus, "there is no init process yet"))
    }

    fn init_root(&self) -> Result<OwnedFd> {
        self.init()
    }

    fn stream(&self, number: usize) -> Result<OwnedFd> {
        self.stdio.stream(number)
    }
}

/// Serves the gates of an init program that becomes a container.
struct CreateGates<'a> {
    outside: Outside<'a>,
    console: &'a mut Console,
    resctrl: Option<&'a rdt::Group>,
    init: Option<Identity>,
    filter: Option<Vec<u8>>,
    agent: Option<Address>,
}

impl Gates for CreateGates<'_> {
    fn mapped(&mut self, process: &Process) -> Result<()> {
        self.respawned(process)?;
        self.resctrl.map_or(Ok(()), |group| group.add(process.pid))
    }

    fn respawned(&mut self, process: &Process) -> Result<()> {
        self.init = Some(self.outside.note(process)?);
        Ok(())
    }

    fn filter(&mut self) -> Result<Option<Vec<u8>>> {
        (self.filter, self.agent) = creation::filter(self.outside.plan, self.outside.bundle)?;
        Ok(self.filter.clone())
    }

    fn mounted(&mut self, process: &Process) -> Result<()> {
        self.outside.enter(process)
    }

    fn console(&mut self, master: OwnedFd) -> Result<()> {
        self.console.accept(master)
    }

    fn listener(&mut self, _process: &Process, _listener: OwnedFd) -> Result<()> {
        Err(Error::new(ErrorKind::System, "the seccomp filter was loaded before the start"))
    }
}

/// Creates a container. See [`Runtime::create`].
pub(super) fn create(
    runtime: &Runtime,
    id: &ContainerId,
    bundle: &Bundle,
    options: &CreateOptions,
) -> Result<Container> {
    let host = Host::read(bundle.spec())?;
    let plan = runtime.plan_for(&host, id, bundle, options)?;
    let mut console = Console::connect(&options.console, plan.terminal)?;
    launch::check_kept(plan.keep_fds)?;
    let announcement = Announcement::new(&options.pid_file, &options.pidfd_socket)?;
    let order = Order {
        runtime,
        id,
        bundle,
        plan,
        driver: options.cgroup_driver,
        resctrl: options.resctrl_imitation.as_deref(),
        announcement,
        keyring: !options.no_new_keyring,
        notify: options.notify,
    };
    let mut container = order.carry_out(&mut |plan, creation| {
        set_up(runtime, (plan, &options.stdio), bundle, creation, &mut console)
    })?;
    container.console = console.into_kept();
    Ok(container)
}

/// Starts the init program and serves it until it waits for the start.
fn set_up(
    runtime: &Runtime,
    (plan, stdio): (&Plan, &Stdio),
    bundle: &Bundle,
    creation: &mut Creation,
    console: &mut Console,
) -> Result<Served> {
    let opener = Opener { creation, runtime, stdio };
    let Opened { slots, nodes } = launch::open_sources(plan, &opener)?;
    let (control, theirs) = Control::pair_above(plan.keep_fds)?;
    let program = launch::program(plan)?;
    control.send_program(program.as_fd(), &slots)?;
    let cgroup = creation.cgroup.as_deref();
    let (process, outside) = match spawn(runtime, plan, theirs.as_fd(), &Birth::into(cgroup)?) {
        // Between the caller's cgroup and this one is none that the caller may write to.
        Err(error) if cgroup.is_some() && error.errno() == Some(libc::EACCES) => {
            (spawn(runtime, plan, theirs.as_fd(), &Birth::default())?, true)
        }
        spawned => (spawned?, false),
    };
    drop((theirs, slots));
    let document = document(bundle, creation.directory.id(), "creating");
    let process = creation.process.insert(process);
    if let Some(cgroup) = creation.cgroup.as_deref().filter(|_| outside) {
        cgroup.add(process.pid, Entry::Moved)?;
    }
    let outside = Outside {
        plan,
        bundle,
        document: &document,
        journal: &mut creation.journal,
        hooked: &mut creation.hooked,
        devices: &mut creation.devices,
    };
    let resctrl = creation.resctrl.as_ref();
    let mut gates =
        CreateGates { outside, console, resctrl, init: None, filter: None, agent: None };
    launch::serve(plan, &control, process, &mut gates)?;
    // Everything is attached.
    drop(nodes);
    let init = gates
        .init
        .ok_or_else(|| Error::new(ErrorKind::System, "the init program has passed no gate"))?;
    Ok(Served { init, namespaces: 0, filter: gates.filter, agent: gates.agent })
}

/// The cgroups that a process is in from its first instruction on.
#[derive(Debug, Default)]
pub(super) struct Birth<'a> {
    pub(super) unified: Option<BorrowedFd<'a>>,
    pub(super) entrances: Option<Entrances<'a>>,
}

impl<'a> Birth<'a> {
    /// In the container's cgroups; without any, in those of the caller.
    pub(super) fn into(cgroup: Option<&'a dyn Manager>) -> Result<Self> {
        let Some(cgroup) = cgroup else { return Ok(Self::default()) };
        Ok(Self { unified: cgroup.clone_fd()?, entrances: cgroup.entrances() })
    }
}

/// Spawns the init program with a plan's namespaces.
pub(super) fn spawn(
    runtime: &Runtime,
    plan: &Plan,
    control: BorrowedFd<'_>,
    birth: &Birth<'_>,
) -> Result<Process> {
    let number = CString::new(control.as_raw_fd().to_string()).unwrap_or_default();
    let keep = CString::new(plan.keep_fds.to_string()).unwrap_or_default();
    let spawned = Spawn {
        image: runtime.image()?.as_fd(),
        args: [c"coracle-init", &number, &keep],
        namespaces: plan.clone_flags,
        cgroup: birth.unified,
        entrances: birth.entrances.as_ref().map_or(&[], |entrances| &entrances.files),
        entrance_directory: birth.entrances.as_ref().map(|entrances| entrances.directory),
        control,
        ambient: plan.id_maps.is_some(),
    }
    .run()
    .attempt("start the init program")
    .map_err(|error| match error.errno() {
        Some(libc::EINVAL) => error.with_hint("the kernel may be too old: Linux 5.12 is needed"),
        _ => error,
    })?;
    Ok(Process { pid: spawned.pid, pidfd: spawned.pidfd })
}
