//! Messages of rtnetlink(7), as bytes.

/// The size of `struct nlmsghdr`.
const HEADER: usize = 16;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 0x4;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE` and `NLM_F_EXCL`.
const CREATE: u16 = 0x600;
/// `NLM_F_DUMP_INTR`: the list has changed while it was sent.
const INTERRUPTED: u16 = 0x10;

/// The kinds of messages.
pub(super) mod kind {
    pub(in crate::netdev) const ERROR: u16 = 2;
    pub(in crate::netdev) const DONE: u16 = 3;
    pub(in crate::netdev) const NEW_LINK: u16 = 16;
    pub(in crate::netdev) const GET_LINK: u16 = 18;
    pub(in crate::netdev) const NEW_ADDRESS: u16 = 20;
    pub(in crate::netdev) const GET_ADDRESS: u16 = 22;
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// With one message, or none, and an acknowledgement.
    Act,
    /// The same; what is asked for must not exist.
    Create,
    /// With a list.
    List,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request of this kind with its fixed part (`struct ifinfomsg`, `struct ifaddrmsg`).
    pub(super) fn new(kind: u16, mode: Mode, fixed: &[u8]) -> Self {
        let flags = match mode {
            Mode::Act => REQUEST | ACKNOWLEDGE,
            Mode::Create => REQUEST | ACKNOWLEDGE | CREATE,
            Mode::List => REQUEST | DUMP,
        };
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // Number and port, both 0: one request is under way at a time, and the kernel has port 0.
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        // What is sent is a few bytes long; a length of 0 would be refused by the kernel.
        let length = u16::try_from(value.len() + 4).unwrap_or(0);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a text, which ends with a NUL.
    pub(super) fn with_text(self, kind: u16, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.with(kind, &value)
    }

    /// The bytes to send.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(0).to_ne_bytes();
        self.0.splice(..length.len(), length);
        self.0
    }
}

/// A message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply<'a> {
    /// What it is.
    pub(super) kind: u16,
    /// Whether the list that it belongs to is not to be trusted.
    pub(super) interrupted: bool,
    body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The first message of what was received, and what follows.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let body = bytes.get(HEADER..length)?;
        let (kind, flags) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
        let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((Self { kind, interrupted: flags & INTERRUPTED != 0, body }, rest))
    }

    /// The error number of an acknowledgement, positive; 0 for success.
    pub(super) fn errno(&self) -> Option<i32> {
        Some(i32::from_ne_bytes(*self.body.first_chunk()?).saturating_neg())
    }

    /// A byte of the fixed part.
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.body.get(at).copied()
    }

    /// A word of the fixed part.
    pub(super) fn word(&self, at: usize) -> Option<u32> {
        u32_at(self.body, at)
    }

    /// The attributes behind a fixed part of this size.
    pub(super) fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(self.body.get(fixed..).unwrap_or_default())
    }
}

/// Attributes: kinds and values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        /// `NLA_TYPE_MASK`: the two highest bits are flags.
        const KIND: u16 = 0x3fff;
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & KIND;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The text of an attribute, without its NUL.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// The number of an attribute.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let request = Request::new(kind::NEW_LINK, Mode::Act, &[7; 16])
            .with_text(3, "eth0")
            .with(28, &9_u32.to_ne_bytes());
        let mut bytes = request.finish();
        assert_eq!(bytes.len(), 16 + 16 + 12 + 8);
        bytes.extend(Request::new(kind::DONE, Mode::List, &[]).finish());
        let (reply, rest) = Reply::first(&bytes).unwrap();
        assert_eq!(
            (reply.kind, reply.interrupted, reply.byte(0)),
            (kind::NEW_LINK, false, Some(7))
        );
        let attributes: Vec<_> = reply.attributes(16).collect();
        assert_eq!(attributes.len(), 2);
        assert_eq!((attributes[0].0, text(attributes[0].1).as_str()), (3, "eth0"));
        assert_eq!((attributes[1].0, number(attributes[1].1)), (28, Some(9)));
        let (last, rest) = Reply::first(rest).unwrap();
        assert_eq!((last.kind, rest.len()), (kind::DONE, 0));
    }

    #[test]
    fn torn_bytes_are_no_message() {
        let bytes = Request::new(kind::NEW_LINK, Mode::Act, &[0; 16]).with(1, &[1; 6]).finish();
        for end in 0..bytes.len() {
            assert!(Reply::first(&bytes[..end]).is_none(), "{end}");
        }
        assert!(Attributes(&[3, 0, 1, 0]).next().is_none(), "shorter than its head");
        assert!(Attributes(&[9, 0, 1, 0, 0]).next().is_none(), "longer than the message");
    }
}
