//! One value for one control file, and how a list of them is written.

use std::borrow::Cow;

use nix::errno::Errno;

use super::tree::Tree;
use crate::error::{Error, ErrorKind, Result};

/// A value that goes into a control file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The controller whose file it is.
    pub(super) controller: Cow<'static, str>,
    /// The file's name.
    pub(super) file: Cow<'static, str>,
    /// What is written.
    pub(super) value: String,
    /// The field of the configuration that asks for it.
    pub(super) field: Cow<'static, str>,
    /// What to do where the kernel has no such file.
    pub(super) absent: Absent,
}

/// What to do where the kernel has no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The limit cannot be held: an error.
    Fail,
    /// Nothing is lost: the value is what holds anyway.
    Skip,
    /// Another file does the same with this value.
    Instead(&'static str, String),
}

impl Setting {
    /// A value for a file that must exist.
    pub(super) fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl std::fmt::Display,
        field: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller: Cow::Borrowed(controller),
            file: file.into(),
            value: value.to_string(),
            field: field.into(),
            absent: Absent::Fail,
        }
    }

    /// The same, where the file may be absent.
    pub(super) fn or(mut self, absent: Absent) -> Self {
        self.absent = absent;
        self
    }

    fn write(&self, tree: &Tree, directory: &str) -> nix::Result<()> {
        match (tree.write(directory, &self.file, &self.value), &self.absent) {
            (Err(Errno::ENOENT), Absent::Skip) => Ok(()),
            (Err(Errno::ENOENT), Absent::Instead(other, value)) => {
                tree.write(directory, other, value)
            }
            (result, _) => result,
        }
    }

    fn failure(&self, tree: &Tree, directory: &str, errno: Errno) -> Error {
        let message = format!("write {:?} to", self.value.trim_end());
        let error = Error::system(message, errno as i32)
            .with_field(self.field.clone())
            .with_path(tree.absolute(&format!("{directory}/{}", self.file)));
        match hint(self, tree, directory, errno) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

fn hint(setting: &Setting, tree: &Tree, directory: &str, errno: Errno) -> Option<String> {
    Some(match errno {
        Errno::ENOENT => format!(
            "the kernel does not offer this file; is the controller {:?} complete?",
            setting.controller
        ),
        Errno::EBUSY if setting.controller == "memory" => {
            let usage = tree
                .read(directory, "memory.usage_in_bytes")
                .or_else(|_| tree.read(directory, "memory.current"));
            format!(
                "the limit is below the current use of {} bytes",
                usage.as_deref().map_or("an unknown number of", str::trim_end)
            )
        }
        Errno::EROFS => "the cgroup file system is mounted read-only here".to_owned(),
        Errno::EACCES | Errno::EPERM => {
            "the cgroup is not delegated to this user, or its parent allows less".to_owned()
        }
        Errno::ENODEV => "there is no such device on this host".to_owned(),
        Errno::EINVAL | Errno::ERANGE => {
            "the kernel does not accept this value beside the other values and the parent's limits"
                .to_owned()
        }
        _ => return None,
    })
}

/// Writes all values to the files of the directories that `directory` names, each with one write.
///
/// Some pairs of files bound each other (limit and memory + swap, quota and burst, shares and
/// idle), and which one must be first depends on the old values. What the kernel refuses as
/// invalid is therefore tried once more after the rest.
pub(super) fn write_all<'a>(
    tree: &Tree,
    settings: &'a [Setting],
    directory: &dyn Fn(&Setting) -> Result<String>,
) -> Result<()> {
    let mut refused: Vec<(&'a Setting, String)> = Vec::new();
    for setting in settings {
        let directory = directory(setting)?;
        match setting.write(tree, &directory) {
            Ok(()) => {}
            Err(Errno::EINVAL) => refused.push((setting, directory)),
            Err(errno) => return Err(setting.failure(tree, &directory, errno)),
        }
    }
    for (setting, directory) in refused {
        setting
            .write(tree, &directory)
            .map_err(|errno| setting.failure(tree, &directory, errno))?;
    }
    Ok(())
}

/// The error for a limit whose controller this host does not have (or does not delegate).
pub(super) fn missing_controller(setting: &Setting, hint: &str) -> Error {
    let message = format!("the cgroup controller {:?} is not available", setting.controller);
    Error::new(ErrorKind::Unsupported, message).with_field(setting.field.clone()).with_hint(hint)
}
