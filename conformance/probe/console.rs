//! The engine's side of a console socket, on the host.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::sys;

/// Listens on a socket, takes one terminal, sends the input to it and reads it to its end.
///
/// # Errors
/// Any step of the hand-over fails.
pub(crate) fn serve(path: &str, input: &str) -> std::io::Result<Value> {
    let listener = UnixListener::bind(path)?;
    let (socket, _) = listener.accept()?;
    let (payload, descriptors) = sys::receive(&socket)?;
    let count = descriptors.len();
    let Some(master) = descriptors.into_iter().next() else {
        return Ok(json!({ "payload": payload, "descriptors": 0 }));
    };
    let size = sys::window_size(master.as_raw_fd());
    let terminal = nix::unistd::isatty(&master).unwrap_or(false);
    if !terminal {
        // That of a process tells its number.
        let path = format!("/proc/self/fdinfo/{}", master.as_raw_fd());
        let info = std::fs::read_to_string(path)?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
        return Ok(
            json!({ "payload": payload, "descriptors": count, "terminal": false, "pid": pid }),
        );
    }
    let mut master = File::from(master);
    master.write_all(input.as_bytes())?;
    let mut output = Vec::new();
    // The last close of the other side makes reading end with EIO.
    let _ = master.read_to_end(&mut output);
    Ok(json!({
        "payload": payload,
        "descriptors": count,
        "terminal": terminal,
        "size": size,
        "output": String::from_utf8_lossy(&output),
    }))
}
