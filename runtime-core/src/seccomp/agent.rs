//! The agent that decides about the system calls of `SCMP_ACT_NOTIFY`.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::seccomp::Seccomp;
use crate::sys::stream;

/// The version of the specification that the container process state follows.
const VERSION: &str = "1.3.0";

/// Where the agent is found, and what it is told besides the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The socket.
    path: PathBuf,
    /// `listenerMetadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
}

impl Address {
    /// The agent of a profile; a path that is not absolute starts at the bundle.
    pub(crate) fn of(profile: &Seccomp, bundle: &Path) -> Option<Self> {
        let path = bundle.join(profile.listener_path.as_ref()?);
        Some(Self { path, metadata: profile.listener_metadata.clone() })
    }

    /// Connects to the agent, before anything is done that would have to be undone.
    ///
    /// # Errors
    /// The failure of connect, with path and field; [`ErrorKind::TimedOut`] if nobody serves the socket.
    pub(crate) fn connect(&self) -> Result<Agent<'_>> {
        let connected = stream::connect(&self.path, "the seccomp agent");
        let stream = connected.map_err(|error| error.with_field(FIELD))?;
        Ok(Agent { address: self, stream })
    }
}

const FIELD: &str = "linux.seccomp.listenerPath";

/// A connection to the agent, for exactly one process.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    address: &'a Address,
    stream: UnixStream,
}

impl Agent<'_> {
    /// Sends the listener of the process `pid` with the container process state (config-linux.md, "The
    /// Container Process State") and closes the connection. `state` is the state document of the
    /// container.
    ///
    /// # Errors
    /// The failure of sendmsg, with path and field; [`ErrorKind::TimedOut`] if the agent reads nothing for
    /// ten seconds.
    pub(crate) fn send(self, listener: &OwnedFd, pid: i32, state: &str) -> Result<()> {
        let message = process_state(pid, self.address.metadata.as_deref(), state);
        self.write(listener, message.as_bytes()).map_err(|error| {
            error.with_path(&self.address.path).with_field(FIELD).with_hint("is the agent running?")
        })
    }

    fn write(&self, listener: &OwnedFd, message: &[u8]) -> Result<()> {
        let fds = [listener.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let mut control: &[ControlMessage<'_>] = &rights;
        let mut rest = message;
        while !rest.is_empty() {
            let (socket, parts) = (self.stream.as_raw_fd(), [IoSlice::new(rest)]);
            match sendmsg::<()>(socket, &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(length) => {
                    rest = rest.get(length..).unwrap_or_default();
                    control = &[];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let message = "the seccomp agent does not read";
                    return Err(Error::new(ErrorKind::TimedOut, message));
                }
                Err(errno) => return Err(errno).attempt("send the listener to the seccomp agent"),
            }
        }
        Ok(())
    }
}

fn process_state(pid: i32, metadata: Option<&str>, state: &str) -> String {
    let metadata =
        metadata.map_or_else(String::new, |text| format!(r#""metadata":{},"#, json!(text)));
    format!(
        r#"{{"ociVersion":"{VERSION}","fds":["seccompFd"],"pid":{pid},{metadata}"state":{state}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_state_is_json_whatever_the_metadata_holds() {
        for (metadata, expected) in [(None, json!(null)), (Some("a\"\n"), json!("a\"\n"))] {
            let text = process_state(7, metadata, r#"{"pid":8}"#);
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(value["metadata"], expected);
            assert_eq!((&value["pid"], &value["state"]["pid"]), (&json!(7), &json!(8)));
            assert_eq!(value["fds"], json!(["seccompFd"]));
            assert_eq!(value["ociVersion"], VERSION);
        }
    }

    #[test]
    fn a_path_starts_at_the_bundle_unless_it_is_absolute() {
        for (path, expected) in [("a.sock", "/b/a.sock"), ("/a.sock", "/a.sock")] {
            let profile = Seccomp { listener_path: Some(path.to_owned()), ..Seccomp::default() };
            let address = Address::of(&profile, Path::new("/b")).expect("an address");
            assert_eq!(address.path, Path::new(expected));
        }
        assert_eq!(Address::of(&Seccomp::default(), Path::new("/b")), None);
    }
}
