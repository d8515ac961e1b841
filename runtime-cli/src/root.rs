//! Where the state of containers is kept.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coracle::{Error, ErrorKind, Runtime};
use nix::unistd::geteuid;

use crate::args::Globals;

const DEFAULT: &str = "/run/coracle";

/// The runtime over the state root of the command line.
///
/// # Errors
/// The root is `/`, or the working directory that a relative root starts at is gone.
pub(crate) fn runtime(globals: &Globals) -> Result<Runtime, Error> {
    let root = match &globals.root {
        Some(root) => given(root)?,
        None => match user_directory() {
            Some(directory) => directory,
            None => DEFAULT.into(),
        },
    };
    Ok(Runtime::new(root))
}

fn given(root: &Path) -> Result<PathBuf, Error> {
    let root = std::path::absolute(root)
        .map_err(|source| Error::io("resolve the state root", &source).with_path(root))?;
    if root.parent().is_none() {
        // Every directory of the host would look like a container.
        return Err(Error::new(ErrorKind::Unsupported, "the state root must not be /"));
    }
    Ok(root)
}

/// `$XDG_RUNTIME_DIR/coracle` for a user, and for the root of a user namespace that a user made:
/// Podman clears `USER` for some commands and not for others, so that only "root" tells its root.
fn user_directory() -> Option<PathBuf> {
    let directory = env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty())?;
    let user = !geteuid().is_root()
        || (env::var_os("USER").is_none_or(|user| user != "root") && in_user_namespace());
    user.then(|| Path::new(&directory).join("coracle"))
}

fn in_user_namespace() -> bool {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !whole(map))
}

/// Makes the default root of a user, so that nothing cleans it up while containers run.
///
/// # Errors
/// The failed system call.
pub(crate) fn prepare(globals: &Globals) -> Result<(), Error> {
    let Some(root) = user_directory().filter(|_| globals.root.is_none()) else {
        return Ok(());
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&root);
    // The sticky bit keeps tmpfiles from removing old files of a runtime directory (XDG base
    // directory specification).
    made.and_then(|()| fs::set_permissions(&root, Permissions::from_mode(0o1700)))
        .map_err(|source| Error::io("make the state root", &source).with_path(root))
}
