//! New cgroups of the v1 cpuset controller, which are born with no processors and no memory nodes.

use crate::cgroup::tree::Tree;

const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Gives a directory its parent's processors and nodes where it has none; `new`: it surely has
/// none yet. Parents that have none are filled first.
pub(super) fn fill(tree: &Tree, directory: &str, new: bool) -> nix::Result<()> {
    for file in FILES {
        if !new && !tree.read(directory, file)?.trim_end().is_empty() {
            continue;
        }
        let Some((parent, _)) = directory.rsplit_once('/') else {
            continue;
        };
        let mut value = tree.read(parent, file)?;
        // The root of the hierarchy always has some, so this ends there.
        if value.trim_end().is_empty() && parent.contains('/') {
            fill(tree, parent, false)?;
            value = tree.read(parent, file)?;
        }
        tree.write(directory, file, value.trim_end())?;
    }
    Ok(())
}
