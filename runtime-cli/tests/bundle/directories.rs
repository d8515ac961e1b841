//! Looking for directories that should be gone.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories of this name, down to so many levels below `directory`.
pub(crate) fn named(directory: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if depth > 0 {
            named(&entry.path(), name, depth - 1, found);
        }
        if entry.file_name() == name {
            found.push(entry.path());
        }
    }
}
