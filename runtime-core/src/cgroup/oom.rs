//! Being told when the kernel kills processes of a container for lack of memory.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::tree::Tree;
use crate::error::{Attempt, Error, Result};

/// A descriptor that tells of out-of-memory kills, to be polled for [`events`](Self::events).
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
    kills: u64,
}

#[derive(Debug)]
enum Source {
    /// cgroup v1: an eventfd registered with `cgroup.event_control`, and `memory.oom_control`.
    Notified { event: EventFd, control: File },
    /// cgroup v2: `memory.events`, which is ready for `POLLPRI` after each change.
    Polled(File),
}

impl OomWatch {
    /// For a cgroup v1 directory of the memory controller.
    pub(super) fn notified(tree: &Tree, directory: &str) -> Result<Self> {
        let failure = |what: &str, file: &str, errno: Errno| {
            let path = tree.absolute(&format!("{directory}/{file}"));
            Error::system(what, errno as i32).with_path(path)
        };
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .attempt("make an eventfd")?;
        let control = tree
            .readable(directory, "memory.oom_control")
            .map_err(|errno| failure("open", "memory.oom_control", errno))?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        tree.write(directory, "cgroup.event_control", &line)
            .map_err(|errno| failure("register an eventfd with", "cgroup.event_control", errno))?;
        Self::new(Source::Notified { event, control: File::from(control) })
    }

    /// For a cgroup v2 directory.
    pub(super) fn polled(tree: &Tree, directory: &str) -> Result<Self> {
        let events = tree.readable(directory, "memory.events").map_err(|errno| {
            let path = tree.absolute(&format!("{directory}/memory.events"));
            Error::system("open", errno as i32)
                .with_path(path)
                .with_hint("the memory controller is not available to this cgroup")
        })?;
        Self::new(Source::Polled(File::from(events)))
    }

    fn new(source: Source) -> Result<Self> {
        let mut watch = Self { source, kills: 0 };
        watch.kills = watch.count().unwrap_or_default();
        Ok(watch)
    }

    /// What to poll the descriptor for.
    #[must_use]
    pub fn events(&self) -> PollFlags {
        match self.source {
            Source::Notified { .. } => PollFlags::POLLIN,
            Source::Polled(_) => PollFlags::POLLPRI,
        }
    }

    /// How many processes were killed since the last call; 0 after a change of something else.
    /// `None`: the cgroup is gone.
    ///
    /// On cgroup v1 a kill may be told of before it is counted; then it is one.
    pub fn kills(&mut self) -> Option<u64> {
        let told = match &self.source {
            Source::Notified { event, .. } => event.read().is_ok(),
            Source::Polled(_) => false,
        };
        let count = self.count()?;
        let new = count.saturating_sub(self.kills).max(u64::from(told));
        self.kills += new;
        Some(new)
    }

    /// As [`kills`](Self::kills), but what the kernel tells of and has not counted is left for a later
    /// call: cgroup v1 also tells of a shortage above, which another cgroup may have to pay for.
    pub fn counted_kills(&mut self) -> Option<u64> {
        if let Source::Notified { event, .. } = &self.source {
            // Reading it only quiets the descriptor.
            let _ = event.read();
        }
        let count = self.count()?;
        let new = count.saturating_sub(self.kills);
        self.kills += new;
        Some(new)
    }

    fn count(&mut self) -> Option<u64> {
        let file = match &mut self.source {
            Source::Notified { control, .. } => control,
            Source::Polled(events) => events,
        };
        let mut text = [0; 1024];
        std::io::Seek::rewind(file).ok()?;
        let length = file.read(&mut text).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Some(count.and_then(|count| count.trim().parse().ok()).unwrap_or_default())
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Notified { event, .. } => event.as_fd(),
            Source::Polled(events) => events.as_fd(),
        }
    }
}
