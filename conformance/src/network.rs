//! Network devices and their addresses, asked for and made over rtnetlink(7).

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::failure::{Check, Failure};

// Kinds of messages and attributes (`linux/rtnetlink.h`, `if_link.h`, `if_addr.h`).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
/// `NLM_F_REQUEST` and `NLM_F_ACK`, to which `NLM_F_CREATE | NLM_F_EXCL` or `NLM_F_DUMP` are added.
const REQUEST: u16 = 0x5;
const CREATE: u16 = 0x600;
const DUMP: u16 = 0x300;
const UP: u32 = 1;
/// A life that does not end, of an address.
pub(crate) const FOREVER: u32 = u32::MAX;

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) mtu: u32,
}

/// An address; IPv6 addresses have no label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) device: u32,
    pub(crate) ip: IpAddr,
    /// The other end of a point-to-point connection; else the same as `ip`.
    pub(crate) peer: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) scope: u8,
    pub(crate) flags: u32,
    pub(crate) label: String,
    /// Preferred and valid life time, in seconds.
    pub(crate) life: (u32, u32),
}

impl Address {
    /// A permanent address of global scope.
    pub(crate) fn new(ip: &str, prefix: u8) -> Check<Self> {
        let ip: IpAddr = ip.parse()?;
        let label = String::new();
        let life = (FOREVER, FOREVER);
        Ok(Self { device: 0, ip, peer: ip, prefix, scope: 0, flags: 0, label, life })
    }
}

/// A connection to one network namespace.
#[derive(Debug)]
pub(crate) struct Network(OwnedFd);

impl Network {
    /// Puts the calling thread, and the runtimes it starts, into a new namespace, so that neither the machine nor
    /// other cases see what happens.
    pub(crate) fn enter_new() -> Check<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Self::own()
    }

    /// The calling thread's namespace.
    fn own() -> Check<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkRoute;
        Ok(Self(socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?))
    }

    /// The namespace of a process.
    pub(crate) fn of(pid: i64) -> Check<Self> {
        let file = File::open(format!("/proc/{pid}/ns/net"))?;
        let enter = || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            Self::own()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|_panic| Err(Failure::Broken("the thread has panicked".to_owned())))
    }

    /// Whether devices can be made here.
    pub(crate) fn is_possible() -> bool {
        std::thread::spawn(|| Self::enter_new().and_then(|network| network.pair("a", "b")).is_ok())
            .join()
            .unwrap_or(false)
    }

    /// Makes two connected devices, both down.
    pub(crate) fn pair(&self, name: &str, other: &str) -> Check {
        let mut peer = vec![0; 16];
        attribute(&mut peer, IFLA_IFNAME, &terminated(other));
        let mut data = Vec::new();
        attribute(&mut data, VETH_INFO_PEER, &peer);
        let mut info = Vec::new();
        attribute(&mut info, IFLA_INFO_KIND, b"veth");
        attribute(&mut info, IFLA_INFO_DATA, &data);
        let mut body = vec![0; 16];
        attribute(&mut body, IFLA_IFNAME, &terminated(name));
        attribute(&mut body, IFLA_LINKINFO, &info);
        self.ask(NEW_LINK, CREATE, &body).map(drop)
    }

    /// Sets a device up.
    pub(crate) fn set_up(&self, name: &str) -> Check {
        let body = head(self.link(name)?.index, UP);
        self.ask(NEW_LINK, 0, &body).map(drop)
    }

    /// Sets the largest size of a device's packets.
    pub(crate) fn set_mtu(&self, name: &str, mtu: u32) -> Check {
        let mut body = head(self.link(name)?.index, 0);
        attribute(&mut body, IFLA_MTU, &mtu.to_ne_bytes());
        self.ask(NEW_LINK, 0, &body).map(drop)
    }

    /// Gives an address to a device.
    pub(crate) fn add(&self, name: &str, address: &Address) -> Check {
        let family = if address.ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let mut body = vec![u8::try_from(family)?, address.prefix, 0, address.scope];
        body.extend(self.link(name)?.index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &bytes(address.ip));
        attribute(&mut body, IFA_ADDRESS, &bytes(address.peer));
        attribute(&mut body, IFA_FLAGS, &address.flags.to_ne_bytes());
        if !address.label.is_empty() {
            attribute(&mut body, IFA_LABEL, &terminated(&address.label));
        }
        let life = [address.life.0, address.life.1, 0, 0].map(u32::to_ne_bytes).concat();
        attribute(&mut body, IFA_CACHEINFO, &life);
        self.ask(NEW_ADDRESS, CREATE, &body).map(drop)
    }

    /// All devices.
    pub(crate) fn links(&self) -> Check<Vec<Link>> {
        let found = self.ask(GET_LINK, DUMP, &[0; 16])?;
        Ok(found.iter().filter_map(|body| read_link(body)).collect())
    }

    /// The device of this name.
    pub(crate) fn link(&self, name: &str) -> Check<Link> {
        let found = self.links()?.into_iter().find(|link| link.name == name);
        found.ok_or_else(|| Failure::Broken(format!("there is no device {name}")))
    }

    /// Whether there is a device of this name.
    pub(crate) fn has(&self, name: &str) -> Check<bool> {
        Ok(self.links()?.iter().any(|link| link.name == name))
    }

    /// The addresses of the device of this name, of one family.
    pub(crate) fn addresses(&self, name: &str, ipv4: bool) -> Check<Vec<Address>> {
        let index = self.link(name)?.index;
        let found = self.ask(GET_ADDRESS, DUMP, &[0; 8])?;
        let all = found.iter().filter_map(|body| read_address(body));
        Ok(all.filter(|one| one.device == index && one.ip.is_ipv4() == ipv4).collect())
    }

    /// Sends a request and returns the bodies of the answers.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Check<Vec<Vec<u8>>> {
        let mut request = u32::try_from(body.len() + 16)?.to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend((REQUEST | flags).to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        send(self.0.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut buffer = vec![0; 1 << 16];
        let mut answers = Vec::new();
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some(size) = word(rest, 0).and_then(|size| usize::try_from(size).ok()) {
                let body = rest.get(16..size).unwrap_or_default();
                match half(rest, 4) {
                    Some(DONE) => return Ok(answers),
                    Some(ERROR) => {
                        let errno = body.first_chunk().map_or(0, |raw| -i32::from_ne_bytes(*raw));
                        if errno != 0 {
                            return Err(Errno::from_raw(errno).into());
                        }
                        return Ok(answers);
                    }
                    _ => answers.push(body.to_vec()),
                }
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// A `struct ifinfomsg`.
fn head(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(0);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn attributes(body: &[u8], fixed: usize) -> Vec<(u16, &[u8])> {
    let mut rest = body.get(fixed..).unwrap_or_default();
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        found.push((kind, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn read_link(body: &[u8]) -> Option<Link> {
    let all = attributes(body, 16);
    let value = |wanted| all.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    Some(Link {
        index: word(body, 4)?,
        name: words(value(IFLA_IFNAME)?),
        up: word(body, 8)? & UP != 0,
        mtu: word(value(IFLA_MTU)?, 0)?,
    })
}

fn read_address(body: &[u8]) -> Option<Address> {
    let all = attributes(body, 8);
    let value = |wanted| all.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let peer = value(IFA_ADDRESS).and_then(ip)?;
    let life = value(IFA_CACHEINFO)?;
    Some(Address {
        device: word(body, 4)?,
        ip: value(IFA_LOCAL).and_then(ip).unwrap_or(peer),
        peer,
        prefix: *body.get(1)?,
        scope: *body.get(3)?,
        flags: word(value(IFA_FLAGS)?, 0)?,
        label: value(IFA_LABEL).map(words).unwrap_or_default(),
        life: (word(life, 0)?, word(life, 4)?),
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(IpAddr::from(*value.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*value.first_chunk::<16>()?)),
        _ => None,
    }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn words(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
