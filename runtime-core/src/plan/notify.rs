//! The directory of the socket that takes the payload's messages for the service manager
//! (sd_notify(3)).

use std::path::Path;

use super::Origin;
use super::draft::Draft;
use super::mount_options::attribute::{NODEV, NOEXEC, NOSUID, RDONLY};
use super::mounts::{Action, Planned, attach, copy};
use crate::error::Result;
use crate::spec::Mount;

/// Where the directory is in the container.
pub(crate) const DIRECTORY: &str = "/run/notify";
/// The name of the socket in it.
pub(crate) const SOCKET: &str = "notify.sock";

/// The variable that names the socket.
pub(super) fn variable() -> String {
    format!("NOTIFY_SOCKET={DIRECTORY}/{SOCKET}")
}

/// The mount of the directory, over everything that the configuration mounts.
pub(super) fn mount(directory: &Path, draft: &mut Draft<'_>) -> Result<Planned> {
    let origin = Origin::None;
    let (tree, make) = copy(draft, directory, false, &origin)?;
    let mount = Mount { destination: DIRECTORY.into(), ..Mount::default() };
    let mut attachment = attach(&mount, tree, make, &origin)?;
    attachment.set = RDONLY | NOSUID | NODEV | NOEXEC;
    attachment.propagation = (libc::MS_PRIVATE, false);
    Ok((Action::Attach(Box::new(attachment)), origin))
}
