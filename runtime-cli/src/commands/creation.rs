//! What `create`, `run` and `explain` share: the bundle and the options of a new container.

use std::env;
use std::path::{Path, PathBuf};
use std::process;

use coracle::{Bundle, ConsoleTarget, CreateOptions, Error, ErrorKind};

use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::notify;

/// crun's name for `--pidfd-socket`.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Loads the bundle that the options name, and passes its warnings on.
///
/// # Errors
/// Those of the library.
pub(super) fn bundle(matches: &Matches) -> Result<Bundle, Failure> {
    let directory = matches.path("bundle");
    let directory = directory.as_deref().unwrap_or(Path::new("."));
    let bundle = match matches.path("config") {
        Some(config) => Bundle::load_config(directory, config)?,
        None => Bundle::load(directory)?,
    };
    for warning in bundle.warnings() {
        ::log::warn!("{warning}");
    }
    Ok(bundle)
}

/// The options of a new container; `detached` says that nobody waits for it in the foreground.
///
/// # Errors
/// A value that is wrong, or something that this version cannot do.
pub(super) fn options(
    globals: &Globals,
    matches: &Matches,
    bundle: &Bundle,
    detached: bool,
) -> Result<CreateOptions, Failure> {
    let process = bundle.spec().process.as_ref();
    let terminal = process.is_some_and(|process| process.terminal);
    let mut options = CreateOptions::default();
    options.console = console(terminal, detached, matches.path("console-socket"))?;
    options.pid_file = matches.path("pid-file");
    let annotation = bundle.spec().annotations.get(PIDFD_RECEIVER).filter(|path| !path.is_empty());
    options.pidfd_socket = matches.path("pidfd-socket").or(annotation.map(PathBuf::from));
    options.listen_fds = listen_fds();
    options.preserve_fds = preserve_fds(matches, options.listen_fds)?;
    options.no_pivot = matches.switch("no-pivot");
    options.cgroup_driver = globals.cgroup_driver;
    options.notify = notify::is_wanted();
    options.no_new_keyring = matches.switch("no-new-keyring");
    Ok(options)
}

/// Where the master of the terminal goes, by runc's rules and nearly in its words.
pub(super) fn console(
    terminal: bool,
    detached: bool,
    socket: Option<PathBuf>,
) -> Result<ConsoleTarget, Error> {
    let refused = |text: &str| {
        let error = Error::new(ErrorKind::InvalidSpec, text);
        Err(error.with_hint("a terminal needs either the foreground or --console-socket, not both"))
    };
    match (terminal, detached, socket) {
        (true, true, Some(socket)) => Ok(ConsoleTarget::Socket(socket)),
        (true, true, None) => {
            refused("cannot allocate tty if coracle will detach without setting console socket")
        }
        (true, false, None) => Ok(ConsoleTarget::Keep),
        (false, _, None) => Ok(ConsoleTarget::None),
        (_, _, Some(_)) => {
            refused("cannot use console socket if coracle will not detach or allocate tty")
        }
    }
}

/// How many descriptors a service manager passed (`sd_listen_fds(3)`).
pub(super) fn listen_fds() -> u32 {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let mine = env::var_os("LISTEN_PID").is_none() || number("LISTEN_PID") == Some(process::id());
    number("LISTEN_FDS").filter(|_| mine).unwrap_or(0)
}

/// The number of `--preserve-fds`. The last must be open and meant to be inherited; Podman leaves
/// gaps below it for `--preserve-fd`.
///
/// This command's own descriptors close on exec, so that the log, for one, is not passed on in
/// place of a descriptor that the caller forgot to open.
pub(super) fn preserve_fds(matches: &Matches, listen_fds: u32) -> Result<u32, Failure> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let count = matches.number::<u32>("preserve-fds")?;
    let Some(above) = count.checked_sub(1) else { return Ok(0) };
    let last = listen_fds.saturating_add(3).saturating_add(above);
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{last}"));
    let flags = info.as_deref().ok().and_then(|info| {
        let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    if flags.is_none_or(|flags| flags & CLOSE_ON_EXEC != 0) {
        return Err(Error::system(
            format!("preserve file descriptor {last} (the last of {count})"),
            nix::libc::EBADF,
        )
        .into());
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_needs_a_socket_exactly_when_nobody_waits() {
        let socket = || Some(PathBuf::from("/s"));
        let fault = |terminal, detached, socket| {
            console(terminal, detached, socket).expect_err("refused").to_string()
        };
        assert!(matches!(console(true, true, socket()), Ok(ConsoleTarget::Socket(_))));
        assert!(matches!(console(true, false, None), Ok(ConsoleTarget::Keep)));
        assert!(matches!(console(false, true, None), Ok(ConsoleTarget::None)));
        assert!(matches!(console(false, false, None), Ok(ConsoleTarget::None)));
        assert!(fault(true, true, None).starts_with("cannot allocate tty if"));
        for (terminal, detached) in [(true, false), (false, true), (false, false)] {
            assert!(fault(terminal, detached, socket()).starts_with("cannot use console socket"));
        }
    }
}
