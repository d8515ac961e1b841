//! The socket through which a payload talks to the service manager.

use std::fs::{Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use super::Container;
use crate::error::{Attempt, Result};
use crate::plan::NOTIFY_SOCKET;
use crate::state::NOTIFY_DIRECTORY;

impl Container {
    /// Binds the socket that the payload's `NOTIFY_SOCKET` names (sd_notify(3)), before the start or
    /// again later; what it receives is the caller's to pass on. `None` for a container that was
    /// created without [`CreateOptions::notify`](super::CreateOptions::notify).
    ///
    /// # Errors
    /// The failure of a system call.
    pub fn bind_notify_socket(&self) -> Result<Option<UnixDatagram>> {
        let directory = self.lock()?;
        let name = format!("{NOTIFY_DIRECTORY}/{NOTIFY_SOCKET}");
        let path = directory.short_path(&name);
        let bound = match UnixDatagram::bind(&path) {
            // Left by a command that has ended.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                directory.unlink(&name)?;
                UnixDatagram::bind(&path)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bound => bound,
        };
        let socket = bound.attempt_on("bind the notification socket", &path)?;
        // Any user of the container may write to it.
        set_permissions(&path, Permissions::from_mode(0o777))
            .attempt_on("change the mode of the notification socket", &path)?;
        Ok(Some(socket))
    }
}
