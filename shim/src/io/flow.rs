//! One direction of a relay: a task of the loop that moves bytes from one descriptor to another.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};

use super::ends;
use super::transfer::{Outcome, Transfer};
use crate::readiness::register;

/// How many transfers follow one another before others get their turn.
const TURN: u32 = 16;

/// Whose stream it is, which says what a failure of the receiving side means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The process reads: when it no longer does, the relay ends.
    Input,
    /// The process writes: it must not notice that a disk is full or a logger dead.
    Output,
}

/// How far a flow is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Until the end of the source.
    Open,
    /// The same, and the source is no longer held open by the flow itself.
    Released,
    /// Until nothing is left to read.
    Draining,
}

#[derive(Debug)]
struct Control {
    phase: AtomicU8,
    changed: Notify,
}

impl Control {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Released,
            _ => Phase::Draining,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.changed.notify_one();
    }
}

/// A flow on the loop. Dropping it stops it; [`end`](Self::end) also waits until its descriptors are
/// closed.
#[derive(Debug)]
pub(super) struct Flow {
    control: Arc<Control>,
    task: JoinHandle<()>,
}

impl Flow {
    /// Begins to move bytes.
    ///
    /// # Errors
    /// The source cannot be registered with the loop.
    pub(super) fn start(
        kind: Kind,
        source: Arc<OwnedFd>,
        sink: OwnedFd,
        transfer: Transfer,
    ) -> io::Result<Self> {
        let source = register(source, Interest::READABLE)?;
        let control = Arc::new(Control { phase: AtomicU8::new(0), changed: Notify::new() });
        let current = Current { kind, source, sink, transfer, narrowed: false, told: false };
        let task = tokio::spawn(current.run(Arc::clone(&control)));
        Ok(Self { control, task })
    }

    /// Gives up the flow's own writing end of its source, a fifo.
    pub(super) fn release(&self) {
        self.control.enter(Phase::Released);
    }

    /// Goes on only while there is something to read.
    pub(super) fn drain(&self) {
        self.control.enter(Phase::Draining);
    }

    /// Waits for its own end.
    pub(super) async fn finished(&mut self) {
        // It neither panics nor is it cancelled before.
        let _ = (&mut self.task).await;
    }

    /// Stops it.
    pub(super) async fn end(mut self) {
        self.task.abort();
        if !self.task.is_finished() {
            self.finished().await;
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task owns.
#[derive(Debug)]
struct Current {
    kind: Kind,
    source: AsyncFd<Arc<OwnedFd>>,
    sink: OwnedFd,
    transfer: Transfer,
    /// An end of a fifo that was open in both directions is open in one only.
    narrowed: bool,
    /// That output is lost has been said.
    told: bool,
}

impl Current {
    async fn run(mut self, control: Arc<Control>) {
        let mut turns = 0;
        loop {
            // Before the look at the source: what was written before the order to drain is seen.
            let phase = control.phase();
            if phase == Phase::Released && !self.narrowed && self.hold_no_longer().is_err() {
                break;
            }
            match self.transfer.step(self.source.get_ref(), &self.sink) {
                Outcome::Moved => {
                    turns += 1;
                    if turns % TURN == 0 {
                        yield_now().await;
                    }
                }
                Outcome::Empty if phase == Phase::Draining => break,
                Outcome::Empty => {
                    if !self.wait_for_source(&control).await {
                        break;
                    }
                }
                Outcome::Full => {
                    if phase == Phase::Draining && self.narrow_sink() {
                        continue;
                    }
                    if !self.wait_for_sink(&control).await {
                        break;
                    }
                }
                Outcome::Failed(errno) if self.kind == Kind::Output => self.discard(errno),
                Outcome::End | Outcome::Failed(_) => break,
            }
        }
        if self.kind == Kind::Output && self.is_unread() {
            // What a fifo holds is lost when nobody has it open: it is kept for a client that comes back.
            while control.phase() != Phase::Draining {
                control.changed.notified().await;
            }
        }
    }

    /// Waits until there may be something to read; `false`: never again.
    async fn wait_for_source(&self, control: &Control) -> bool {
        tokio::select! {
            ready = self.source.readable() => match ready {
                // Cleared before the next look, so that nothing written after it goes unnoticed.
                Ok(mut ready) => { ready.clear_ready(); true }
                Err(_) => false,
            },
            () = control.changed.notified() => true,
        }
    }

    /// Waits until the sink may take something. It is registered only meanwhile: a reader's every
    /// read would wake the loop otherwise.
    async fn wait_for_sink(&self, control: &Control) -> bool {
        let Ok(sink) = register(self.sink.as_fd(), Interest::WRITABLE) else {
            return false;
        };
        tokio::select! {
            ready = sink.writable() => ready.is_ok(),
            () = control.changed.notified() => true,
        }
    }

    /// Opens the source for reading only, while it is still open.
    fn hold_no_longer(&mut self) -> io::Result<()> {
        let reading = ends::narrowed(self.source.get_ref(), OFlag::O_RDONLY)?;
        self.source = register(Arc::new(reading), Interest::READABLE)?;
        self.narrowed = true;
        Ok(())
    }

    /// Opens a fifo for writing only: then its readers are only those of the client, and writing fails
    /// when there are none. `false`: it is no such fifo.
    fn narrow_sink(&mut self) -> bool {
        if self.narrowed || !ends::is_both(&self.sink) {
            return false;
        }
        self.narrowed = true;
        match ends::narrowed(&self.sink, OFlag::O_WRONLY) {
            Ok(writing) => self.sink = writing,
            Err(_) => return false,
        }
        true
    }

    /// Whether the sink is a fifo that no client has open.
    fn is_unread(&mut self) -> bool {
        self.narrow_sink();
        self.narrowed && ends::is_broken(&self.sink)
    }

    /// Loses what the sink did not take. A file may take something again later, when there is space;
    /// anything else is given up for `/dev/null`.
    fn discard(&mut self, errno: Errno) {
        if !self.told {
            self.told = true;
            log::warn!("output of a process is lost: {}", errno.desc());
        }
        if !self.transfer.forget() || errno == Errno::EPIPE {
            match ends::null() {
                Ok(null) => self.sink = null,
                Err(error) => log::error!("output of a process is lost: {error}"),
            }
        }
    }
}
