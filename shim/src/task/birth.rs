//! How a container comes into being: created, or restored from the images of a checkpoint.

use std::io::Result as IoResult;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use coracle::spec::{IdMapping, NamespaceKind, Spec};
use coracle::{
    Bundle, ConsoleTarget, Container, ContainerId, CreateOptions, CriuOptions, OomWatch,
    RestoreOptions, Runtime,
};

use super::Life;
use crate::children::Claim;
use crate::failure::Failure;
use crate::io::{self, Opened, Owner, Relay, Streams};
use crate::oom::Watch;
use crate::options::Options;

/// Everything that is needed to make a container, on any thread.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    pub(super) streams: Streams,
    pub(super) owner: Owner,
    pub(super) options: Options,
    pub(super) runtime: Runtime,
    /// The images to restore it from; `None`: it is created.
    pub(super) images: Option<PathBuf>,
}

/// A container that was made on a thread, before the loop knows it.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) container: Container,
    claim: Claim,
    opened: Opened,
    oom: Option<OomWatch>,
    shares_pids: bool,
    io_ids: Option<(u32, u32)>,
}

impl Recipe {
    /// Makes the container. Blocks.
    ///
    /// # Errors
    /// What the configuration, the streams or the kernel refuse.
    pub(super) fn make(mut self) -> Result<Born, Failure> {
        let bundle = Bundle::load(&self.bundle)?;
        for warning in bundle.warnings() {
            log::warn!("{}: {warning}", self.id);
        }
        self.owner.ids = self.owner.ids.or_else(|| payload_ids(bundle.spec()));
        let mut opened = io::open(&self.streams, &self.owner)
            .map_err(|error| Failure::from(error).context("open the standard streams"))?;
        let container = match self.images.take() {
            Some(images) => self.restore(&bundle, images, &mut opened)?,
            None => self.create(&bundle, &mut opened)?,
        };
        Ok(Born {
            // The cgroup can be without a memory controller.
            oom: container.oom_watch().ok(),
            claim: Claim::new(container.init_pid().unwrap_or_default()),
            shares_pids: shares_pids(bundle.spec()),
            io_ids: self.owner.ids,
            container,
            opened,
        })
    }

    fn create(&self, bundle: &Bundle, opened: &mut Opened) -> Result<Container, Failure> {
        let mut options = CreateOptions::default();
        options.console = ConsoleTarget::Keep;
        options.pid_file = Some(self.bundle.join("init.pid"));
        options.no_pivot = self.options.no_pivot_root;
        options.no_new_keyring = self.options.no_new_keyring;
        options.cgroup_driver = self.options.cgroup_driver(bundle.spec());
        options.stdio = opened.take_child_ends();
        Ok(self.runtime.create(&self.id, bundle, &options)?)
    }

    fn restore(
        &self,
        bundle: &Bundle,
        images: PathBuf,
        opened: &mut Opened,
    ) -> Result<Container, Failure> {
        let mut options = RestoreOptions::default();
        let mut criu = CriuOptions::default();
        criu.images = images;
        criu.work = self.options.criu_work(&self.bundle);
        criu.shell_job = self.streams.terminal;
        options.criu = criu;
        options.console = ConsoleTarget::Keep;
        options.pid_file = Some(self.bundle.join("init.pid"));
        options.no_new_keyring = self.options.no_new_keyring;
        options.cgroup_driver = self.options.cgroup_driver(bundle.spec());
        options.stdio = opened.take_child_ends();
        Ok(self.runtime.restore(&self.id, bundle, &options)?)
    }
}

impl Born {
    /// Removes it again. Blocks.
    pub(super) fn discard(self) {
        let Self { container, claim, .. } = self;
        undo(container);
        drop(claim);
    }

    /// Gives its descriptors to the loop.
    ///
    /// # Errors
    /// They cannot be registered; the container is to be removed then.
    pub(super) fn settle_in(self) -> Result<(Life, Relay, Claim), Box<(Failure, Container)>> {
        let Self { mut container, claim, opened, oom, shares_pids, io_ids } = self;
        match register(opened, container.take_console(), oom) {
            Ok((relay, oom)) => {
                let oom = oom.map(Rc::new);
                let life = Life { container: Arc::new(container), oom, shares_pids, io_ids };
                Ok((life, relay, claim))
            }
            Err(error) => {
                let failure = Failure::from(error).context("relay the standard streams");
                Err(Box::new((failure, container)))
            }
        }
    }
}

fn register(
    opened: Opened,
    console: Option<OwnedFd>,
    oom: Option<OomWatch>,
) -> IoResult<(Relay, Option<Watch>)> {
    Ok((opened.relay(console)?, oom.map(Watch::new).transpose()?))
}

/// Removes a container that the loop could not take. Blocks.
pub(super) fn undo(container: Container) {
    let id = container.id().clone();
    if let Err(error) = container.delete(true) {
        log::error!("remove {id} again: {error}");
    }
}

/// Whether processes of the container can outlive its init: without a pid namespace that is its own.
fn shares_pids(spec: &Spec) -> bool {
    spec.linux.namespace(NamespaceKind::Pid).is_none_or(|namespace| namespace.path.is_some())
}

/// User and group of the program, as the host sees them.
fn payload_ids(spec: &Spec) -> Option<(u32, u32)> {
    let user = &spec.process.as_ref()?.user;
    let on_host = |id: u32, maps: &[IdMapping]| {
        if maps.is_empty() {
            return Some(id);
        }
        maps.iter().find_map(|map| {
            let offset = id.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
            map.host_id.checked_add(offset)
        })
    };
    let linux = &spec.linux;
    Some((on_host(user.uid, &linux.uid_mappings)?, on_host(user.gid, &linux.gid_mappings)?))
}
