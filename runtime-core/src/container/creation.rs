//! What exists of a container while it is made, by `create` or by `restore`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::announcement::Announcement;
use super::delete::{left_behind, run_poststop, wait_for_end};
use super::options::CgroupDriver;
use super::{Bundle, Container, Known, Runtime};
use crate::cgroup::{self, Layout, Leftover, Manager, Occupant};
use crate::error::{Context, Error, Result};
use crate::hooks::Environment;
use crate::id::ContainerId;
use crate::launch::{Idle, Process};
use crate::netdev;
use crate::plan::{Plan, StateDocument, namespace_flag};
use crate::rdt;
use crate::seccomp::{self, Address, Filter};
use crate::spec::{Seccomp, Spec};
use crate::state::{Beginning, Directory, Entry, Identity, Journal, Record, VERSION};
use crate::sys::clock;
use crate::sys::pidfd;

/// A container that is to be made.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) id: &'a ContainerId,
    pub(super) bundle: &'a Bundle,
    pub(super) plan: Plan,
    pub(super) driver: CgroupDriver,
    /// A directory to take for the resctrl file system.
    pub(super) resctrl: Option<&'a Path>,
    pub(super) announcement: Announcement<'a>,
    /// Whether it gets a session keyring of its own.
    pub(super) keyring: bool,
    /// Whether it gets a socket to the service manager.
    pub(super) notify: bool,
}

impl Order<'_> {
    /// Makes what the container's processes need, has `make` make them, and writes everything down. When
    /// something fails, all of it is undone.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn carry_out(
        self,
        make: &mut dyn FnMut(&Plan, &mut Creation) -> Result<Served>,
    ) -> Result<Container> {
        let Self { runtime, id, bundle, plan, announcement, .. } = self;
        let mut creation = Creation::begin(runtime.root(), id, bundle)?;
        creation.keyring = self.keyring;
        if self.notify {
            creation.directory.make_notify_directory()?;
        }
        let annotations = &bundle.spec().annotations;
        let made = creation
            .join_cgroup(runtime, &plan, annotations, self.driver)
            .and_then(|idle| {
                creation.join_resctrl(&plan, self.resctrl)?;
                let served = make(&plan, &mut creation)?;
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
        Ok(Container { runtime: runtime.clone(), id: id.clone(), known, pidfd, console: None })
    }
}

/// What exists so far. Dropped before [`Creation::commit`], it is undone in the reverse order.
#[derive(Debug)]
pub(super) struct Creation {
    pub(super) directory: Directory,
    pub(super) journal: Journal,
    beginning: Beginning,
    pub(super) cgroup: Option<Box<dyn Manager>>,
    pub(super) resctrl: Option<rdt::Group>,
    pub(super) devices: Option<netdev::Moved>,
    pub(super) process: Option<Process>,
    /// Whether it has come to the hooks: those that follow the deletion are due then.
    pub(super) hooked: bool,
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
    fn join_resctrl(&mut self, plan: &Plan, imitation: Option<&Path>) -> Result<()> {
        let Some(settings) = &plan.intel_rdt else { return Ok(()) };
        let journal = &mut self.journal;
        let mut announce = |group: &rdt::Group| journal.append(&Entry::Resctrl(group.clone()));
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
        }
        // Somebody may have frozen it: this thaws it, too.
        let killed = self.cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.kill());
        if let Some(process) = &self.process {
            let pidfd = process.pidfd.as_fd();
            wait_for_end(pidfd, ("container init", process.pid), self.cgroup.as_deref())?;
            let _reaped = pidfd::try_wait(pidfd);
        }
        killed?;
        if let Some(cgroup) = &self.cgroup {
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

/// What the making of the processes leaves to be recorded.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) init: Identity,
    /// The `CLONE_NEW*` kinds of the namespaces that it is in, where the plan does not tell all.
    pub(super) namespaces: u64,
    pub(super) filter: Option<Vec<u8>>,
    pub(super) agent: Option<Address>,
}

/// What is done in the caller's namespaces once those of the container are there, and nothing of it runs
/// yet.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    pub(super) plan: &'a Plan,
    pub(super) bundle: &'a Bundle,
    pub(super) document: &'a StateDocument,
    pub(super) journal: &'a mut Journal,
    pub(super) hooked: &'a mut bool,
    pub(super) devices: &'a mut Option<netdev::Moved>,
}

impl Outside<'_> {
    /// Writes down which process it is.
    ///
    /// # Errors
    /// The failure of a system call, or a process that has ended.
    pub(super) fn note(&mut self, process: &Process) -> Result<Identity> {
        let init = Identity::of(process.pid, process.pidfd.as_fd())?;
        self.journal.append(&Entry::Init(init))?;
        Ok(init)
    }

    /// Moves network devices, and runs the prestart and createRuntime hooks.
    ///
    /// # Errors
    /// The failure of either.
    pub(super) fn enter(&mut self, process: &Process) -> Result<()> {
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
            let bundle = self.bundle.directory();
            let environment = Environment { kind, state: state.as_bytes(), bundle };
            environment.run(list, &mut |pid, pidfd| self.journal.note_hook(pid, pidfd))?;
        }
        Ok(())
    }
}

/// The seccomp filter as the init program receives it, and the agent that gets its listeners.
///
/// # Errors
/// A profile that cannot be compiled.
pub(super) fn filter(plan: &Plan, bundle: &Bundle) -> Result<(Option<Vec<u8>>, Option<Address>)> {
    let Some(profile) = &plan.seccomp else { return Ok((None, None)) };
    let filter = compile(profile)?;
    let agent = if filter.has_listener() { Address::of(profile, bundle.directory()) } else { None };
    Ok((Some(seccomp_message(&filter)), agent))
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

/// What hooks read of the container in this status.
pub(super) fn document(bundle: &Bundle, id: &ContainerId, status: &str) -> StateDocument {
    let spec = bundle.spec();
    let version = &spec.oci_version;
    StateDocument::new(version, id, status, bundle.directory(), &spec.annotations)
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
        namespaces: plan.namespaces | served.namespaces,
        joined: joined(spec),
        shares_mounts: plan.shares_mounts,
        id_maps: plan.id_maps.or(plan.joined_maps),
        mount_label: spec.linux.mount_label.clone(),
        rootfs_propagation: spec.linux.rootfs_propagation,
        process: plan.process,
        personality: plan.personality,
        memory_policy: plan.memory_policy,
        keyring: creation.keyring,
        hooks: plan.hooks,
        filter: served.filter.is_some(),
        agent: served.agent.clone(),
    }
}

/// The kinds of the namespaces that a configuration names by their files.
fn joined(spec: &Spec) -> u64 {
    let named = spec.linux.namespaces.iter().filter(|namespace| namespace.path.is_some());
    named.fold(0, |kinds, namespace| kinds | u64::from(namespace_flag(namespace.kind)))
}

fn write_record(creation: &Creation, record: &Record, filter: Option<&[u8]>) -> Result<()> {
    if let Some(filter) = filter {
        creation.directory.write("filter", filter)?;
    }
    creation.directory.write("state.json", &record.encode()?)
}
