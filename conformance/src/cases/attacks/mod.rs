//! Hostile images, neighbours and callers: nothing of the host is read, written or shown, and
//! nothing gets more rights than it was given.
//!
//! Every case here fails on the runtime of `naive/`, which does each thing the obvious way; the list
//! `expect/naive.txt` has the few exceptions with their reasons.

pub(super) mod descriptors;
pub(super) mod destinations;
pub(super) mod image;
pub(super) mod masks;
pub(super) mod mount_changes;
pub(super) mod numbers;
pub(super) mod privileges;
pub(super) mod races;
pub(super) mod strings;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::{Answers, Bundle};
use crate::call::Output;
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// The probe's operation of a bundle that only shows that it ran.
const ALIVE: &str = "echo=alive";

/// A folder of the host that must not change.
struct Trap {
    dir: PathBuf,
    before: Vec<String>,
}

impl Trap {
    /// A folder with one file.
    fn new(t: &Trial) -> Check<Self> {
        Self::with(t, &[])
    }

    /// A folder with more files, by their paths.
    fn with(t: &Trial, files: &[&str]) -> Check<Self> {
        let dir = t.new_path("trap");
        for name in ["precious"].iter().chain(files) {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&dir))?;
            fs::write(path, "precious")?;
        }
        let before = snapshot(&dir);
        Ok(Self { dir, before })
    }

    /// The folder, or something in it, as text.
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string().trim_end_matches('/').to_owned()
    }

    /// Nothing came, went or changed.
    fn holds(&self) -> Check {
        equal("the host's directory", &snapshot(&self.dir), &self.before)
    }
}

/// Every inode below a folder, with all that an attack could change.
fn snapshot(dir: &Path) -> Vec<String> {
    let mut list = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let content = if meta.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let content = String::from_utf8_lossy(&content).into_owned();
        let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        list.push(format!("{name} {:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid()));
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    list.sort();
    list
}

/// A folder of the host with a file, to bind.
fn source(t: &Trial) -> Check<PathBuf> {
    let dir = t.path("src");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("file"), "content")?;
    Ok(dir)
}

/// A bundle that mounts nothing at /dev.
fn bare_dev(t: &Trial) -> Bundle<'_> {
    t.bundle().unmount("/dev").unmount("/dev/pts").unmount("/dev/shm").unmount("/dev/mqueue")
}

/// The bundle runs or is refused; the trap is as before.
fn untouched(bundle: Bundle<'_>, trap: &Trap) -> Check {
    attempt(bundle.ops(&[ALIVE]))?;
    trap.holds()
}

/// `run`, or `create` where a console socket is used.
fn attempt(mut bundle: Bundle<'_>) -> Check {
    if bundle.config.pointer("/process/terminal") != Some(&json!(true)) {
        return bundle.run()?.ran_or_refused();
    }
    let output = bundle.call("create", &[])?.run()?;
    if output.code != 0 {
        return output.ran_or_refused();
    }
    bundle.adopt(output)?.delete_force()?.ok().map(drop)
}

/// What the operations answer if the bundle runs; nothing if it is refused with a word.
fn answers(bundle: Bundle<'_>, ops: &[&str]) -> Check<Option<Answers>> {
    let output = bundle.ops(&[&[ALIVE], ops].concat()).run()?;
    output.ran_or_refused()?;
    if output.code == 0 { Answers::of(&output.stdout).map(Some) } else { Ok(None) }
}

/// The program ran.
fn alive(output: &Output) -> Check {
    ensure(
        output.code == 0 && output.stdout.contains("alive"),
        format!("`{}`: exit status {}: {}", output.line, output.code, output.stderr),
    )
}

/// The mounts of a container's first process, one line of mountinfo each.
fn mounts_of(container: &Container<'_>) -> Check<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The mount point of a line of mountinfo.
fn point(line: &str) -> &str {
    line.split(' ').nth(4).unwrap_or_default()
}
