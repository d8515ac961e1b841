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
/// `IFLA_NEW_IFINDEX` (Linux 5.13; older kernels pass over it).
const NEW_NUMBER: u16 = 49;
/// How often a number that is taken is exchanged for another.
const ATTEMPTS: usize = 4;
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

    /// Moves the device to another namespace and gives it a name there, in one request; with what it is
    /// there, if it came there. The kernel moves first and then renames, so that a failure may leave it
    /// there under its old name.
    ///
    /// It is known again by its number, which it is given with the move (this one, or another where that is
    /// taken) and which no other device has then:
    /// at any moment somebody else may make devices of the same names.
    ///
    /// # Errors
    /// `EEXIST` for a name that is taken, `EINVAL` for a device that cannot leave its namespace.
    pub(super) fn send(
        &self,
        (from, to): (&Socket, &Socket),
        namespace: BorrowedFd<'_>,
        (name, number): (&str, u32),
    ) -> (io::Result<()>, Option<Self>) {
        let mut index = number;
        for _ in 0..ATTEMPTS {
            let request = head(kind::NEW_LINK, self.index, 0, 0)
                .with(NAMESPACE, &namespace.as_raw_fd().to_ne_bytes())
                .with(NEW_NUMBER, &index.to_ne_bytes())
                .with_text(NAME, name);
            let sent = from.ask(request, Mode::Act, &mut |_| {});
            let stayed = sent.is_err() && Self::numbered(from, self.index).is_ok();
            if !stayed {
                let now = self.arrived(to, index, name, sent.is_ok());
                return (sent, now);
            }
            match sent {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                sent => return (sent, None),
            }
            // Another device has the number there.
            match Self::list(to) {
                Ok(links) => index = links.iter().map(|link| link.index).max().unwrap_or(0) + 1,
                Err(error) => return (Err(error), None),
            }
        }
        (Err(Errno::EBUSY.into()), None)
    }

    /// The device where it was moved to.
    fn arrived(&self, to: &Socket, index: u32, name: &str, renamed: bool) -> Option<Self> {
        let is_it = |link: &Self| link.name == name || !renamed && link.name == self.name;
        match Self::numbered(to, index) {
            Ok(link) if is_it(&link) => Some(link),
            // The kernel has chosen a number itself; only one device can have the new name.
            _ if renamed => Self::named(to, name).ok(),
            _ => None,
        }
    }

    /// All devices.
    fn list(socket: &Socket) -> io::Result<Vec<Self>> {
        let request = Request::new(kind::GET_LINK, Mode::List, &[0; FIXED]);
        let mut found = Vec::new();
        socket.ask(request, Mode::List, &mut |reply| found.extend(Self::read(reply)))?;
        Ok(found)
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
