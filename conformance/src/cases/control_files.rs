//! The control files of a container's cgroup, as the cases about limits read them.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::failure::{Check, broken};
use crate::trial::Trial;

/// The cgroup that the default bundle of this id asks for.
pub(super) fn cgroup_of(t: &Trial, id: &str) -> String {
    t.host.cgroup_of(id)
}

/// Starts the bundle and compares files: name in version 1, name in version 2, a word of it.
pub(super) fn files(
    t: &Trial,
    bundle: Bundle<'_>,
    controller: &str,
    list: &[(&str, &str, &str)],
) -> Check {
    let c = bundle.ops(&["sleep"]).start()?;
    let dir = t.host.cgroup_dir(controller, &cgroup_of(t, &c.id));
    for (first, second, wanted) in list {
        let path = dir.join(if t.host.v2 { second } else { first });
        let content =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !content.split_whitespace().any(|word| word == *wanted) {
            return broken(format!("{}: {content:?}, wanted {wanted}", path.display()));
        }
    }
    Ok(())
}

/// A field of `linux.resources` that cgroup v1 alone has: the file there, an error on version 2.
pub(super) fn only_v1(
    t: &Trial,
    (field, value): (&str, impl Into<Value>),
    (controller, file, wanted): (&str, &str, &str),
) -> Check {
    let bundle = t.bundle().set(&format!("/linux/resources/{field}"), value);
    if t.host.v2 || !offers(t, controller, file) {
        let name = field.rsplit('/').next().unwrap_or(field);
        return bundle.refused(&format!("{name}|{file}|{controller}")).map(drop);
    }
    files(t, bundle, controller, &[(file, "", wanted)])
}

/// Whether cgroups of this controller have the file.
pub(super) fn offers(t: &Trial, controller: &str, file: &str) -> bool {
    let name = format!("{}/{}-look", t.host.cgroup_base, t.id());
    let dir = t.host.cgroup_dir(controller, &name);
    if t.host.v2 && t.host.root {
        // As the runtime does for a container that needs it.
        let control = dir.parent().map(|parent| parent.join("cgroup.subtree_control"));
        let _ = control.map(|path| fs::write(path, format!("+{controller}")));
    }
    let made = fs::create_dir(&dir);
    let found = made.is_ok() && dir.join(file).exists();
    let _ = fs::remove_dir(&dir);
    found
}

/// A directory for a container that asks for it by its path, below the base of all.
pub(super) fn own_directory(t: &Trial, controller: &str, name: &str) -> (String, PathBuf) {
    let path = format!("{}/{}-{name}", t.host.cgroup_base, t.id());
    let dir = t.host.cgroup_dir(controller, &path);
    (path, dir)
}
