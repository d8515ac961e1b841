//! Asking the kernel about the devices of one network namespace.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use super::message::{Mode, Reply, Request, kind};

/// Larger than any message of the kernel (`NLMSG_GOODSIZE`, and what a device with many functions needs).
const BUFFER: usize = 64 * 1024;
/// How often a list that changes all the time is asked for.
const ATTEMPTS: usize = 8;
/// The stack of a thread that makes two system calls.
const STACK: usize = 64 * 1024;

/// A connection to one network namespace, whichever the calling thread is in later.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// A connection to the calling thread's namespace.
    ///
    /// # Errors
    /// The failure of socket(2).
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkRoute;
        Ok(Self(socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?))
    }

    /// A connection to another namespace. A socket belongs to the namespace in which it was made, and a
    /// namespace is entered by a thread alone, so a thread is made that enters it and ends: the caller's
    /// own threads stay where they are.
    ///
    /// # Errors
    /// The failure of setns(2), socket(2) or of starting a thread.
    pub(super) fn open_in(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let enter = || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                Self::open()
            };
            let ended = thread.spawn_scoped(scope, enter)?.join();
            ended.map_err(|_panic| io::Error::other("the thread has panicked"))?
        })
    }

    /// Sends a request and gives each answer to `visit`, up to the acknowledgement. A list that has changed
    /// meanwhile is asked for again, so that `visit` can see a message more than once.
    ///
    /// # Errors
    /// What the kernel answers, or the failure of a system call.
    pub(super) fn ask(
        &self,
        request: Request,
        mode: Mode,
        visit: &mut dyn FnMut(Reply<'_>),
    ) -> io::Result<()> {
        let request = request.finish();
        let mut buffer = vec![0; BUFFER];
        for _ in 0..ATTEMPTS {
            send(self.0.as_raw_fd(), &request, MsgFlags::empty())?;
            if self.collect(&mut buffer, visit)? || mode != Mode::List {
                return Ok(());
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// Whether the answers belong together.
    fn collect(&self, buffer: &mut [u8], visit: &mut dyn FnMut(Reply<'_>)) -> io::Result<bool> {
        let mut whole = true;
        loop {
            let length = match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
                Err(Errno::EINTR) => continue,
                received => received?,
            };
            let mut rest = buffer.get(..length).ok_or(Errno::EMSGSIZE)?;
            while let Some((reply, next)) = Reply::first(rest) {
                rest = next;
                whole &= !reply.interrupted;
                match reply.kind {
                    kind::DONE => return Ok(whole),
                    kind::ERROR => {
                        return match reply.errno() {
                            Some(0) => Ok(whole),
                            errno => Err(Errno::from_raw(errno.unwrap_or(libc::EBADMSG)).into()),
                        };
                    }
                    _ => visit(reply),
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
