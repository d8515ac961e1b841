//! Network devices: finding, moving, renaming and setting them up.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::message::{Mode, Reply, Request, kind, text};
use super::socket::Socket;

/// The size of `struct ifinfomsg`.
const FIXED: usize = 16;
/// `IFLA_IFNAME`.
const NAME: u16 = 3;
/// `IFLA_NET_NS_FD`.
const NAMESPACE: u16 = 28;
/// `IFF_UP`.
const UP: u32 = 1;

/// A network device as one namespace knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number there.
    pub(super) index: u32,
    /// Its name there.
    pub(super) name: String,
    /// Whether it is up.
    pub(super) up: bool,
}

impl Link {
    /// Finds a device by name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub(super) fn named(socket: &Socket, name: &str) -> io::Result<Self> {
        Self::ask(socket, head(kind::GET_LINK, 0, 0, 0).with_text(NAME, name))
    }

    /// Finds a device by number.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub(super) fn numbered(socket: &Socket, index: u32) -> io::Result<Self> {
        Self::ask(socket, head(kind::GET_LINK, index, 0, 0))
    }

    fn ask(socket: &Socket, request: Request) -> io::Result<Self> {
        let mut found = None;
        socket.ask(request, Mode::Act, &mut |reply| found = found.take().or(Self::read(reply)))?;
        found.ok_or_else(|| Errno::EBADMSG.into())
    }

    fn read(reply: Reply<'_>) -> Option<Self> {
        let mut attributes = reply.attributes(FIXED);
        let (_, name) = attributes.find(|(kind, _)| *kind == NAME)?;
        Some(Self { index: reply.word(4)?, name: text(name), up: reply.word(8)? & UP != 0 })
    }

    /// Moves the device to another namespace and gives it a name there, in one request. The kernel moves
    /// first and then renames, so that a failure may leave it there under its old name.
    ///
    /// # Errors
    /// `EEXIST` for a name that is taken, `EINVAL` for a device that cannot leave its namespace.
    pub(super) fn send(
        &self,
        socket: &Socket,
        namespace: BorrowedFd<'_>,
        name: &str,
    ) -> io::Result<()> {
        let request = head(kind::NEW_LINK, self.index, 0, 0)
            .with(NAMESPACE, &namespace.as_raw_fd().to_ne_bytes())
            .with_text(NAME, name);
        socket.ask(request, Mode::Act, &mut |_| {})
    }

    /// Renames the device, which must be down; of a name with `%d` the kernel makes one that is free.
    ///
    /// # Errors
    /// `EEXIST` for a name that is taken.
    pub(super) fn rename(&self, socket: &Socket, name: &str) -> io::Result<()> {
        let request = head(kind::NEW_LINK, self.index, 0, 0).with_text(NAME, name);
        socket.ask(request, Mode::Act, &mut |_| {})
    }

    /// Sets the device up.
    ///
    /// # Errors
    /// What its driver answers.
    pub(super) fn set_up(&self, socket: &Socket) -> io::Result<()> {
        socket.ask(head(kind::NEW_LINK, self.index, UP, UP), Mode::Act, &mut |_| {})
    }
}

/// A request with its `struct ifinfomsg`.
fn head(kind: u16, index: u32, flags: u32, change: u32) -> Request {
    let mut fixed = [0; 4].to_vec();
    for word in [index, flags, change] {
        fixed.extend(word.to_ne_bytes());
    }
    Request::new(kind, Mode::Act, &fixed)
}
