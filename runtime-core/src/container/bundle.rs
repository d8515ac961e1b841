//! A bundle: a directory and its configuration.

use std::path::{Path, PathBuf};

use crate::error::{Attempt, Result};
use crate::spec::Spec;

/// A directory with a configuration that was read and validated (runtime-spec, bundle.md).
#[derive(Clone, Debug)]
pub struct Bundle {
    directory: PathBuf,
    spec: Spec,
    warnings: Vec<String>,
}

impl Bundle {
    /// Reads `config.json` in `directory`.
    ///
    /// # Errors
    /// A directory that is missing; a configuration that is missing, malformed or invalid, with the field
    /// and its line and column.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self> {
        Self::load_config(directory, "config.json")
    }

    /// Reads the configuration from `config`, which is taken from `directory` if it is relative.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn load_config(directory: impl AsRef<Path>, config: impl AsRef<Path>) -> Result<Self> {
        let directory = absolute(directory.as_ref())?;
        let loaded = Spec::load(&directory.join(config))?;
        Ok(Self { directory, spec: loaded.value, warnings: loaded.warnings })
    }

    /// Takes a configuration that was made in memory; nothing is read.
    ///
    /// # Errors
    /// An invalid configuration.
    pub fn new(directory: impl AsRef<Path>, spec: Spec) -> Result<Self> {
        spec.validate()?;
        Ok(Self { directory: absolute(directory.as_ref())?, spec, warnings: Vec::new() })
    }

    /// The directory, absolute.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What was odd but not wrong in the configuration, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The root file system: `root.path`, taken from the bundle if it is relative.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join(&self.spec.root.path)
    }
}

/// Absolute without touching the file system: a wrong directory shows when its file is opened.
fn absolute(directory: &Path) -> Result<PathBuf> {
    std::path::absolute(directory).attempt_on("name the bundle", directory)
}
