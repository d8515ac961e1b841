//! The file that tells engines the pid.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::{Attempt, Error, ErrorKind, Result};

/// Writes the pid atomically: a hidden file beside the path, renamed onto it.
///
/// # Errors
/// The failure of a system call; the hidden file is removed.
pub(super) fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| {
        Error::new(ErrorKind::InvalidSpec, "the pid file has no name").with_path(path)
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _half = std::fs::remove_file(&temporary);
    }
    written.attempt_on("write the pid file", path)
}
