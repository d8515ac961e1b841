//! The fields of a step: how they are written and read.

use core::ffi::CStr;

/// An index into the table of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u32);

impl Slot {
    /// No descriptor.
    pub const NONE: Self = Self(u32::MAX);
}

/// A list of strings, each ended by a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> List<'a> {
    /// A list over strings that each end in NUL; `None` if the last one does not.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.last().is_some_and(|&last| last != 0) {
            return None;
        }
        let count = u32::try_from(bytes.iter().filter(|&&byte| byte == 0).count()).ok()?;
        Some(Self { count, bytes })
    }

    /// How many strings there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let text = CStr::from_bytes_until_nul(rest).ok()?;
            rest = rest.get(text.to_bytes_with_nul().len()..)?;
            Some(text)
        })
    }
}

/// A list of numbers, in the byte order of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers<'a>(pub &'a [u8]);

impl<'a> Numbers<'a> {
    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.chunks_exact(4).filter_map(|chunk| Some(u32::from_ne_bytes(chunk.try_into().ok()?)))
    }

    /// How many numbers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads fields one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    // Once in the init program, where size counts, and not once for each field.
    #[cfg_attr(coracle_init, inline(never))]
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }
}

/// A field of a step: how it is written and read.
pub(super) trait Field<'a>: Sized {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut Reader<'a>) -> Option<Self>;
}

macro_rules! number_fields {
    ($($kind:ty),*) => {$(
        impl<'a> Field<'a> for $kind {
            #[cfg(not(coracle_init))]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_ne_bytes());
            }
            fn take(input: &mut Reader<'a>) -> Option<Self> {
                Some(Self::from_ne_bytes(input.bytes(size_of::<$kind>())?.try_into().ok()?))
            }
        }
    )*};
}
number_fields!(u16, u32, u64, i32, i64);

impl<'a> Field<'a> for bool {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>) {
        u32::from(*self).put(out);
    }
    fn take(input: &mut Reader<'a>) -> Option<Self> {
        Some(u32::take(input)? != 0)
    }
}

impl<'a> Field<'a> for Slot {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(input: &mut Reader<'a>) -> Option<Self> {
        Some(Self(u32::take(input)?))
    }
}

impl<'a> Field<'a> for &'a [u8] {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>) {
        u64::try_from(self.len()).unwrap_or(u64::MAX).put(out);
        out.extend_from_slice(self);
    }
    fn take(input: &mut Reader<'a>) -> Option<Self> {
        let length = usize::try_from(u64::take(input)?).ok()?;
        input.bytes(length)
    }
}

impl<'a> Field<'a> for &'a CStr {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>) {
        self.to_bytes_with_nul().put(out);
    }
    fn take(input: &mut Reader<'a>) -> Option<Self> {
        let bytes = <&[u8]>::take(input)?;
        CStr::from_bytes_until_nul(bytes).ok().filter(|text| text.count_bytes() + 1 == bytes.len())
    }
}

impl<'a> Field<'a> for List<'a> {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>) {
        self.bytes.put(out);
    }
    fn take(input: &mut Reader<'a>) -> Option<Self> {
        Self::new(<&[u8]>::take(input)?)
    }
}

impl<'a> Field<'a> for Numbers<'a> {
    #[cfg(not(coracle_init))]
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(input: &mut Reader<'a>) -> Option<Self> {
        Some(Self(<&[u8]>::take(input)?))
    }
}
