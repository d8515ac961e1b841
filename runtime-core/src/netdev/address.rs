//! The IP addresses of network devices.

use std::io;

use super::message::{Mode, Reply, Request, kind, number, text};
use super::socket::Socket;

/// The size of `struct ifaddrmsg`.
const FIXED: usize = 8;

// Attributes (`linux/if_addr.h`).
const LABEL: u16 = 3;
const CACHE_INFO: u16 = 6;
const FLAGS: u16 = 8;
/// What a new address takes over as it is: address, local, broadcast, anycast, priority, protocol.
const COPIED: [u16; 6] = [1, 2, 4, 5, 9, 11];

/// `IFA_F_PERMANENT`: no end of its life is set.
const PERMANENT: u32 = 0x80;
/// `IFA_F_DEPRECATED`: its preferred life has ended.
const DEPRECATED: u32 = 0x20;
/// What the owner of an address chooses: `IFA_F_NODAD`, `OPTIMISTIC`, `HOMEADDRESS`, `MANAGETEMPADDR`,
/// `NOPREFIXROUTE`, `MCAUTOJOIN`. The other flags are the kernel's findings.
const CHOSEN: u32 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;
/// `RT_SCOPE_UNIVERSE`.
const UNIVERSE: u8 = 0;

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The number of the device.
    pub(super) index: u32,
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    label: Option<String>,
    /// `struct ifa_cacheinfo`: the preferred and the valid life time in seconds, and two times that a request
    /// leaves out.
    life: Option<[u8; 16]>,
    copied: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// The addresses of all devices.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(super) fn list(socket: &Socket) -> io::Result<Vec<Self>> {
        let request = Request::new(kind::GET_ADDRESS, Mode::List, &[0; FIXED]);
        let mut found: Vec<Self> = Vec::new();
        socket.ask(request, Mode::List, &mut |reply| {
            let address = Self::read(reply).filter(|_| reply.kind == kind::NEW_ADDRESS);
            found.extend(address.filter(|address| !found.contains(address)));
        })?;
        Ok(found)
    }

    fn read(reply: Reply<'_>) -> Option<Self> {
        let mut address = Self {
            family: reply.byte(0)?,
            prefix: reply.byte(1)?,
            flags: u32::from(reply.byte(2)?),
            scope: reply.byte(3)?,
            index: reply.word(4)?,
            label: None,
            life: None,
            copied: Vec::new(),
        };
        for (kind, value) in reply.attributes(FIXED) {
            match kind {
                LABEL => address.label = Some(text(value)),
                CACHE_INFO => address.life = value.first_chunk().copied(),
                FLAGS => address.flags = number(value)?,
                kind if COPIED.contains(&kind) => address.copied.push((kind, value.to_vec())),
                _ => {}
            }
        }
        Some(address)
    }

    /// Whether it goes along with its device (config-linux.md "Network Devices"): permanent and of global
    /// scope.
    pub(super) fn is_kept(&self) -> bool {
        self.flags & PERMANENT != 0 && self.scope == UNIVERSE
    }

    /// Gives the address to a device; `old` and `new` are its names, which IPv4 labels begin with. That it
    /// has the address already is no error.
    ///
    /// # Errors
    /// What the kernel answers: `EACCES` for IPv6 where that is disabled.
    pub(super) fn add(&self, socket: &Socket, index: u32, old: &str, new: &str) -> io::Result<()> {
        // The byte of flags holds the lower ones alone; the attribute has all.
        let mut fixed = vec![self.family, self.prefix, 0, self.scope];
        fixed.extend(index.to_ne_bytes());
        let mut request = Request::new(kind::NEW_ADDRESS, Mode::Create, &fixed)
            .with(FLAGS, &(self.flags & CHOSEN).to_ne_bytes());
        if let Some(label) = &self.label {
            request = request.with_text(LABEL, &relabel(label, old, new));
        }
        if let Some(life) = self.life {
            // Of a permanent IPv4 address the kernel says that it is preferred for ever, also when it is not.
            let ended = |(at, byte)| if at < 4 && self.flags & DEPRECATED != 0 { 0 } else { byte };
            let life: Vec<u8> = life.into_iter().enumerate().map(ended).collect();
            request = request.with(CACHE_INFO, &life);
        }
        for (kind, value) in &self.copied {
            request = request.with(*kind, value);
        }
        match socket.ask(request, Mode::Create, &mut |_| {}) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    }
}

/// The label after a change of the device's name, as the kernel itself does it: `eth0:web` of `eth0` becomes
/// `net1:web` of `net1`.
fn relabel(label: &str, old: &str, new: &str) -> String {
    match label.strip_prefix(old) {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => {
            // IFNAMSIZ: what is longer is not a label.
            let whole = format!("{new}{rest}");
            if whole.len() < 16 { whole } else { new.to_owned() }
        }
        _ => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_name() {
        assert_eq!(relabel("eth0", "eth0", "net1"), "net1");
        assert_eq!(relabel("eth0:web", "eth0", "net1"), "net1:web");
        assert_eq!(relabel("eth01", "eth0", "net1"), "eth01");
        assert_eq!(relabel("eth0:a-long-one", "eth0", "much-longer"), "much-longer");
    }

    #[test]
    fn permanent_global_addresses_are_kept() {
        let address = |flags: u32, scope: u8| {
            let mut bytes = vec![2, 24, 0, scope, 5, 0, 0, 0];
            bytes.splice(4.., 5_u32.to_ne_bytes());
            let message = Request::new(kind::NEW_ADDRESS, Mode::Act, &bytes)
                .with(2, &[10, 0, 0, 1])
                .with(FLAGS, &flags.to_ne_bytes())
                .finish();
            Address::read(Reply::first(&message).unwrap().0).unwrap()
        };
        assert!(address(0x80, 0).is_kept());
        assert!(address(0x280, 0).is_kept());
        assert!(!address(0x100, 0).is_kept(), "it has an end");
        assert!(!address(0x80, 253).is_kept(), "link scope");
        assert_eq!((address(0, 0).index, address(0, 0).copied.len()), (5, 1));
    }
}
