//! The part of the protocol buffers' wire format that criu's messages use: numbers, texts and messages
//! in messages (<https://protobuf.dev/programming-guides/encoding/>).

/// A message that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer(Vec<u8>);

/// The value of a field that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number, a truth value or one of an enumeration.
    Number(u64),
    /// A text or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no message of criu has.
    Fixed,
}

/// How a value is written.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

impl Writer {
    /// Adds a number.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    /// Adds a signed number (`int32`): a negative one is written with 64 bits.
    pub(super) fn signed(&mut self, field: u32, value: i32) {
        self.number(field, i64::from(value).cast_unsigned());
    }

    /// Adds a truth value; `false` is what an absent one means.
    pub(super) fn flag(&mut self, field: u32, value: bool) {
        if value {
            self.number(field, 1);
        }
    }

    /// Adds a text.
    pub(super) fn text(&mut self, field: u32, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.key(field, LENGTH);
        self.varint(u64::try_from(value.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(value);
    }

    /// Adds a text if there is one.
    pub(super) fn optional(&mut self, field: u32, value: Option<&(impl AsRef<[u8]> + ?Sized)>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    /// Adds a message.
    pub(super) fn message(&mut self, field: u32, value: &Self) {
        self.text(field, &value.0);
    }

    /// The bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// The fields of a message in their order; `None` for bytes that are no message.
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).ok()?;
        let value = match u32::try_from(key & 7).ok()? {
            VARINT => Value::Number(take_varint(&mut bytes)?),
            LENGTH => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            FIXED64 => take(&mut bytes, 8).map(|_| Value::Fixed)?,
            FIXED32 => take(&mut bytes, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        fields.push((field, value));
    }
    Some(fields)
}

impl<'a> Value<'a> {
    /// As a number; 0 for anything else.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) | Self::Fixed => 0,
        }
    }

    /// As a signed number (`int32`).
    pub(super) fn signed(self) -> i32 {
        i32::try_from(self.number().cast_signed()).unwrap_or_default()
    }

    /// As a text or message; empty for anything else.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) | Self::Fixed => &[],
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_format_says() {
        // The examples of the format's own description: 150 in field 1, "testing" in field 2, -2.
        let mut writer = Writer::default();
        writer.number(1, 150);
        writer.text(2, "testing");
        let mut expected = vec![0x08, 0x96, 0x01, 0x12, 0x07];
        expected.extend_from_slice(b"testing");
        assert_eq!(writer.into_bytes(), expected);
        let mut writer = Writer::default();
        writer.signed(1, -2);
        let minus_two = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(writer.into_bytes().split_first(), Some((&0x08, &minus_two[..])));
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut inner = Writer::default();
        inner.signed(3, -7);
        inner.flag(4, false);
        inner.flag(5, true);
        let mut writer = Writer::default();
        writer.number(64, u64::MAX);
        writer.message(2, &inner);
        writer.optional(9, None::<&str>);
        let bytes = writer.into_bytes();
        let fields = read(&bytes).expect("a message");
        assert_eq!(fields.first(), Some(&(64, Value::Number(u64::MAX))));
        let inner = read(fields[1].1.bytes()).expect("a message");
        assert_eq!(inner[0].1.signed(), -7);
        assert_eq!(inner[1], (5, Value::Number(1)));
        assert_eq!((fields.len(), inner.len()), (2, 2));
    }

    #[test]
    fn torn_bytes_are_no_message() {
        let mut writer = Writer::default();
        writer.text(1, "text");
        writer.number(300, 1 << 40);
        let bytes = writer.into_bytes();
        let whole = [6, bytes.len()];
        for length in 1..bytes.len() {
            assert_eq!(read(&bytes[..length]).is_some(), whole.contains(&length), "{length}");
        }
        assert_eq!(read(&[0x80; 11]), None, "a number of more than 64 bits");
        assert_eq!(read(&[0x0b]), None, "a group");
        assert_eq!(
            read(&[0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]).map(|all| all.len()),
            Some(2)
        );
    }
}
