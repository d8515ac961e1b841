//! The event service of containerd: every event is answered and forgotten.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use super::wire::{acknowledge, read_frame};
use crate::Outcome;

/// Serves events for as long as the program runs; the socket.
pub(super) fn serve(directory: &Path) -> Outcome<PathBuf> {
    let path = directory.join("containerd.sock.ttrpc");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                while let Ok((number, _)) = read_frame(&stream) {
                    if acknowledge(&stream, number).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(path)
}
