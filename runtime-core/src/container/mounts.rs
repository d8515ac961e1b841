//! Adding mounts to a container that exists, and taking them away.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::create::{Birth, spawn};
use super::exec::Started;
use super::{Container, Status};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::host::Host;
use crate::launch::{self, Control, Gates, Resolver};
use crate::plan::{Addition, IdMaps, Mounting, Plan};
use crate::spec::{Linux, Mount, NamespaceKind, Spec, check_mounts};
use crate::state::Record;
use crate::sys::mount;

impl Container {
    /// Mounts file systems or parts of the host's in the container, which is created, running or paused:
    /// what a configuration can ask for, but for remounts and cgroups. Sources are those of the calling
    /// process; relative ones start at the bundle. Of a destination no part may be a symbolic link, which
    /// the container's processes could change meanwhile. Either all mounts are there afterwards or none.
    ///
    /// The mounts are in the container's mount namespace alone and end with it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] for a stopped container, [`ErrorKind::Unsupported`] for one without a
    /// mount namespace of its own; what is wrong with a mount, with its field.
    pub fn add_mounts(&self, mounts: &[Mount]) -> Result<()> {
        let _locked = self.lock()?;
        let record = self.with_mounts()?;
        check_mounts(mounts)?;
        let spec = spec(record, mounts);
        let host = Host::read(&spec)?;
        let mounting = mounting(record, &spec);
        let plans = (0..mounts.len()).map(|index| mounting.add(index, &host));
        // All are looked at before one is made.
        let plans = plans.collect::<Result<Vec<_>>>()?;
        for (index, addition) in plans.iter().enumerate() {
            if let Err(error) = self.change(&addition.plan, Some(addition)) {
                let made = mounts.iter().take(index).map(|mount| mount.destination.as_path());
                return Err(self.take_back(made, error));
            }
        }
        Ok(())
    }

    /// Takes away what is mounted at these places of the container, with all that is mounted below, and
    /// what came last first. It need not have been added by [`Container::add_mounts`]; what a
    /// process still uses of it stays until then.
    ///
    /// # Errors
    /// As [`Container::add_mounts`]; where nothing is mounted, and for /, /proc, /sys and what is below
    /// these two. What stands behind it in the list has been taken away then.
    pub fn remove_mounts(&self, destinations: &[PathBuf]) -> Result<()> {
        let _locked = self.lock()?;
        let record = self.with_mounts()?;
        let spec = spec(record, &[]);
        let host = Host::read(&spec)?;
        let mounting = mounting(record, &spec);
        let plans = destinations.iter().enumerate();
        let plans = plans.map(|(index, path)| mounting.remove(path, index, &host));
        let plans = plans.collect::<Result<Vec<_>>>()?;
        plans.iter().rev().try_for_each(|plan| self.change(plan, None))
    }

    /// The record, if mounts of the container can be changed.
    fn with_mounts(&self) -> Result<&Record> {
        let record = self.record()?;
        if self.status()? == Status::Stopped {
            return Err(self.not_running());
        }
        let own = u64::from(crate::plan::namespace_flag(NamespaceKind::Mount));
        if record.shares_mounts || record.namespaces & own == 0 {
            let message = "the container has no mount namespace of its own";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("its mounts would be those of others, and stay after it"));
        }
        Ok(record)
    }

    fn change(&self, plan: &Plan, addition: Option<&Addition>) -> Result<()> {
        let slots = launch::open_sources(plan, &Inside(self))?.slots;
        if let Some(Addition { tree, first, .. }) = addition
            && let Some(tree) = slots.get(*tree)
        {
            first.iter().try_for_each(|(kind, recursive)| {
                mount::propagate(tree.as_fd(), *kind, *recursive)
                    .attempt("set how the events of the mount travel")
            })?;
        }
        let (control, theirs) = Control::pair()?;
        let program = launch::program(plan)?;
        control.send_program(program.as_fd(), &slots)?;
        let born = spawn(&self.runtime, plan, theirs.as_fd(), &Birth::default())?;
        // It waits at its last gate, until it is killed.
        let mut started = Started(Some(born));
        drop((theirs, slots));
        match &mut started.0 {
            Some(process) => launch::serve(plan, &control, process, &mut Passing),
            None => Ok(()),
        }
    }

    /// The error, after what was mounted before it has been taken away again.
    fn take_back<'a>(
        &self,
        made: impl DoubleEndedIterator<Item = &'a Path>,
        error: Error,
    ) -> Error {
        let made: Vec<_> = made.map(Path::to_owned).collect();
        let taken = self.with_mounts().and_then(|record| {
            let spec = spec(record, &[]);
            let host = Host::read(&spec)?;
            let mounting = mounting(record, &spec);
            made.iter().enumerate().rev().try_for_each(|(index, path)| {
                self.change(&mounting.take_back(path, index, &host)?, None)
            })
        });
        match taken {
            Ok(()) => error,
            Err(left) => error.context(format!("and mounts before it stay ({left})")),
        }
    }
}

/// The mounts with what they depend on.
fn spec(record: &Record, mounts: &[Mount]) -> Spec {
    Spec {
        mounts: mounts.to_vec(),
        annotations: record.annotations.clone(),
        linux: Linux {
            mount_label: record.mount_label.clone(),
            rootfs_propagation: record.rootfs_propagation,
            ..Linux::default()
        },
        ..Spec::default()
    }
}

fn mounting<'a>(record: &'a Record, spec: &'a Spec) -> Mounting<'a> {
    Mounting {
        spec,
        bundle: &record.bundle,
        namespaces: record.namespaces,
        id_maps: record.id_maps.as_ref(),
    }
}

/// What the plans of mounts open beyond paths.
struct Inside<'a>(&'a Container);

impl Inside<'_> {
    fn nothing(what: &str) -> Error {
        Error::new(
            ErrorKind::WrongStatus,
            format!("a mount of a container that exists has no {what}"),
        )
    }
}

impl Resolver for Inside<'_> {
    fn start_socket(&self) -> Result<PathBuf> {
        Err(Self::nothing("start socket"))
    }

    fn node(&self, _index: usize) -> Result<PathBuf> {
        Err(Self::nothing("devices"))
    }

    fn cgroup(&self, _hierarchy: &str) -> Result<PathBuf> {
        Err(Self::nothing("cgroup hierarchies"))
    }

    fn user_namespace(&self, maps: &IdMaps) -> Result<OwnedFd> {
        launch::user_namespace(self.0.runtime.image()?.as_fd(), maps)
    }

    fn init(&self) -> Result<OwnedFd> {
        self.0.record()?.init.open().ok_or_else(|| self.0.not_running())
    }

    fn init_root(&self) -> Result<OwnedFd> {
        Err(Self::nothing("root of its own"))
    }

    fn stream(&self, _number: usize) -> Result<OwnedFd> {
        Err(Self::nothing("streams"))
    }
}

/// Lets the init program through: nothing is done from outside.
struct Passing;

impl Gates for Passing {
    fn mapped(&mut self, _process: &launch::Process) -> Result<()> {
        Ok(())
    }

    fn respawned(&mut self, _process: &launch::Process) -> Result<()> {
        Ok(())
    }

    fn filter(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn mounted(&mut self, _process: &launch::Process) -> Result<()> {
        Ok(())
    }

    fn console(&mut self, _master: OwnedFd) -> Result<()> {
        Err(Inside::nothing("terminal"))
    }

    fn listener(&mut self, _process: &launch::Process, _listener: OwnedFd) -> Result<()> {
        Err(Inside::nothing("listener"))
    }
}
