//! The action `start`: finds who serves the group of the container, or begins to serve it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::bootstrap::{self, Bootstrap};
use crate::failure::Failure;
use crate::flags::Flags;
use crate::place;
use crate::run::{self, READY, Server};
use crate::shim::Settings;
use crate::sys;

/// Does it; returns what belongs on standard output. In the process that serves this does not return
/// before its end, and then nothing.
///
/// # Errors
/// What containerd is told on standard error.
pub(crate) fn start(flags: &Flags) -> Result<Option<Vec<u8>>, Failure> {
    sys::close_inherited();
    let bundle = std::env::current_dir()?;
    let bootstrap = Bootstrap::read(flags, io::stdin())?;
    let group = bootstrap::group(&bundle, &flags.id)?;
    let address = bootstrap.address(flags, &group);
    let socket = PathBuf::from(address.trim_start_matches("unix://"));
    let listener = match claim(&socket) {
        Ok(listener) => listener,
        Err(error) => {
            return Err(Failure::from(error).context(&format!("bind {}", socket.display())));
        }
    };
    if let Some(listener) = listener {
        let begun = begin(flags, &bootstrap, (&bundle, listener, &socket));
        match begun {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(failure) => {
                let _gone = fs::remove_file(&socket);
                return Err(failure);
            }
        }
    }
    // Versions before 2.0 find the shim again by this file.
    fs::write(bundle.join("address"), &address)?;
    bootstrap.answer(&address).map(Some)
}

/// Binds the socket; `None` if somebody serves it already.
fn claim(socket: &Path) -> io::Result<Option<UnixListener>> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Two containers of a group can be started at once: only one may take a dead socket away.
    let lock = Flock::lock(File::open(directory)?, FlockArg::LockExclusive)
        .map_err(|(_, errno)| io::Error::from(errno))?;
    let bound = match UnixListener::bind(socket) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(socket).is_ok() {
                return Ok(None);
            }
            fs::remove_file(socket)?;
            UnixListener::bind(socket)?
        }
        bound => bound?,
    };
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    drop(lock);
    Ok(Some(bound))
}

/// Makes the process that serves; `true` in it, after its end.
fn begin(
    flags: &Flags,
    bootstrap: &Bootstrap,
    (bundle, listener, socket): (&Path, UnixListener, &Path),
) -> Result<bool, Failure> {
    let (mut told, teller) = io::pipe()?;
    let Some(pid) = sys::split()? else {
        drop(told);
        let settings = Settings {
            namespace: flags.namespace.clone(),
            id: flags.id.clone(),
            events_address: bootstrap.ttrpc_address.clone(),
            options: bootstrap.options.clone(),
        };
        let server = Server {
            settings,
            listener,
            socket: socket.to_owned(),
            bundle: bundle.to_owned(),
            level: bootstrap.level,
        };
        run::run(server, teller);
        return Ok(true);
    };
    drop(teller);
    let placed =
        adjust_oom_score(pid).and_then(|()| place::join(pid, &bootstrap.options.shim_cgroup));
    if let Err(failure) = placed {
        let server = nix::unistd::Pid::from_raw(pid);
        let _gone = nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL);
        return Err(failure);
    }
    let mut word = String::new();
    told.read_to_string(&mut word)?;
    match word.strip_prefix(READY) {
        Some(_) => Ok(false),
        None if word.is_empty() => {
            Err(Failure::unknown("the shim has ended while it set itself up"))
        }
        None => Err(Failure::unknown(word)),
    }
}

/// The server is to be killed before containerd, which has started this process.
fn adjust_oom_score(pid: i32) -> Result<(), Failure> {
    let parent = nix::unistd::getppid();
    let score = fs::read_to_string(format!("/proc/{parent}/oom_score_adj")).unwrap_or_default();
    let score = score.trim().parse().unwrap_or(0_i32);
    let score = score.saturating_add(1).min(1000);
    match fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()) {
        // Without the privilege it stays what was inherited.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(Failure::from(error).context("set oom_score_adj of the shim"))
        }
        _ => Ok(()),
    }
}
