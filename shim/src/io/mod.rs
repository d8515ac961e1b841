//! The standard streams of a process: what a request names, the descriptors that the process gets, and
//! the relay between the two.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use coracle::Stdio;

/// What a request says about the standard streams. An empty text: that stream is not wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    /// A fifo to read from.
    pub(crate) stdin: String,
    /// A fifo (a path or `fifo://`), `file://`, `binary://` or `binary-v2://`.
    pub(crate) stdout: String,
    /// As `stdout`.
    pub(crate) stderr: String,
    /// One terminal takes the place of all three; `stderr` is unused then.
    pub(crate) terminal: bool,
}

/// Whose streams they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    /// The namespace of containerd, for a logger's environment.
    pub(crate) namespace: String,
    /// The container, likewise.
    pub(crate) container: String,
    /// Where a logger is run.
    pub(crate) bundle: PathBuf,
    /// User and group of the pipes, so that a process can open its `/dev/stdout` again.
    pub(crate) ids: Option<(u32, u32)>,
}

/// Streams that are open, but not relayed yet. Can be sent between threads; dropping it closes all and
/// ends a logger.
#[derive(Debug)]
pub(crate) struct Opened {
    child: Option<Stdio>,
}

/// Opens what `streams` names. Blocks while a logger gets ready, so it is called on a thread of its own.
///
/// # Errors
/// A form that is not understood, a file that cannot be opened, a logger that does not get ready.
pub(crate) fn open(streams: &Streams, _owner: &Owner) -> io::Result<Opened> {
    let all = [&streams.stdin, &streams.stdout, &streams.stderr];
    if streams.terminal || all.iter().any(|name| !name.is_empty()) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "streams are not relayed yet"));
    }
    Ok(Opened { child: None })
}

impl Opened {
    /// The process's ends, once; [`Stdio::Inherit`] for a terminal.
    pub(crate) fn take_child_ends(&mut self) -> Stdio {
        self.child.take().unwrap_or_default()
    }

    /// Begins to relay, on the loop. `console` is the master of the terminal, if there is one.
    ///
    /// # Errors
    /// The descriptors cannot be registered with the loop.
    #[expect(
        clippy::unnecessary_wraps,
        clippy::needless_pass_by_value,
        reason = "nothing is relayed yet"
    )]
    pub(crate) fn relay(self, _console: Option<OwnedFd>) -> io::Result<Relay> {
        Ok(Relay {})
    }
}

/// A relay that runs on the loop. Dropping it closes all its descriptors and ends a logger.
#[derive(Debug)]
pub(crate) struct Relay {}

impl Relay {
    /// Gives up the shim's own hold on standard input: the process reads end of file once the client
    /// has closed it too.
    pub(crate) fn close_stdin(&mut self) {}

    /// Sets the size of the terminal; without one nothing happens.
    ///
    /// # Errors
    /// The failure of the system call.
    #[expect(clippy::unnecessary_wraps, reason = "nothing is relayed yet")]
    pub(crate) fn resize(&self, _columns: u16, _rows: u16) -> io::Result<()> {
        Ok(())
    }

    /// Relays what is still to be read after the process's end, for at most `bound`, and closes all.
    pub(crate) async fn drain(self, _bound: Duration) {}
}
