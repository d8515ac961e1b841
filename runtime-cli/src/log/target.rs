//! Where the log goes: standard error, a file, systemd's journal or the system's log.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write, stderr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::SystemTime;

use coracle::Error;

use super::time;

/// Where systemd's journal takes records (systemd: "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where the system's log takes records (syslog(3)).
const SYSLOG: &str = "/dev/log";
/// The identifier of records when the command line names none.
const NAME: &str = "coracle";

/// Where the log goes.
#[derive(Debug)]
pub(super) enum Target {
    Stderr,
    File(File),
    /// The journal, under this identifier.
    Journal(UnixDatagram, OsString),
    /// The system's log, under this identifier.
    Syslog(UnixDatagram, OsString),
}

impl Target {
    /// Opens what `--log` names: `journald:NAME`, `syslog:NAME`, `file:PATH` or a path.
    ///
    /// # Errors
    /// The file cannot be opened, or nobody takes records at the socket.
    pub(super) fn open(log: Option<&Path>) -> Result<Self, Error> {
        let word = log.map_or(&[][..], |log| log.as_os_str().as_bytes());
        let after = |prefix: &str| word.strip_prefix(prefix.as_bytes()).map(OsStr::from_bytes);
        if let Some(name) = after("journald:") {
            return Ok(Self::Journal(connect(JOURNAL)?, identifier(name)));
        }
        if let Some(name) = after("syslog:") {
            return Ok(Self::Syslog(connect(SYSLOG)?, identifier(name)));
        }
        let path = Path::new(after("file:").unwrap_or(OsStr::from_bytes(word)));
        if path.as_os_str().is_empty() || path == Path::new("/dev/stderr") {
            return Ok(Self::Stderr);
        }
        append_to(path).map(Self::File)
    }

    /// Whether it keeps time and level of a record itself.
    pub(super) fn has_time_and_level(&self) -> bool {
        matches!(self, Self::Journal(..) | Self::Syslog(..))
    }

    /// Writes one record, in one write.
    ///
    /// # Errors
    /// The failure of the system call.
    pub(super) fn write(&self, level: &str, mut record: String) -> io::Result<()> {
        match self {
            Self::Stderr | Self::File(_) => record.push('\n'),
            Self::Journal(..) | Self::Syslog(..) => {}
        }
        match self {
            Self::Stderr => stderr().write_all(record.as_bytes()),
            Self::File(file) => (&*file).write_all(record.as_bytes()),
            Self::Journal(socket, name) => {
                socket.send(&journal_entry(priority(level), name, &record)).map(drop)
            }
            Self::Syslog(socket, name) => {
                // The daemon tells the time: what a sender writes there has no time zone.
                let time = time::syslog(SystemTime::now());
                // Facility 1: messages of programs (RFC 5424).
                let head = format!("<{}>{time} {}: ", 8 + priority(level), name.display());
                socket.send(format!("{head}{record}").as_bytes()).map(drop)
            }
        }
    }
}

fn append_to(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .map_err(|source| Error::io("open the log", &source).with_path(path))
}

fn connect(path: &str) -> Result<UnixDatagram, Error> {
    let connected = UnixDatagram::unbound().and_then(|socket| {
        socket.connect(path)?;
        Ok(socket)
    });
    connected.map_err(|source| Error::io("open the log", &source).with_path(path))
}

fn identifier(name: &OsStr) -> OsString {
    if name.is_empty() { NAME.into() } else { name.to_owned() }
}

/// The numbers of syslog(3).
fn priority(level: &str) -> u8 {
    match level {
        "error" => 3,
        "warning" => 4,
        "info" => 6,
        _ => 7,
    }
}

/// An entry of the journal. A value with its length before it may hold any byte.
fn journal_entry(priority: u8, name: &OsStr, message: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    for (key, value) in [
        ("PRIORITY", priority.to_string().as_bytes()),
        ("SYSLOG_IDENTIFIER", name.as_bytes()),
        // crun's key for what follows `journald:`, which conmon makes the container's name.
        ("ID", name.as_bytes()),
        ("MESSAGE", message.as_bytes()),
    ] {
        entry.extend_from_slice(key.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
        entry.extend_from_slice(value);
        entry.push(b'\n');
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_values_with_their_lengths() {
        let entry = journal_entry(3, OsStr::new("n"), "a\nb");
        let expected = b"PRIORITY\n\x01\0\0\0\0\0\0\x003\n\
            SYSLOG_IDENTIFIER\n\x01\0\0\0\0\0\0\0n\n\
            ID\n\x01\0\0\0\0\0\0\0n\n\
            MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(entry, expected);
    }
}
