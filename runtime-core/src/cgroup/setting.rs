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
        Errno::EINVAL | Errno::ERANGE | Errno::ENODEV
            if let Some(offer) = offered(setting, tree, directory) =>
        {
            offer
        }
        Errno::EACCES | Errno::EPERM => {
            "the cgroup is not delegated to this user, or its parent allows less".to_owned()
        }
        Errno::EOPNOTSUPP => "this kernel, or the device's scheduler, has no such limit".to_owned(),
        Errno::ENODEV => "there is no such device on this host".to_owned(),
        Errno::EINVAL | Errno::ERANGE => {
            "the kernel does not accept this value beside the other values and the parent's limits"
                .to_owned()
        }
        _ => return None,
    })
}

/// Which processors or memory nodes the cgroup above has to give; `None` for other limits, and for those
/// that this does not explain.
fn offered(setting: &Setting, tree: &Tree, directory: &str) -> Option<String> {
    let (what, effective) = match &*setting.file {
        "cpuset.cpus" => ("processors", ["cpuset.cpus.effective", "cpuset.effective_cpus"]),
        "cpuset.mems" => ("memory nodes", ["cpuset.mems.effective", "cpuset.effective_mems"]),
        _ => return None,
    };
    let above = directory.rsplit_once('/').map_or(".", |(above, _)| above);
    let read = |file: &str| tree.read(above, file).ok();
    let list = effective.into_iter().chain([&*setting.file]).find_map(read)?;
    Some(format!("a list such as 0-3,7 of the {what} {}, which are all there are", list.trim_end()))
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

/// What a control file held before it was written.
#[derive(Debug)]
pub(super) struct Previous {
    directory: String,
    /// The file's name.
    pub(super) file: Cow<'static, str>,
    /// What it takes to hold the same again.
    pub(super) value: String,
}

impl Previous {
    /// A file that held this.
    #[cfg(test)]
    pub(super) fn holding(file: &'static str, value: &str) -> Self {
        let (file, value) = (Cow::Borrowed(file), value.to_owned());
        Self { directory: String::new(), file, value }
    }

    /// `None`: there is no such file, so nothing will be written to it.
    fn of(tree: &Tree, setting: &Setting, directory: &str) -> Option<Self> {
        let (file, new) = match (&setting.absent, tree.read(directory, &setting.file)) {
            (Absent::Instead(other, value), Err(Errno::ENOENT)) => (Cow::Borrowed(*other), value),
            _ => (setting.file.clone(), &setting.value),
        };
        let old = tree.read(directory, &file).ok()?;
        Some(Self { directory: directory.to_owned(), value: restored(&file, new, &old), file })
    }

    /// The share of the processor that becomes the default when the cgroup is idle and no longer is;
    /// `None`: it is idle now, and has none.
    fn weight(tree: &Tree, directory: &str) -> Option<Self> {
        tree.read(directory, "cpu.idle").ok().filter(|idle| idle.trim_end() == "0")?;
        ["cpu.weight", "cpu.shares"].into_iter().find_map(|file| {
            let value = tree.read(directory, file).ok()?.trim_end().to_owned();
            Some(Self { directory: directory.to_owned(), file: Cow::Borrowed(file), value })
        })
    }
}

/// What to write to a file that held `old` so that it holds that again after `new`.
fn restored(file: &str, new: &str, old: &str) -> String {
    let key = new.split_ascii_whitespace().next().unwrap_or_default();
    let is_keyed = key.contains(':') || matches!(file, "rdma.max" | "net_prio.ifpriomap");
    let line = |key: &str| old.lines().find(|line| line.split(' ').next() == Some(key));
    if !is_keyed {
        // A weight for all devices stands among those for some.
        let default = line("default").and_then(|line| line.strip_prefix("default "));
        let value = default.unwrap_or_else(|| old.trim_end());
        // A list that was empty; a write of nothing would be none.
        return if value.is_empty() { "\n".to_owned() } else { value.to_owned() };
    }
    if let Some(line) = line(key) {
        return line.to_owned();
    }
    match file {
        "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
        "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
        _ if file.contains("weight") => format!("{key} default"),
        _ if file.starts_with("blkio.") || file == "net_prio.ifpriomap" => format!("{key} 0"),
        _ => format!("{key} max"),
    }
}

/// [`write_all`], but all or nothing: when one value is refused, the files hold what they held
/// before. Answers what [`restore`] needs to do the same later.
pub(super) fn exchange_all(
    tree: &Tree,
    settings: &[Setting],
    directory: &dyn Fn(&Setting) -> Result<String>,
) -> Result<Vec<Previous>> {
    let mut before = Vec::new();
    for setting in settings {
        let directory = directory(setting)?;
        if setting.file == "cpu.idle" {
            before.extend(Previous::weight(tree, &directory));
        }
        before.extend(Previous::of(tree, setting, &directory));
    }
    match write_all(tree, settings, directory) {
        Ok(()) => Ok(before),
        Err(error) => {
            restore(tree, &before);
            Err(error)
        }
    }
}

/// Writes old values back, the last first.
pub(super) fn restore(tree: &Tree, before: &[Previous]) {
    let write = |old: &&Previous| tree.write(&old.directory, &old.file, &old.value).is_err();
    let refused: Vec<&Previous> = before.iter().rev().filter(write).collect();
    // Some bound each other, as in `write_all`. What is refused even now has an error to follow.
    for old in refused {
        let _ = tree.write(&old.directory, &old.file, &old.value);
    }
}

/// The error for a limit whose controller this host does not have (or does not delegate).
pub(super) fn missing_controller(setting: &Setting, hint: &str) -> Error {
    let message = format!("the cgroup controller {:?} is not available", setting.controller);
    Error::new(ErrorKind::Unsupported, message).with_field(setting.field.clone()).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::restored;

    #[test]
    fn old_values_by_kind_of_file() {
        for (file, new, old, wanted) in [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "5 6", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            ("io.weight", "50", "default 100\n8:0 7\n", "100"),
            ("io.bfq.weight", "8:0 9", "default 100\n8:0 7\n", "8:0 7"),
            ("io.bfq.weight", "8:1 9", "default 100\n8:0 7\n", "8:1 default"),
            ("io.max", "8:0 rbps=1", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.max", "8:0 rbps=1", "8:0 rbps=9 wbps=max\n", "8:0 rbps=9 wbps=max"),
            ("blkio.throttle.read_bps_device", "8:0 1", "8:16 4\n", "8:0 0"),
            ("rdma.max", "m hca_handle=1", "", "m hca_handle=max hca_object=max"),
            ("net_prio.ifpriomap", "lo 3", "lo 0\neth0 1\n", "lo 0"),
        ] {
            assert_eq!(restored(file, new, old), wanted, "{file} {new}");
        }
    }
}
