//! Making a container: everything up to the point where only its start is missing.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::announcement::Announcement;
use super::delete::{left_behind, run_poststop};
use super::options::{CgroupDriver, Console, CreateOptions, Stdio};
use super::{Bundle, Container, Known, Runtime};
use crate::cgroup::{self, Entrances, Layout, Leftover, Manager, Occupant};
use crate::error::{Attempt, Context, Error, ErrorKind, Result};
use crate::hooks::Environment;
use crate::host::Host;
use crate::id::ContainerId;
use crate::launch::{self, Control, Gates, Idle, Opened, Process, Resolver};
use crate::netdev;
use crate::plan::{IdMaps, Plan, StateDocument};
use crate::rdt;
use crate::seccomp::{self, Address, Filter};
use crate::spec::Seccomp;
use crate::state::{Beginning, Directory, Entry, Identity, Journal, Record, START_SOCKET, VERSION};
use crate::sys::clock;
use crate::sys::pidfd;
use crate::sys::spawn::Spawn;

/// What exists so far. Dropped before [`Creation::commit`], it is undone in the reverse order.
struct Creation {
    directory: Directory,
    journal: Journal,
    beginning: Beginning,
    cgroup: Option<Box<dyn Manager>>,
    resctrl: Option<rdt::Group>,
    devices: Option<netdev::Moved>,
    process: Option<Process>,
    /// Whether it has come to the hooks: those that follow the deletion are due then.
    hooked: bool,
    /// Whether the container gets a session keyring of its own.
    keyring: bool,
    committed: bool,
}

impl Creation {
    fn begin(root: &Path, id: &ContainerId, bundle: &Bundle) -> Result<Self> {
        let beginning = Beginning {
            bundle: bundle.directory().to_owned(),
            rootfs: bundle.rootfs(),
            created: clock::rfc3339(SystemTime::now()),
            owner: nix::unistd::geteuid().as_raw(),
        };
        let directory = Directory::create(root, id)?;
        let opened = Journal::open(&directory).and_then(|mut journal| {
            journal.append(&Entry::Creating(beginning.clone()))?;
            Ok(journal)
        });
        match opened {
            Ok(journal) => Ok(Self {
                directory,
                journal,
                beginning,
                cgroup: None,
                resctrl: None,
                devices: None,
                process: None,
                hooked: false,
                keyring: false,
                committed: false,
            }),
            Err(error) => {
                let _undone = directory.remove();
                Err(error)
            }
        }
    }

    /// Makes the cgroups and sets their limits. Until the returned process is dropped, systemd finds
    /// it in the unit.
    fn join_cgroup(
        &mut self,
        runtime: &Runtime,
        plan: &Plan,
        annotations: &BTreeMap<String, String>,
        driver: CgroupDriver,
    ) -> Result<Option<Idle>> {
        let (id, asked) = (self.directory.id(), plan.cgroups_path.as_deref());
        let resources = plan.resources.clone().unwrap_or_default();
        let record = match driver {
            CgroupDriver::Cgroupfs => Layout::detect()?.place(id, asked)?,
            CgroupDriver::Systemd => Layout::detect()?.place_unit(id, asked)?,
            CgroupDriver::Disabled => return cgroup::without(&resources).map(|()| None),
        };
        self.journal.append(&Entry::Cgroup(record.clone()))?;
        let idle = match record.needs_occupant() {
            true => Some(Idle::start(runtime.image()?.as_fd(), 0)?),
            false => None,
        };
        let occupant = idle.as_ref().map(|idle| Occupant { pid: idle.pid(), annotations });
        let mut manager = cgroup::open_for(record, occupant.as_ref())?;
        manager.create(&resources).context("create the cgroup")?;
        let manager = self.cgroup.insert(manager);
        // From here on whatever is in it is the container's, and a deletion may kill it.
        self.journal.append(&Entry::Cgroup(manager.record().clone()))?;
        manager.apply(&resources)?;
        if let Some((user, group)) = plan.cgroup_owner {
            manager.delegate(user, group)?;
        }
        Ok(idle)
    }

    /// Makes its place in the resctrl file system, if it has one.
    fn join_resctrl(&mut self, plan: &Plan, options: &CreateOptions) -> Result<()> {
        let Some(settings) = &plan.intel_rdt else { return Ok(()) };
        let journal = &mut self.journal;
        let mut announce = |group: &rdt::Group| journal.append(&Entry::Resctrl(group.clone()));
        let imitation = options.resctrl_imitation.as_deref();
        let id = self.directory.id();
        self.resctrl = Some(rdt::Group::create(settings, id, imitation, &mut announce)?);
        Ok(())
    }

    /// Ends what has held the cgroup for systemd, now that the init program is there.
    fn settle(&self, plan: &Plan, idle: Option<Idle>) -> Result<()> {
        drop(idle);
        match (&self.cgroup, &plan.resources) {
            (Some(cgroup), Some(resources)) => cgroup.settle(resources),
            _ => Ok(()),
        }
    }

    fn commit(mut self) {
        self.committed = true;
        if let Some(devices) = self.devices.take() {
            devices.keep();
        }
    }

    /// Undoes it because of `error`, which is told what could not be undone.
    fn abandon(mut self, error: Error, bundle: &Bundle) -> Error {
        self.committed = true;
        let error = match self.devices.take().map(netdev::Moved::restore) {
            Some(Err(left)) => error.with_hint(left.to_string()),
            Some(Ok(())) | None => error,
        };
        let undone = self.end().and_then(|()| {
            if self.hooked {
                let state = document(bundle, self.directory.id(), "stopped");
                run_poststop((&bundle.spec().hooks, bundle.directory()), &state, &self.directory);
            }
            self.directory.remove()
        });
        match undone {
            Ok(()) => error,
            Err(left) => left_behind(error, &left),
        }
    }

    /// Ends its processes and removes its groups.
    fn end(&self) -> Result<()> {
        if let Some(process) = &self.process {
            let _killed = pidfd::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
            let _reaped = pidfd::wait(process.pidfd.as_fd());
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill()?;
            cgroup.delete(Leftover::Kill)?;
        }
        self.resctrl.as_ref().map_or(Ok(()), rdt::Group::remove)
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        // With the journal in place, a deletion by force can finish what cannot be done here.
        if !self.committed && self.end().is_ok() {
            let _undone = self.directory.remove();
        }
    }
}

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
        let place = match &self.creation.cgroup {
            Some(cgroup) => cgroup.record().clone(),
            None => Layout::detect()?.own(),
        };
        let mut points = Layout::mount_points(&place).into_iter();
        points.find(|point| point.name == hierarchy).map(|point| point.source).ok_or_else(|| {
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
    plan: &'a Plan,
    document: &'a StateDocument,
    bundle: &'a Path,
    journal: &'a mut Journal,
    console: &'a mut Console,
    hooked: &'a mut bool,
    resctrl: Option<&'a rdt::Group>,
    devices: &'a mut Option<netdev::Moved>,
    init: Option<Identity>,
    filter: Option<Vec<u8>>,
    agent: Option<Address>,
}

impl CreateGates<'_> {
    /// Writes down which process it is by now.
    fn note(&mut self, process: &Process) -> Result<()> {
        let init = Identity::of(process.pid, process.pidfd.as_fd())?;
        self.init = Some(init);
        self.journal.append(&Entry::Init(init))
    }
}

impl Gates for CreateGates<'_> {
    fn mapped(&mut self, process: &Process) -> Result<()> {
        self.note(process)?;
        self.resctrl.map_or(Ok(()), |group| group.add(process.pid))
    }

    fn respawned(&mut self, process: &Process) -> Result<()> {
        self.note(process)
    }

    fn filter(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(profile) = &self.plan.seccomp {
            let filter = compile(profile)?;
            if filter.has_listener() {
                self.agent = Address::of(profile, self.bundle);
            }
            self.filter = Some(seccomp_message(&filter));
        }
        Ok(self.filter.clone())
    }

    fn mounted(&mut self, process: &Process) -> Result<()> {
        if !self.plan.net_devices.is_empty() {
            let path = PathBuf::from(format!("/proc/{}/ns/net", process.pid));
            let namespace = netdev::open_namespace(&path)?;
            *self.devices = Some(netdev::Moved::into(&self.plan.net_devices, namespace.as_fd())?);
        }
        *self.hooked = true;
        let hooks = &self.plan.hooks;
        if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
            return Ok(());
        }
        let state = self.document.with_pid(process.pid);
        for (kind, list) in
            [("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)]
        {
            let environment = Environment { kind, state: state.as_bytes(), bundle: self.bundle };
            environment.run(list, &mut |pid, pidfd| self.journal.note_hook(pid, pidfd))?;
        }
        Ok(())
    }

    fn console(&mut self, master: OwnedFd) -> Result<()> {
        self.console.accept(master)
    }

    fn listener(&mut self, _process: &Process, _listener: OwnedFd) -> Result<()> {
        Err(Error::new(ErrorKind::System, "the seccomp filter was loaded before the start"))
    }
}

fn compile(profile: &Seccomp) -> Result<Filter> {
    seccomp::compile(profile).map_err(|error| match error.field() {
        Some(_) => error,
        None => error.with_field("linux.seccomp"),
    })
}

/// The filter as the init program receives it: flags, then instructions.
fn seccomp_message(filter: &Filter) -> Vec<u8> {
    let mut message = filter.flags().to_ne_bytes().to_vec();
    message.extend_from_slice(filter.as_bytes());
    message
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
    let mut creation = Creation::begin(runtime.root(), id, bundle)?;
    creation.keyring = !options.no_new_keyring;
    if options.notify {
        creation.directory.make_notify_directory()?;
    }
    let annotations = &bundle.spec().annotations;
    let made = creation
        .join_cgroup(runtime, &plan, annotations, options.cgroup_driver)
        .and_then(|idle| {
            creation.join_resctrl(&plan, options)?;
            let served =
                set_up(runtime, (&plan, &options.stdio), bundle, &mut creation, &mut console)?;
            creation.settle(&plan, idle)?;
            Ok(served)
        })
        .and_then(|served| {
            let record = record(&creation, plan, bundle, &served);
            write_record(&creation, &record, served.filter.as_deref())?;
            creation.process.as_ref().map_or(Ok(()), |process| announcement.make(process))?;
            Ok(record)
        });
    let record = match made {
        Ok(record) => record,
        Err(error) => return Err(creation.abandon(error, bundle)),
    };
    let pidfd = creation.process.take().map(|process| process.pidfd);
    // From here on the container stays.
    creation.commit();
    let known = Known::Created(Box::new(record));
    let console = console.into_kept();
    Ok(Container { runtime: runtime.clone(), id: id.clone(), known, pidfd, console })
}

/// What a served init program leaves to be recorded.
struct Served {
    init: Identity,
    filter: Option<Vec<u8>>,
    agent: Option<Address>,
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
    let (control, theirs) = Control::pair()?;
    let program = launch::program(plan)?;
    control.send_program(program.as_fd(), &slots)?;
    let birth = Birth::into(creation.cgroup.as_deref())?;
    let process = spawn(runtime, plan, theirs.as_fd(), &birth)?;
    drop(birth);
    drop((theirs, slots));
    let document = document(bundle, creation.directory.id(), "creating");
    let process = creation.process.insert(process);
    let mut gates = CreateGates {
        plan,
        document: &document,
        bundle: bundle.directory(),
        journal: &mut creation.journal,
        console,
        hooked: &mut creation.hooked,
        resctrl: creation.resctrl.as_ref(),
        devices: &mut creation.devices,
        init: None,
        filter: None,
        agent: None,
    };
    launch::serve(plan, &control, process, &mut gates)?;
    // Everything is attached.
    drop(nodes);
    let init = gates
        .init
        .ok_or_else(|| Error::new(ErrorKind::System, "the init program has passed no gate"))?;
    Ok(Served { init, filter: gates.filter, agent: gates.agent })
}

fn document(bundle: &Bundle, id: &ContainerId, status: &str) -> StateDocument {
    let spec = bundle.spec();
    let version = &spec.oci_version;
    StateDocument::new(version, id, status, bundle.directory(), &spec.annotations)
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

/// What later commands need to know.
fn record(creation: &Creation, plan: Plan, bundle: &Bundle, served: &Served) -> Record {
    let spec = bundle.spec();
    Record {
        version: VERSION,
        oci_version: spec.oci_version.clone(),
        bundle: bundle.directory().to_owned(),
        rootfs: bundle.rootfs(),
        created: creation.beginning.created.clone(),
        init: served.init,
        owner: creation.beginning.owner,
        annotations: spec.annotations.clone(),
        cgroup: creation.cgroup.as_ref().map(|cgroup| cgroup.record().clone()).unwrap_or_default(),
        resctrl: creation.resctrl.clone(),
        namespaces: plan.namespaces,
        shares_mounts: plan.shares_mounts,
        id_maps: plan.id_maps.or(plan.joined_maps),
        process: plan.process,
        personality: plan.personality,
        memory_policy: plan.memory_policy,
        keyring: creation.keyring,
        hooks: plan.hooks,
        filter: served.filter.is_some(),
        agent: served.agent.clone(),
    }
}

fn write_record(creation: &Creation, record: &Record, filter: Option<&[u8]>) -> Result<()> {
    if let Some(filter) = filter {
        creation.directory.write("filter", filter)?;
    }
    creation.directory.write("state.json", &record.encode()?)
}
