//! The process that serves: its set-up, its loop, its end.

use std::fs::{self, File};
use std::io::{self, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ::log::LevelFilter;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use crate::children;
use crate::log::{self as lines, Origin};
use crate::readiness::register;
use crate::server;
use crate::shim::{Settings, Shim};
use crate::sys::{self, Code};

/// What the process was made with.
#[derive(Debug)]
pub(crate) struct Server {
    /// Namespace, names, options.
    pub(crate) settings: Settings,
    /// The bound socket.
    pub(crate) listener: StdListener,
    /// Its path, removed at the end.
    pub(crate) socket: PathBuf,
    /// The bundle of the first container, which has the log.
    pub(crate) bundle: PathBuf,
    /// How much is logged.
    pub(crate) level: LevelFilter,
}

/// How long the last events may take.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// What the server says to the process that has made it, once it takes calls.
pub(crate) const READY: &str = "ready";

/// Serves until there is nothing more to do. Says [`READY`] to `teller`, or what has gone wrong before.
pub(crate) fn run(server: Server, teller: PipeWriter) {
    let origin =
        Origin { namespace: server.settings.namespace.clone(), id: server.settings.id.clone() };
    let detached = detach();
    // Without its log it serves as well.
    let _silent = lines::begin(&server.bundle.join("log"), &origin, server.level);
    if let Err(error) = detached {
        tell(teller, &format!("leave the caller: {error}"));
        return;
    }
    if let Err(error) = serve(server, teller) {
        ::log::error!("serve: {error}");
    }
}

/// The bound socket in the file system, which goes with this.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Somebody may have taken its place since.
        if self.identity.is_some() && self.identity == identity(&self.path) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Leaves session, directory and standard streams of the caller, and becomes the parent of orphans.
fn detach() -> io::Result<()> {
    nix::unistd::setsid()?;
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        sys::own_cores()?;
    }
    set_child_subreaper(true)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(null.as_fd())?;
    nix::unistd::dup2_stderr(null.as_fd())?;
    std::env::set_current_dir("/")
}

/// Whoever is told may be gone.
fn tell(mut teller: PipeWriter, word: &str) {
    let _told = teller.write_all(word.as_bytes());
}

fn serve(server: Server, teller: PipeWriter) -> io::Result<()> {
    let bound = Bound { identity: identity(&server.socket), path: server.socket };
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        server.listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(server.listener)?;
        let shim = Rc::new(Shim::new(server.settings));
        let signals = Signals::new()?;
        let taking = spawn_local(server::serve(listener, Rc::clone(&shim)));
        spawn_local(Rc::clone(&shim.events).send_all());
        spawn_local(heed(signals, Rc::clone(&shim)));
        spawn_local(slim(Rc::clone(&shim)));
        tell(teller, READY);
        shim.done().await;
        // Whoever comes now is to begin a new server, not to wait for the end of this one. Nothing has
        // turned the loop since it was decided, so there is no task, and there will be none.
        shim.close();
        drop(bound);
        taking.abort();
        shim.events.flush(LAST_EVENTS).await;
        Ok(())
    })
}

/// Signals that do not end the process as they would by themselves.
const HEEDED: [Signal; 6] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGHUP,
    Signal::SIGPIPE,
];

/// Signals as a descriptor.
#[derive(Debug)]
struct Signals(AsyncFd<SignalFd>);

impl Signals {
    /// Blocks the signals and opens the descriptor. Threads inherit the mask; what is executed does not,
    /// because the library and the standard library set their own.
    fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in HEEDED {
            mask.add(signal);
        }
        mask.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = SignalFd::with_flags(&mask, flags)?;
        Ok(Self(register(descriptor, Interest::READABLE)?))
    }

    async fn next(&mut self) -> io::Result<Option<Signal>> {
        let mut ready = self.0.readable().await?;
        let read = ready.get_inner().read_signal()?;
        if read.is_none() {
            ready.clear_ready();
        }
        Ok(read.and_then(|told| Signal::try_from(i32::try_from(told.ssi_signo).ok()?).ok()))
    }
}

/// Gives the memory of the program's code back while nothing is asked: there is a shim for each pod,
/// and most of the time all of them wait.
async fn slim(shim: Rc<Shim>) {
    let Some(code) = Code::find() else { return };
    loop {
        shim.rested().await;
        code.release();
    }
}

/// Acts on signals, and reaps strangers.
async fn heed(mut signals: Signals, shim: Rc<Shim>) {
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = shim.sweep.notified() => Ok(Some(Signal::SIGCHLD)),
        };
        match signal {
            Ok(Some(Signal::SIGCHLD)) => {
                children::reap_strangers();
            }
            Ok(Some(Signal::SIGHUP | Signal::SIGPIPE)) | Ok(None) => {}
            Ok(Some(Signal::SIGUSR1)) => ::log::info!("state: {}", shim.describe()),
            Ok(Some(signal)) if shim.is_empty() => {
                ::log::info!("{signal}: nothing is left to do");
                shim.leave();
            }
            Ok(Some(signal)) => ::log::warn!("{signal}: there are tasks, so the shim stays"),
            Err(error) => {
                ::log::error!("read a signal: {error}");
                return;
            }
        }
    }
}
