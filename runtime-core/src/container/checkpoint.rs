//! Writing down the processes of a container, so that they can go on later or elsewhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Container, Status};
use crate::criu::{
    self, Criu, CriuOptions, Feature, Images, Kind, Notice, PageServer, Request, Start, Streams,
};
use crate::error::{Attempt, Context, Error, ErrorKind, Result};
use crate::state::{Journal, Record};
use crate::sys::pidfd;

/// The name of criu's log.
const LOG: &str = "dump.log";

/// How long the processes may take to end that criu has killed.
const ENDING: Duration = Duration::from_secs(10);

/// Options of [`Container::checkpoint`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CheckpointOptions {
    /// What criu is told.
    pub criu: CriuOptions,
    /// The images of an earlier checkpoint, by a path from those of this one on: only memory that has changed
    /// since is written.
    pub parent: Option<PathBuf>,
    /// Let the processes go on afterwards.
    pub leave_running: bool,
    /// Write only memory, and let the processes go on.
    pub pre_dump: bool,
    /// Where memory goes instead of into the images.
    pub page_server: Option<PageServer>,
    /// With lazy pages: gets a NUL character and is closed when memory can be fetched.
    pub status_fd: Option<OwnedFd>,
}

impl Container {
    /// Writes the processes of a running or paused container into images, from which
    /// [`Runtime::restore`](crate::Runtime::restore) makes them again. Unless they are left running, they
    /// have ended when this returns; the container is to be [deleted](Self::delete) then.
    ///
    /// # Errors
    /// [`ErrorKind::WrongStatus`] unless it runs or is paused, [`ErrorKind::Unsupported`] without a usable
    /// criu; what criu cannot do, with the failing lines of its log. The container goes on then.
    pub fn checkpoint(&self, mut options: CheckpointOptions) -> Result<()> {
        let record = self.record()?;
        let directory = self.lock()?;
        match self.status()? {
            Status::Running | Status::Paused => {}
            status => {
                let message = format!("Container cannot be checkpointed in {status} state");
                return Err(self.wrong_status(&message));
            }
        }
        let images = Images::open(&options.criu, true)?;
        if let Some(parent) = &options.parent {
            images.check_parent(parent)?;
        }
        let criu = Criu::start(Start { group: true, ..Start::default() }, &options.criu)?;
        if options.pre_dump || options.parent.is_some() {
            criu.check_feature(Feature::MemoryTracking)?;
        }
        if options.criu.lazy_pages {
            criu.check_feature(Feature::LazyPages)?;
        }
        // A deletion by force ends what holds the processes.
        Journal::open(&directory)?.note_hook(criu.pid(), criu.pidfd())?;
        let status = options.status_fd.take();
        self.dump(record, (&options, status), (criu, &images))
            .context(format!("checkpoint container {}", self.id))?;
        if options.leave_running || options.pre_dump {
            return Ok(());
        }
        self.await_end(record)
    }

    fn dump(
        &self,
        record: &Record,
        (options, mut status): (&CheckpointOptions, Option<OwnedFd>),
        (criu, images): (Criu, &Images),
    ) -> Result<()> {
        let init = record.init.pid;
        let mut request = Request {
            options: Some(&options.criu),
            images: images.fd(),
            work: images.work(),
            log: LOG,
            root: &record.rootfs.to_string_lossy(),
            config: config(&record.annotations),
            pid: Some(init),
            leave_running: options.leave_running,
            parent: options.parent.as_deref().and_then(Path::to_str),
            track_memory: options.pre_dump || options.parent.is_some(),
            page_server: options.page_server.as_ref(),
            external: external_namespaces(record)?,
            ..Request::default()
        };
        let freezer = record.freezer();
        request.freezer = freezer.as_deref();
        let kind = if options.pre_dump { Kind::PreDump } else { Kind::Dump };
        if kind == Kind::Dump {
            request.mounts = criu::external(init, record.has(libc::CLONE_NEWCGROUP))?;
            let streams = Streams::of(init)?;
            request.external.extend(streams.external());
            streams.save(images)?;
        }
        let mut notify = |notice| {
            if matches!(notice, Notice::Ready) {
                tell_ready(status.take());
            }
            Ok(())
        };
        criu.carry_out(kind, &request, &images.log(LOG), &mut notify).map(drop)
    }

    /// criu kills without waiting.
    fn await_end(&self, record: &Record) -> Result<()> {
        let Some(pidfd) = record.init.open_even_ended() else { return Ok(()) };
        match pidfd::ended_within(pidfd.as_fd(), Some(ENDING)).attempt("wait for the container")? {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::TimedOut,
                "the container has not ended after its checkpoint",
            )),
        }
    }
}

/// Says so and closes the descriptor, for whose end the reader may wait. Nobody has to read it.
fn tell_ready(status: Option<OwnedFd>) {
    let Some(status) = status else { return };
    if let Err(error) = File::from(status).write_all(&[0]) {
        log::warn!("write to the status descriptor: {error}");
    }
}

/// The file with more options for criu: the annotation's (none, if it is empty), or that of the machine.
pub(super) fn config(annotations: &BTreeMap<String, String>) -> Option<&str> {
    if let Some(path) = annotations.get(CRIU_CONFIG) {
        return Some(&**path).filter(|path| !path.is_empty());
    }
    CONFIGS.into_iter().find(|path| Path::new(path).exists())
}

/// The annotation that names a file with options for criu.
pub(crate) const CRIU_CONFIG: &str = "org.criu.config";

/// The files of the machine: that of this runtime, or that of runc, which people have.
const CONFIGS: [&str; 2] = ["/etc/criu/coracle.conf", "/etc/criu/runc.conf"];

/// The names of joined namespaces that criu leaves as they are; the others it takes for the container's.
pub(super) const EXTERNAL: [(libc::c_int, &str, &str); 2] =
    [(libc::CLONE_NEWNET, "net", "extRootNetNS"), (libc::CLONE_NEWPID, "pid", "extRootPidNS")];

fn external_namespaces(record: &Record) -> Result<Vec<String>> {
    let joined =
        EXTERNAL.iter().filter(|(kind, ..)| record.joined & u64::from(kind.cast_unsigned()) != 0);
    let named = joined.map(|(_, kind, name)| {
        let path = PathBuf::from(format!("/proc/{}/ns/{kind}", record.init.pid));
        let found = nix::sys::stat::stat(&path).attempt_on("look at the namespace", &path)?;
        Ok(format!("{kind}[{}]:{name}", found.st_ino))
    });
    named.collect()
}

impl Record {
    /// The cgroup by which the processes are stopped.
    fn freezer(&self) -> Option<String> {
        let paths = self.cgroup.paths();
        // On a hybrid host cgroup v2 has a freezer, too, but engines know that of v1.
        let path = paths.get("freezer").or_else(|| paths.get("").filter(|_| paths.len() == 1));
        path.map(|path| path.to_string_lossy().into_owned())
    }
}
