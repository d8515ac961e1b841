//! Telling the caller's friends of a new process: its pid in a file, its pidfd to a socket.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::launch::Process;
use crate::sys::stream;

/// Where a new process is announced. The socket is connected before anything is made, so that a wrong
/// path costs nothing.
#[derive(Debug)]
pub(super) struct Announcement<'a> {
    file: Option<&'a Path>,
    socket: Option<UnixStream>,
}

impl<'a> Announcement<'a> {
    /// Connects to the socket.
    ///
    /// # Errors
    /// The failure of connect, with the path.
    pub(super) fn new(file: &'a Option<PathBuf>, socket: &Option<PathBuf>) -> Result<Self> {
        let connect = |path: &PathBuf| stream::connect(path, "the pidfd socket");
        Ok(Self { file: file.as_deref(), socket: socket.as_ref().map(connect).transpose()? })
    }

    /// Announces the process.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn make(&self, process: &Process) -> Result<()> {
        if let Some(socket) = &self.socket {
            stream::send(socket, "pidfd", process.pidfd.as_fd(), "send the pidfd to its socket")?;
        }
        self.file.map_or(Ok(()), |path| write(path, process.pid))
    }
}

/// Writes the pid atomically: a hidden file beside the path, renamed onto it.
///
/// # Errors
/// The failure of a system call; the hidden file is removed.
fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| {
        Error::new(ErrorKind::InvalidSpec, "the pid file has no name").with_path(path)
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    // One of a killed command, or a link that somebody has put there; neither may be written through.
    let _stale = std::fs::remove_file(&temporary);
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _half = std::fs::remove_file(&temporary);
    }
    written.attempt_on("write the pid file", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_no_link_is_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, victim) = (directory.path().join("pid"), directory.path().join("victim"));
        std::fs::write(&victim, "untouched").expect("a file");
        std::os::unix::fs::symlink(&victim, directory.path().join(".pid")).expect("a link");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        write(&path, 42).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "42");
        assert_eq!(std::fs::read_to_string(&victim).expect("the file"), "untouched");
        assert!(path.symlink_metadata().expect("the file").is_file());
        assert!(!directory.path().join(".pid").exists());
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named_and_nothing_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("no/pid");
        let error = write(&path, 1).expect_err("no directory");
        assert_eq!(error.path(), Some(path.as_path()));
        assert_eq!(error.errno(), Some(libc::ENOENT));
    }
}
