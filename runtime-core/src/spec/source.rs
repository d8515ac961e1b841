//! Reading a configuration file, and saying precisely what is wrong with its text.

use std::fs::{File, FileType};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use serde::de::DeserializeOwned;

use super::scan;
use crate::error::{Attempt, Error, ErrorKind, Result};

/// The largest configuration that is read, in bytes (the largest seen in the wild is below 1 MiB).
const LARGEST: u64 = 64 << 20;

/// Reads a whole regular file. It never blocks: a FIFO or a device is refused.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    // O_NONBLOCK: opening a FIFO without a writer would wait for one. O_NOCTTY: opening a terminal
    // must not make it ours.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = openat(AT_FDCWD, path, flags, Mode::empty()).attempt_on("open", path)?;
    let mut file = File::from(file);
    let metadata = file.metadata().attempt_on("stat", path)?;
    if !metadata.is_file() {
        let kind = kind_of(metadata.file_type());
        return Err(refusal(format!("is {kind}, not a regular file:")).with_path(path));
    }
    if metadata.len() > LARGEST {
        return Err(too_large(path));
    }
    let size = usize::try_from(metadata.len()).map_err(|_| too_large(path))?;
    let mut bytes = vec![0; size + 1];
    let mut filled = 0;
    // One byte more than the size: a shorter read is the end of the file, without asking again.
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(count) => {
                filled += count;
                if count == 0 || filled == size {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", &error).with_path(path)),
        }
    }
    if filled > size {
        return Err(refusal("changed while it was read:").with_path(path));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn too_large(path: &Path) -> Error {
    refusal("is larger than 64 MiB:").with_path(path)
}

fn refusal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidSpec, message)
}

fn kind_of(file_type: FileType) -> &'static str {
    match () {
        () if file_type.is_dir() => "a directory",
        () if file_type.is_fifo() => "a FIFO",
        () if file_type.is_socket() => "a socket",
        () if file_type.is_char_device() => "a character device",
        () if file_type.is_block_device() => "a block device",
        () => "something",
    }
}

/// Parses a JSON text; the error names the field and its line and column.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        refusal("invalid UTF-8").with_position(scan::position(bytes, error.valid_up_to()))
    })?;
    if scan::has_nul(text)
        && let Some((field, start)) = scan::nul(text)
    {
        return Err(refusal("a string contains a NUL character")
            .with_field(field)
            .with_position(scan::position(bytes, start)));
    }
    serde_json::from_str(text).map_err(|error| explain(text, &error))
}

/// Adds to an error that names a field the place of that field in the text.
pub(super) fn locate(bytes: &[u8], error: Error) -> Error {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    match error.field().and_then(|field| scan::start_of(text, field)) {
        Some(start) if error.position().is_none() => {
            error.with_position(scan::position(bytes, start))
        }
        _ => error,
    }
}

fn explain(text: &str, error: &serde_json::Error) -> Error {
    let bytes = text.as_bytes();
    let full = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = full.strip_suffix(&place).unwrap_or(&full);
    let offset = scan::offset(bytes, error.line(), error.column());
    let (field, start) = scan::value_at(text, offset).unwrap_or_default();
    if !error.is_data() {
        let at = offset.saturating_sub(1).min(bytes.len());
        let error =
            refusal(format!("malformed JSON: {message}")).with_position(scan::position(bytes, at));
        return if field.is_empty() { error } else { error.with_field(field) };
    }
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let described = match missing {
        Some(name) if field.is_empty() => refusal("required, but missing").with_field(name),
        Some(name) => refusal("required, but missing").with_field(format!("{field}.{name}")),
        None if field.is_empty() => refusal(message),
        None => refusal(message).with_field(field),
    };
    described.with_position(scan::position(bytes, start))
}
