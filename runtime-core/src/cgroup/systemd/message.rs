//! D-Bus messages (D-Bus specification, "Message Protocol"): the types that systemd's calls need.
//!
//! What arrives comes from the manager of services or from a bus, and is checked like any other
//! input: every length against what is there, every message against [`MAX`].

use crate::error::{Error, ErrorKind, Result};

/// The longest message that is accepted, in bytes; the specification allows 128 MiB.
pub(super) const MAX: usize = 1 << 20;

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
const LITTLE_ENDIAN: u8 = b'l';
const VERSION: u8 = 1;
/// The part of the header with a fixed size.
pub(super) const FIXED: usize = 16;

/// The numbers of the header's fields.
mod header {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Bytes(Vec<u8>),
    Numbers(Vec<u32>),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

impl Value {
    const fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Bool(_) => "b",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::Bytes(_) => "ay",
            Self::Numbers(_) => "au",
            Self::Texts(_) => "as",
            Self::Pairs(_) => "a(ss)",
        }
    }
}

/// A named property of a unit.
pub(super) type Property = (String, Value);

/// Builds the body of a message, or a header.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn length(&mut self, value: usize) {
        // A message that is too long is refused as a whole before it is sent.
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// A string or an object path.
    pub(super) fn text(&mut self, value: &str) {
        self.length(value.len());
        self.bytes.extend(value.as_bytes());
        self.byte(0);
    }

    fn signature(&mut self, value: &str) {
        self.byte(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.bytes.extend(value.as_bytes());
        self.byte(0);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// An array: its length in bytes, padding, then what `fill` writes.
    fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let place = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(slot) = self.bytes.get_mut(place..place + 4) {
            slot.copy_from_slice(&length);
        }
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(value) => self.bool(*value),
            Value::I32(value) => self.u32(value.cast_unsigned()),
            Value::U32(value) => self.u32(*value),
            Value::I64(value) => self.u64(value.cast_unsigned()),
            Value::U64(value) => self.u64(*value),
            Value::Bytes(bytes) => self.array(1, |out| out.bytes.extend(bytes)),
            Value::Numbers(all) => self.numbers(all),
            Value::Texts(all) => self.array(4, |out| all.iter().for_each(|one| out.text(one))),
            Value::Pairs(pairs) => self.array(8, |out| {
                for (first, second) in pairs {
                    out.align(8);
                    out.text(first);
                    out.text(second);
                }
            }),
        }
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[Property]) {
        self.array(8, |out| {
            for (name, value) in properties {
                out.align(8);
                out.text(name);
                out.variant(value);
            }
        });
    }

    /// `au`.
    pub(super) fn numbers(&mut self, numbers: &[u32]) {
        self.array(4, |out| numbers.iter().for_each(|one| out.u32(*one)));
    }

    /// An empty array of structures.
    pub(super) fn nothing(&mut self) {
        self.array(8, |_out| {});
    }

    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.byte(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.text(value) }
    }
}

/// A call to be sent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
    pub(super) body: Writer,
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend([LITTLE_ENDIAN, CALL, 0, VERSION]);
        out.length(self.body.bytes.len());
        out.u32(serial);
        out.array(8, |out| {
            out.field(header::PATH, "o", self.path);
            out.field(header::INTERFACE, "s", self.interface);
            out.field(header::MEMBER, "s", self.member);
            out.field(header::DESTINATION, "s", self.destination);
            if !self.signature.is_empty() {
                out.field(header::SIGNATURE, "g", self.signature);
            }
        });
        out.align(8);
        out.bytes.extend(&self.body.bytes);
        out.bytes
    }
}

/// A message that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The answer to the call of that serial number; the body.
    Answer { to: u32, body: Vec<u8> },
    /// The error that answers it: its name, and its text.
    Error { to: u32, name: String, text: String },
    /// A signal: its member and its body.
    Signal { member: String, body: Vec<u8> },
    /// Anything else.
    Other,
}

/// How long a message is whose first [`FIXED`] bytes are these.
///
/// # Errors
/// When it is no message, or one of a kind that systemd does not send.
pub(super) fn length(fixed: &[u8; FIXED]) -> Result<usize> {
    let [order, _kind, _flags, version, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = *fixed;
    if order != LITTLE_ENDIAN || version != VERSION {
        return Err(malformed());
    }
    let body = usize::try_from(u32::from_le_bytes([b0, b1, b2, b3])).unwrap_or(MAX);
    let fields = usize::try_from(u32::from_le_bytes([f0, f1, f2, f3])).unwrap_or(MAX);
    if body > MAX || fields > MAX {
        return Err(malformed());
    }
    Ok((FIXED + fields).next_multiple_of(8) + body)
}

fn malformed() -> Error {
    Error::new(ErrorKind::System, "systemd's answer is no D-Bus message")
}

/// Reads a whole message.
///
/// # Errors
/// When it is malformed.
pub(super) fn decode(bytes: &[u8]) -> Result<Message> {
    read(bytes).ok_or_else(malformed)
}

fn read(bytes: &[u8]) -> Option<Message> {
    let mut input = Reader::new(bytes);
    let (_order, kind, _flags, _version) =
        (input.byte()?, input.byte()?, input.byte()?, input.byte()?);
    let (_length, _serial) = (input.u32()?, input.u32()?);
    let end = usize::try_from(input.u32()?).ok()?.checked_add(FIXED)?;
    let (mut member, mut name, mut to) = (String::new(), String::new(), 0);
    while input.at < end {
        input.align(8)?;
        let code = input.byte()?;
        let signature = input.signature()?.to_owned();
        match (code, &*signature) {
            (header::MEMBER, "s") => input.text()?.clone_into(&mut member),
            (header::ERROR_NAME, "s") => input.text()?.clone_into(&mut name),
            (header::REPLY_SERIAL, "u") => to = input.u32()?,
            (_, "s" | "o") => drop(input.text()?),
            (_, "g") => drop(input.signature()?),
            (_, "u") => drop(input.u32()?),
            _ => return None,
        }
    }
    input.align(8)?;
    let body = input.rest().to_vec();
    Some(match kind {
        ANSWER => Message::Answer { to, body },
        ERROR => {
            let text = Reader::new(&body).text().unwrap_or_default().to_owned();
            Message::Error { to, name, text }
        }
        SIGNAL => Message::Signal { member, body },
        _ => Message::Other,
    })
}

/// Takes values off the front of a message or of its body.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let aligned = self.at.next_multiple_of(to);
        self.take(aligned - self.at).map(drop)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A string or an object path.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    /// A variant that holds a string.
    pub(super) fn text_variant(&mut self) -> Option<&'a str> {
        (self.signature()? == "s").then(|| self.text())?
    }

    fn ended(&mut self, length: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: Writer) -> Vec<u8> {
        Call {
            destination: "a.b",
            path: "/x",
            interface: "a.b.C",
            member: "Do",
            signature: "a(sv)",
            body,
        }
        .encode(7)
    }

    #[test]
    fn a_call_has_the_length_that_its_header_says_at_any_alignment() {
        for name in ["", "n", "nine char", "sixteen letters!"] {
            let mut body = Writer::default();
            body.properties(&[
                (name.to_owned(), Value::U64(5)),
                ("Pairs".to_owned(), Value::Pairs(vec![("a".into(), "b".into())])),
                ("Bytes".to_owned(), Value::Bytes(vec![1, 2, 3])),
            ]);
            let bytes = call(body);
            let fixed: [u8; FIXED] = bytes[..FIXED].try_into().unwrap();
            assert_eq!(length(&fixed).unwrap(), bytes.len(), "{name}");
            assert_eq!(decode(&bytes).unwrap(), Message::Other);
        }
    }

    #[test]
    fn bytes_as_the_specification_shows_them() {
        let mut body = Writer::default();
        body.properties(&[("A".to_owned(), Value::U32(258))]);
        // length, padding to 8, string, signature, padding to 4, number
        let wanted: &[u8] =
            &[16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'A', 0, 1, b'u', 0, 0, 0, 0, 2, 1, 0, 0];
        assert_eq!(body.bytes, wanted);
    }

    #[test]
    fn what_is_cut_anywhere_is_malformed_or_shorter_but_never_a_panic() {
        let mut body = Writer::default();
        body.text("org.freedesktop.systemd1");
        let mut bytes = call(body);
        bytes[1] = ERROR;
        for end in 0..bytes.len() {
            let _ = decode(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = decode(&changed);
                let _ = length(changed[..FIXED].try_into().unwrap());
            }
        }
    }
}
