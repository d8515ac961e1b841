//! Network devices that move into the container's network namespace (config-linux.md "Network Devices").
//!
//! A device goes with its permanent global addresses, gets its name there and is set up. What routes,
//! neighbours and traffic rules it had, the kernel drops. A container that comes to its end gives nothing
//! back: the kernel returns hardware to the first namespace and removes virtual devices when the namespace
//! ends, and in a joined namespace they stay. For the same reason the journal has nothing about them: of a
//! `create` that was killed, the init process ends, and a new namespace with it. Only a creation that fails
//! itself puts them back ([`Moved`]).

mod address;
mod link;
mod message;
mod socket;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::{Mode, fstat};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::{NetDevice, net_device_field};

use address::Address;
use link::Link;
use socket::Socket;

/// The devices that were moved. Dropped before [`Moved::keep`], they go back, with their names, addresses
/// and states.
#[derive(Debug)]
pub(crate) struct Moved {
    outside: Socket,
    inside: Socket,
    /// The calling thread's namespace.
    home: OwnedFd,
    devices: Vec<Device>,
}

/// A device that was moved.
#[derive(Debug)]
struct Device {
    /// What it was.
    host: Link,
    /// All addresses it had.
    addresses: Vec<Address>,
    /// What it is now.
    now: Link,
}

impl Moved {
    /// Moves devices to another namespace, and sets them up there.
    ///
    /// # Errors
    /// The failure of a system call, with the device's field; all are back where they were then.
    pub(crate) fn into(
        devices: &BTreeMap<String, NetDevice>,
        namespace: BorrowedFd<'_>,
    ) -> Result<Self> {
        let home = open_namespace(Path::new("/proc/thread-self/ns/net"))?;
        if identity(home.as_fd())? == identity(namespace)? {
            let message = "the container's network namespace is the runtime's own";
            return Err(Error::new(ErrorKind::InvalidSpec, message)
                .with_field("linux.netDevices")
                .with_hint("a device can be moved to another one only"));
        }
        let outside = Socket::open().attempt("open a netlink socket")?;
        let inside = Socket::open_in(namespace)
            .attempt("open a netlink socket in the container's network namespace")?;
        let mut moved = Self { outside, inside, home, devices: Vec::new() };
        let addresses = Address::list(&moved.outside).attempt("list the IP addresses")?;
        for (host, device) in devices {
            let name = device.name.as_deref().unwrap_or(host);
            moved
                .take((host, name), namespace, &addresses)
                .map_err(|error| error.with_field(net_device_field(host)))?;
        }
        Ok(moved)
    }

    fn take(
        &mut self,
        (host, name): (&str, &str),
        namespace: BorrowedFd<'_>,
        addresses: &[Address],
    ) -> Result<()> {
        let link =
            Link::named(&self.outside, host).attempt(&format!("find the network device {host}"))?;
        let addresses: Vec<Address> =
            addresses.iter().filter(|address| address.index == link.index).cloned().collect();
        let template = name.contains('%');
        if !template && Link::named(&self.inside, name).is_ok() {
            let message = format!("give a network device of the container the name {name}");
            return Err(Error::system(message, libc::EEXIST));
        }
        // The kernel does not say which name it has made of a template. So a device gets first a name that is
        // free for sure, as its number is, and by which it is found again.
        let first = if template { format!("cr-{}", link.index) } else { name.to_owned() };
        let way = (&self.outside, &self.inside);
        let (sent, arrived) = link.send(way, namespace, (&first, link.index));
        if let Some(now) = arrived {
            self.devices.push(Device { host: link, addresses, now });
        }
        sent.attempt(&format!("move the network device {host}")).map_err(|error| {
            match error.errno() {
                Some(libc::EINVAL) => error.with_hint("not every kind of device can be moved"),
                _ => error,
            }
        })?;
        let Some(device) = self.devices.last_mut() else {
            return Err(Error::system("find a moved network device", libc::ENODEV));
        };
        if template {
            device.now.rename(&self.inside, name).attempt(&format!("name it {name}"))?;
            device.now = Link::numbered(&self.inside, device.now.index)
                .attempt("ask for the name of a moved network device")?;
        }
        device.set_up(&self.inside)
    }

    /// Leaves the devices where they are.
    pub(crate) fn keep(mut self) {
        self.devices.clear();
    }

    /// Moves the devices back and makes them what they were, the last one first.
    ///
    /// # Errors
    /// The first failure of a system call; the others are tried all the same.
    pub(crate) fn restore(mut self) -> Result<()> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<()> {
        let mut result = Ok(());
        for device in std::mem::take(&mut self.devices).iter().rev() {
            let what = format!("give the network device {} back", device.host.name);
            result = result.and(device.restore(self).attempt(&what));
        }
        result
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        // There is another error to tell already.
        if let Err(error) = self.give_back() {
            log::warn!("{error}");
        }
    }
}

impl Device {
    /// Gives it its addresses, then sets it up, which makes the routes to them.
    fn set_up(&self, inside: &Socket) -> Result<()> {
        for address in self.addresses.iter().filter(|address| address.is_kept()) {
            address
                .add(inside, self.now.index, &self.host.name, &self.now.name)
                .attempt(&format!("keep an IP address of the network device {}", self.host.name))?;
        }
        self.now.set_up(inside).attempt(&format!("set the network device {} up", self.now.name))
    }

    /// Moves it back and makes it what it was.
    fn restore(&self, moved: &Moved) -> std::io::Result<()> {
        let way = (&moved.inside, &moved.outside);
        let old = (&*self.host.name, self.host.index);
        let (sent, back) = self.now.send(way, moved.home.as_fd(), old);
        sent?;
        let back = back.ok_or(Errno::ENODEV)?;
        // Before it is up, as above; IPv6 link-local addresses it gets by itself.
        let mut first = Ok(());
        for address in &self.addresses {
            let name = &self.host.name;
            first = first.and(address.add(&moved.outside, back.index, name, name));
        }
        if self.host.up {
            back.set_up(&moved.outside)?;
        }
        first
    }
}

/// Sets the loopback device of a namespace up, which gives it its addresses.
///
/// # Errors
/// The failure of a system call.
pub(crate) fn raise_loopback(namespace: BorrowedFd<'_>) -> Result<()> {
    const LOOPBACK: u32 = 1;
    let socket = Socket::open_in(namespace).attempt("enter the network namespace")?;
    let device = Link::numbered(&socket, LOOPBACK).attempt("find the loopback device")?;
    device.set_up(&socket).attempt("set the loopback device up")
}

/// Opens the file of a network namespace.
///
/// # Errors
/// The failure of open(2).
pub(crate) fn open_namespace(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    fcntl::open(path, flags, Mode::empty()).attempt_on("open the network namespace", path)
}

/// What tells one namespace from another (namespaces(7)).
fn identity(namespace: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let found = fstat(namespace).attempt("stat of a network namespace")?;
    Ok((found.st_dev, found.st_ino))
}
