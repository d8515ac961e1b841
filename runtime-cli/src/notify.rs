//! `NOTIFY_SOCKET`: passing what the container tells its service manager on (`sd_notify(3)`).
//!
//! The container gets a socket of its own: the manager's would take its messages for those of an
//! unknown process, and could be told of other processes, or be given descriptors to keep.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use coracle::{Container, Error};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// The longest message that is passed on, in bytes; a page, as for systemd.
const LONGEST: usize = 4096;

/// How many messages are passed on at once: a container that never stops sending must not keep this
/// command from its signals. No less than systemd lets wait in a queue (`net.unix.max_dgram_qlen`).
const BATCH: usize = 512;

/// How long the manager may take to make room for a message, or to work through what was sent: runc's
/// bound.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a container may say. Processes (`MAINPID`) and descriptors (`FDSTORE`, `BARRIER`) mean nothing
/// outside of it.
const ALLOWED: [&str; 10] = [
    "READY=",
    "STATUS=",
    "RELOADING=",
    "STOPPING=",
    "ERRNO=",
    "EXIT_STATUS=",
    "WATCHDOG=",
    "WATCHDOG_USEC=",
    "EXTEND_TIMEOUT_USEC=",
    "MONOTONIC_USEC=",
];

/// The manager's socket, if there is one.
fn wanted() -> Option<OsString> {
    env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Whether a service manager waits for messages.
pub(crate) fn is_wanted() -> bool {
    wanted().is_some()
}

/// The two sockets.
#[derive(Debug)]
pub(crate) struct Notify {
    container: UnixDatagram,
    manager: UnixDatagram,
}

impl Notify {
    /// Binds the container's socket, if a manager waits for messages and the container was made with
    /// one. This comes before the start, so that no message is lost.
    ///
    /// # Errors
    /// Those of the library. A manager that cannot be reached is only warned about.
    pub(crate) fn open(container: &Container) -> Result<Option<Self>, Error> {
        let Some(path) = wanted() else { return Ok(None) };
        let Some(inside) = container.bind_notify_socket()? else { return Ok(None) };
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(Path::new(&path)),
        };
        let connect = |address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            Self::between(inside, socket, PATIENCE)
        };
        match address.and_then(connect) {
            Ok(notify) => Ok(Some(notify)),
            Err(error) => {
                ::log::warn!("NOTIFY_SOCKET {}: {error}", path.display());
                Ok(None)
            }
        }
    }

    /// Passes on from one to the other, which may take this long to make room for a message: one that
    /// does not read must not keep this command from its signals for ever.
    fn between(
        container: UnixDatagram,
        manager: UnixDatagram,
        patience: Duration,
    ) -> io::Result<Self> {
        container.set_nonblocking(true)?;
        manager.set_write_timeout(Some(patience))?;
        Ok(Self { container, manager })
    }

    /// Readable when a message has come.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Passes messages on that have come; whether one of them said that the container is ready.
    pub(crate) fn forward(&self) -> bool {
        let mut ready = false;
        let mut buffer = [0; LONGEST];
        // Descriptors that come along are closed by the kernel, as there is no room for them.
        for _ in 0..BATCH {
            let Ok(length) = self.container.recv(&mut buffer) else { break };
            let message = allowed(buffer.get(..length).unwrap_or_default());
            if !message.is_empty() {
                self.tell(&message);
            }
            ready |= message.lines().any(|line| line.starts_with("READY="));
        }
        ready
    }

    fn tell(&self, message: &str) {
        if let Err(error) = self.manager.send(message.as_bytes()) {
            ::log::warn!("pass a message to NOTIFY_SOCKET on: {error}");
        }
    }

    /// Waits until the container is ready or has ended, then names its process and waits until the
    /// manager has taken note: this command ends next, and messages of unknown processes are dropped.
    ///
    /// # Errors
    /// A failed system call.
    pub(crate) fn await_ready(&self, container: &Container) -> Result<(), Error> {
        let Some(init) = container.pidfd() else { return Ok(()) };
        loop {
            let mut fds =
                [PollFd::new(self.fd(), PollFlags::POLLIN), PollFd::new(init, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("wait for READY=", errno as i32)),
            }
            let [_, ended] = fds.map(|fd| fd.any().unwrap_or(true));
            if self.forward() {
                break;
            }
            if ended {
                return Ok(());
            }
        }
        self.tell(&format!("MAINPID={}\n", container.state()?.pid));
        if let Err(error) = self.barrier() {
            ::log::warn!("wait for NOTIFY_SOCKET: {error}");
        }
        Ok(())
    }

    /// Sends one end of a pipe, which the manager closes when it comes to the message
    /// (`sd_notify_barrier(3)`).
    fn barrier(&self) -> io::Result<()> {
        let (ours, theirs) = io::pipe()?;
        let rights = [theirs.as_raw_fd()];
        sendmsg::<()>(
            self.manager.as_raw_fd(),
            &[io::IoSlice::new(b"BARRIER=1")],
            &[ControlMessage::ScmRights(&rights)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        drop(theirs);
        let mut fds = [PollFd::new(ours.as_fd(), PollFlags::POLLHUP)];
        match poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

/// The lines of a message that a container may send.
fn allowed(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let lines = text.lines().filter(|line| ALLOWED.iter().any(|name| line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up_for_ever() {
        let (_container, inside) = UnixDatagram::pair().expect("a pair");
        let name = format!("coracle-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("an address");
        let _reader = UnixDatagram::bind_addr(&address).expect("a socket");
        let manager = UnixDatagram::unbound().expect("a socket");
        manager.connect_addr(&address).expect("connected");
        let patience = Duration::from_millis(50);
        let notify = Notify::between(inside, manager, patience).expect("sockets");
        let begin = std::time::Instant::now();
        // More than fit into its queue: each that does not costs the whole patience.
        let count = 16
            + std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(10);
        let fits = (0..count).take_while(|_| notify.manager.send(b"STATUS=x").is_ok()).count();
        assert!(fits < count, "{fits} messages");
        notify.tell("STATUS=y");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }

    #[test]
    fn nothing_about_processes_or_descriptors_is_passed_on() {
        assert_eq!(allowed(b"STATUS=up\nMAINPID=1\nREADY=1"), "STATUS=up\nREADY=1\n");
        assert_eq!(allowed(b"FDSTORE=1\nBARRIER=1\nNOTIFYACCESS=all"), "");
        assert_eq!(allowed(b"XREADY=1\n READY=1\n"), "");
    }
}
