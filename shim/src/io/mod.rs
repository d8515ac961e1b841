//! The standard streams of a process: what a request names, the descriptors that the process gets, and
//! the relay between the two.
//!
//! Each stream is for itself: any of them may be absent, and standard output may go to a fifo while
//! standard error goes to a file. The process writes to a pipe and not to the client's fifo, so that it
//! may open `/dev/stdout` again, and so that its output ends when the process is deleted, whatever it
//! has left running.

mod ends;
mod flow;
mod logger;
mod target;
#[cfg(test)]
mod tests;
mod transfer;
mod window;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use coracle::Stdio;
use tokio::time::timeout;

use ends::{Input, Pipe};
use flow::{Flow, Kind};
use logger::Logger;
use target::{LoggerCommand, Target};
use transfer::Transfer;

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
    /// User and group of the pipes, so that a process can open its `/dev/stdout` again.
    pub(crate) ids: Option<(u32, u32)>,
}

/// Streams that are open, but not relayed yet. Can be sent between threads; dropping it closes all and
/// ends a logger.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    terminal: bool,
    /// The process's ends, standard input first.
    child: [Option<OwnedFd>; 3],
    input: Option<Side>,
    outputs: Vec<Side>,
    loggers: Vec<Logger>,
}

/// The shim's descriptors of a stream.
#[derive(Debug)]
struct Side {
    client: OwnedFd,
    /// The shim's end of the pipe; a terminal takes its place.
    process: Option<OwnedFd>,
}

/// Opens what `streams` names. Blocks while a logger gets ready, so it is called on a thread of its own.
///
/// # Errors
/// `Unsupported` or `InvalidInput` for a form that is not understood; a file that cannot be opened; a
/// logger that does not get ready.
pub(crate) fn open(streams: &Streams, owner: &Owner) -> io::Result<Opened> {
    let stdin = Target::parse(&streams.stdin)?;
    let stdout = Target::parse(&streams.stdout)?;
    let stderr = if streams.terminal { Target::Null } else { Target::parse(&streams.stderr)? };
    let mut opened = Opened { terminal: streams.terminal, ..Opened::default() };
    opened.open_input(stdin, owner)?;
    let logger = opened.open_loggers(&stdout, &stderr, owner)?;
    for (number, (target, logger)) in (1..).zip([stdout, stderr].into_iter().zip(logger)) {
        match logger {
            Some(pipe) if streams.terminal => {
                ends::set_nonblocking(&pipe)?;
                opened.outputs.push(Side { client: pipe, process: None });
            }
            Some(pipe) => opened.give(number, pipe),
            None if streams.terminal && number == 2 => {}
            None => opened.open_output(number, target, owner)?,
        }
    }
    Ok(opened)
}

impl Opened {
    fn give(&mut self, number: usize, end: OwnedFd) {
        if let Some(place) = self.child.get_mut(number) {
            *place = Some(end);
        }
    }

    fn open_input(&mut self, target: Target, owner: &Owner) -> io::Result<()> {
        let path = match target {
            Target::Null if self.terminal => return Ok(()),
            Target::Null => {
                self.give(0, ends::null()?);
                return Ok(());
            }
            Target::Path(path) => path,
            Target::File(_) | Target::Logger(_) => {
                let text = "standard input can only be a fifo or another path to read from";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        match ends::input(&path)? {
            Input::Held(client) if self.terminal => {
                self.input = Some(Side { client, process: None });
            }
            Input::Held(client) => {
                let pipe = Pipe::new(owner.ids)?;
                ends::set_nonblocking(&pipe.write)?;
                self.give(0, pipe.read);
                self.input = Some(Side { client, process: Some(pipe.write) });
            }
            Input::Direct(file) if !self.terminal => self.give(0, file),
            Input::Direct(_) => {
                let text = format!("{} cannot be the input of a terminal: no fifo", path.display());
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        }
        Ok(())
    }

    fn open_output(&mut self, number: usize, target: Target, owner: &Owner) -> io::Result<()> {
        let client = match target {
            Target::Path(path) => ends::output(&path)?,
            Target::File(path) => ends::log_file(&path)?,
            // Somebody has to read what is written to a terminal.
            Target::Null | Target::Logger(_) if self.terminal => ends::null()?,
            Target::Null | Target::Logger(_) => {
                self.give(number, ends::null()?);
                return Ok(());
            }
        };
        if self.terminal {
            self.outputs.push(Side { client, process: None });
            return Ok(());
        }
        let pipe = Pipe::new(owner.ids)?;
        ends::set_nonblocking(&pipe.read)?;
        self.give(number, pipe.write);
        self.outputs.push(Side { client, process: Some(pipe.read) });
        Ok(())
    }

    /// Starts the loggers that are asked for, one for both streams where they name the same, and
    /// returns the writing ends of their pipes.
    fn open_loggers(
        &mut self,
        stdout: &Target,
        stderr: &Target,
        owner: &Owner,
    ) -> io::Result<[Option<OwnedFd>; 2]> {
        match (stdout, stderr) {
            (Target::Logger(one), Target::Logger(other)) if one == other => {
                let (out, err) = (Pipe::new(owner.ids)?, Pipe::new(owner.ids)?);
                self.log(one, owner, [Some(out.read), Some(err.read)])?;
                Ok([Some(out.write), Some(err.write)])
            }
            _ => {
                let mut ends = [None, None];
                for (number, (target, end)) in [stdout, stderr].iter().zip(&mut ends).enumerate() {
                    let Target::Logger(command) = target else { continue };
                    let pipe = Pipe::new(owner.ids)?;
                    let read =
                        if number == 0 { [Some(pipe.read), None] } else { [None, Some(pipe.read)] };
                    self.log(command, owner, read)?;
                    *end = Some(pipe.write);
                }
                Ok(ends)
            }
        }
    }

    fn log(
        &mut self,
        command: &LoggerCommand,
        owner: &Owner,
        read: [Option<OwnedFd>; 2],
    ) -> io::Result<()> {
        self.loggers.push(Logger::start(command, owner, read)?);
        Ok(())
    }

    /// The process's ends, once; [`Stdio::Inherit`] for a terminal.
    pub(crate) fn take_child_ends(&mut self) -> Stdio {
        match std::mem::take(&mut self.child) {
            [Some(stdin), Some(stdout), Some(stderr)] => Stdio::Fds { stdin, stdout, stderr },
            _ => Stdio::Inherit,
        }
    }

    /// Begins to relay, on the loop. `console` is the master of the terminal, if there is one.
    ///
    /// # Errors
    /// The descriptors cannot be registered with the loop.
    pub(crate) fn relay(self, console: Option<OwnedFd>) -> io::Result<Relay> {
        let console = console.map(Arc::new);
        if let Some(console) = &console {
            ends::set_nonblocking(console)?;
        }
        // A registered descriptor cannot be registered again for the other direction.
        let master = || match &console {
            Some(console) => console.try_clone(),
            None => Err(io::Error::other("there is no terminal to relay")),
        };
        let mut relay =
            Relay { input: None, outputs: Vec::new(), console: None, loggers: self.loggers };
        if let Some(Side { client, process }) = self.input {
            let (sink, transfer) = match process {
                Some(pipe) => (pipe, Transfer::splicing()),
                None => (master()?, Transfer::copying()),
            };
            relay.input = Some(Flow::start(Kind::Input, Arc::new(client), sink, transfer)?);
        }
        for Side { client, process } in self.outputs {
            let (source, transfer) = match process {
                Some(pipe) => (Arc::new(pipe), Transfer::splicing()),
                None => (
                    console.clone().map_or_else(|| master().map(Arc::new), Ok)?,
                    Transfer::copying(),
                ),
            };
            relay.outputs.push(Flow::start(Kind::Output, source, client, transfer)?);
        }
        relay.console = console;
        Ok(relay)
    }
}

/// A relay that runs on the loop. Dropping it closes all its descriptors and ends a logger.
#[derive(Debug)]
pub(crate) struct Relay {
    input: Option<Flow>,
    outputs: Vec<Flow>,
    console: Option<Arc<OwnedFd>>,
    #[expect(dead_code, reason = "dropping them is what ends them")]
    loggers: Vec<Logger>,
}

impl Relay {
    /// Gives up the shim's own hold on standard input: the process reads end of file once the client
    /// has closed it too.
    pub(crate) fn close_stdin(&self) {
        if let Some(input) = &self.input {
            input.release();
        }
    }

    /// Sets the size of the terminal; without one nothing happens.
    ///
    /// # Errors
    /// The failure of the system call.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        match &self.console {
            Some(console) => window::resize(console, columns, rows),
            None => Ok(()),
        }
    }

    /// Relays what is still to be read after the process's end, for at most `bound`, and closes all.
    ///
    /// What is there is relayed, also to a client that reads slowly; a child that has kept the pipe is
    /// not waited for, nor a client that is gone. A logger reads to the end for itself.
    pub(crate) async fn drain(mut self, bound: Duration) {
        if let Some(input) = self.input.take() {
            input.end().await;
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.iter().for_each(Flow::drain);
        let all = async {
            for output in &mut outputs {
                output.finished().await;
            }
        };
        if timeout(bound, all).await.is_err() {
            log::warn!("the client did not read all output of a process in {bound:?}");
        }
        for output in outputs {
            output.end().await;
        }
    }
}
