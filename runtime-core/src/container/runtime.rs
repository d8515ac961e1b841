//! A state root and the containers below it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::list::{self, Listed};
use super::{Bundle, Container, CreateOptions, RestoreOptions, create, delete, load, restore};
use crate::error::Result;
use crate::host::Host;
use crate::id::ContainerId;
use crate::launch::Image;
use crate::plan::{Plan, PlanOptions};
use crate::state::NOTIFY_DIRECTORY;

/// A state root: the directory that has one directory for each container.
///
/// All methods may be called from any thread of any program. They change nothing about the calling
/// process, neither for a moment nor for good; the init processes become its children.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
    image: Arc<OnceLock<Image>>,
}

impl Runtime {
    /// A runtime that keeps its state below `root`, an absolute path. Nothing is touched until a
    /// container is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), image: Arc::new(OnceLock::new()) }
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a container (runtime-spec, runtime.md "Create"): everything is set up, and the program,
    /// which has been found, waits for [`Container::start`].
    ///
    /// # Errors
    /// What is wrong with the configuration, what this host refuses, which hook fails. Nothing is left
    /// behind then.
    pub fn create(
        &self,
        id: &ContainerId,
        bundle: &Bundle,
        options: &CreateOptions,
    ) -> Result<Container> {
        create::create(self, id, bundle, options)
    }

    /// Makes a running container of the images of a [checkpoint](Container::checkpoint) with criu. Its file
    /// system is the bundle's, with the content that it had then; mounts of the host, joined namespaces,
    /// limits and hooks are those of the bundle's configuration. Prestart and createRuntime hooks run.
    ///
    /// # Errors
    /// As [`Runtime::create`]; what criu cannot do, with the failing lines of its log. Nothing is left
    /// behind then.
    pub fn restore(
        &self,
        id: &ContainerId,
        bundle: &Bundle,
        options: &RestoreOptions,
    ) -> Result<Container> {
        restore::restore(self, id, bundle, options)
    }

    /// Finds a container again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), or state files that cannot be read.
    pub fn load(&self, id: &ContainerId) -> Result<Container> {
        load::load(self, id)
    }

    /// All containers, by name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the state root does not exist.
    pub fn list(&self) -> Result<Vec<Listed>> {
        list::list(self)
    }

    /// Deletes a container by name, as [`Container::delete`], even if its state files are broken or its
    /// creation was killed. By force, a missing container is no error.
    ///
    /// # Errors
    /// As [`Container::delete`].
    pub fn delete(&self, id: &ContainerId, force: bool) -> Result<()> {
        delete::delete(self, id, force)
    }

    /// What [`Runtime::create`] would do, without doing anything.
    ///
    /// # Errors
    /// What is wrong with the configuration, or not supported on this host.
    pub fn plan(&self, id: &ContainerId, bundle: &Bundle, options: &CreateOptions) -> Result<Plan> {
        self.plan_for(&Host::read(bundle.spec())?, id, bundle, options)
    }

    pub(super) fn plan_for(
        &self,
        host: &Host,
        id: &ContainerId,
        bundle: &Bundle,
        options: &CreateOptions,
    ) -> Result<Plan> {
        let mut choices = PlanOptions::new(id.clone(), bundle.directory().to_owned());
        choices.no_pivot = options.no_pivot;
        choices.no_new_keyring = options.no_new_keyring;
        choices.listen_fds = options.listen_fds;
        choices.preserve_fds = options.preserve_fds;
        choices.streams = options.stdio.replaces();
        choices.notify_directory =
            options.notify.then(|| self.root.join(id.as_str()).join(NOTIFY_DIRECTORY));
        Plan::compile(bundle.spec(), host, &choices)
    }

    /// The init program, copied once for all containers of this runtime.
    pub(super) fn image(&self) -> Result<&Image> {
        if let Some(image) = self.image.get() {
            return Ok(image);
        }
        let image = Image::new(&self.root)?;
        Ok(self.image.get_or_init(|| image))
    }
}
