//! What the caller chooses besides the configuration.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::console;
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::IntelRdt;

/// Options of [`Runtime::create`](crate::Runtime::create).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Where the master of the terminal goes if the configuration asks for one.
    pub console: ConsoleTarget,
    /// A file that gets the pid of the init process, replaced atomically before `create` returns.
    pub pid_file: Option<PathBuf>,
    /// A unix stream socket that gets a pidfd of the init process before `create` returns: one message
    /// with the descriptor and the word `pidfd`.
    pub pidfd_socket: Option<PathBuf>,
    /// How many of the caller's descriptors the payload keeps: those from 3 + `listen_fds` on.
    pub preserve_fds: u32,
    /// How many descriptors from 3 on are sockets for the payload (sd_listen_fds(3)); `LISTEN_FDS` and
    /// `LISTEN_PID` are set in its environment.
    pub listen_fds: u32,
    /// Change the root without pivot_root, for hosts whose root is a ramdisk.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Give the payload a socket for messages to a service manager (sd_notify(3)), and `NOTIFY_SOCKET`
    /// in its environment; [`Container::bind_notify_socket`](crate::Container::bind_notify_socket) takes
    /// the other end.
    pub notify: bool,
    /// The payload's standard input, output and error.
    pub stdio: Stdio,
    /// Who makes the container's cgroup.
    pub cgroup_driver: CgroupDriver,
    /// A directory to take for the resctrl file system, for tests on machines without one.
    #[doc(hidden)]
    pub resctrl_imitation: Option<PathBuf>,
}

/// Who makes the cgroup of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CgroupDriver {
    /// The library, in the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd, as a transient unit: `linux.cgroupsPath` has the form `slice:prefix:name`.
    Systemd,
    /// Nobody: the container stays in its creator's cgroup. Limits cannot be held then and are
    /// refused; devices are not filtered.
    Disabled,
}

/// Options of [`Container::exec`](crate::Container::exec).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ExecOptions {
    /// Where the master of the terminal goes if the process asks for one.
    pub console: ConsoleTarget,
    /// A file that gets the pid of the process, replaced atomically before `exec` returns.
    pub pid_file: Option<PathBuf>,
    /// As in [`CreateOptions`], with the process's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// The cgroup that it joins, which exists below the container's: `a/b`; `/` is the container's own,
    /// also where its processes have moved below it. `None`: where the init process is.
    pub cgroup: Option<String>,
    /// The same for single cgroup v1 controllers: a path for each, such as `a/b` for `memory`. In the other
    /// hierarchies the process joins the container's own cgroup. Not beside `cgroup`.
    pub controller_cgroups: BTreeMap<String, String>,
    /// As in [`CreateOptions`].
    pub preserve_fds: u32,
    /// As in [`CreateOptions`].
    pub listen_fds: u32,
    /// The process's standard input, output and error.
    pub stdio: Stdio,
    /// Start it although the container is paused: it runs once the container is resumed.
    pub ignore_paused: bool,
}

/// Options of [`Container::update_with`](crate::Container::update_with).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UpdateOptions {
    /// Lines for the level 3 cache, as `linux.intelRdt.l3CacheSchema`: `L3:0=f;1=ff`.
    pub l3_cache_schema: Option<String>,
    /// The line for the memory bandwidth, as `linux.intelRdt.memBwSchema`: `MB:0=20;1=70`.
    pub mem_bw_schema: Option<String>,
    /// As in [`CreateOptions`].
    #[doc(hidden)]
    pub resctrl_imitation: Option<PathBuf>,
}

impl UpdateOptions {
    /// The shares of a class of service; `None` if there are none.
    pub(super) fn shares(&self) -> Result<Option<IntelRdt>> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let shares = IntelRdt {
            l3_cache_schema: given(&self.l3_cache_schema),
            mem_bw_schema: given(&self.mem_bw_schema),
            ..IntelRdt::default()
        };
        shares.check()?;
        Ok((shares != IntelRdt::default()).then_some(shares))
    }
}

/// Where the master of a new terminal goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsoleTarget {
    /// Nowhere: a terminal must not be asked for.
    #[default]
    None,
    /// To whoever listens on this unix stream socket, as one message with the descriptor.
    Socket(PathBuf),
    /// To the caller: [`Container::take_console`](crate::Container::take_console).
    Keep,
}

/// The payload's standard input, output and error. A terminal, where the process asks for one, takes the
/// place of all three.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// These.
    Fds {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

impl Stdio {
    /// Whether they are others than the caller's.
    pub(super) const fn replaces(&self) -> bool {
        matches!(self, Self::Fds { .. })
    }

    /// A copy of one of them.
    pub(super) fn stream(&self, number: usize) -> Result<OwnedFd> {
        let fd = match (self, number) {
            (Self::Fds { stdin, .. }, 0) => Some(stdin),
            (Self::Fds { stdout, .. }, 1) => Some(stdout),
            (Self::Fds { stderr, .. }, 2) => Some(stderr),
            _ => None,
        };
        let fd = fd.ok_or_else(|| {
            Error::new(ErrorKind::System, format!("no standard stream {number} was given"))
        })?;
        fd.try_clone().attempt("copy a standard stream")
    }
}

/// A console target that was checked against the process and is connected.
#[derive(Debug)]
pub(super) enum Console {
    None,
    Socket(UnixStream),
    Keep(Option<OwnedFd>),
}

impl Console {
    /// Connects the target.
    pub(super) fn connect(target: &ConsoleTarget, terminal: bool) -> Result<Self> {
        match (target, terminal) {
            (ConsoleTarget::None, true) => Err(Error::new(
                ErrorKind::InvalidSpec,
                "a terminal is asked for, but nobody is named to take its master",
            )
            .with_field("process.terminal")
            .with_hint("choose a ConsoleTarget")),
            (ConsoleTarget::Socket(_), false) => Err(Error::new(
                ErrorKind::InvalidSpec,
                "there is a console socket, but no terminal is asked for",
            )
            .with_field("process.terminal")),
            (ConsoleTarget::Socket(path), true) => console::connect(path).map(Self::Socket),
            (ConsoleTarget::Keep, _) => Ok(Self::Keep(None)),
            (ConsoleTarget::None, false) => Ok(Self::None),
        }
    }

    /// Takes the master that the init program has sent.
    pub(super) fn accept(&mut self, master: OwnedFd) -> Result<()> {
        match self {
            Self::Socket(socket) => console::send(socket, &master),
            Self::Keep(kept) => {
                *kept = Some(master);
                Ok(())
            }
            Self::None => Ok(()),
        }
    }

    /// The master that was kept.
    pub(super) fn into_kept(self) -> Option<OwnedFd> {
        match self {
            Self::Keep(master) => master,
            Self::None | Self::Socket(_) => None,
        }
    }
}
