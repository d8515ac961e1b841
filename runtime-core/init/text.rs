//! A text that is put together, with room for one path.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use crate::abi::{ENAMETOOLONG, PATH_MAX};
use crate::sys::{self, Errno};

/// A NUL-terminated text. Its memory is touched only as far as the text goes.
pub struct Text {
    bytes: [MaybeUninit<u8>; PATH_MAX],
    length: usize,
}

impl Text {
    pub const fn new() -> Self {
        Self { bytes: sys::buffer(), length: 0 }
    }

    /// Appends bytes, which hold no NUL.
    pub fn push(&mut self, part: &[u8]) -> sys::Result<()> {
        let end = self.length.saturating_add(part.len());
        // One byte is kept for the NUL.
        if end >= PATH_MAX {
            return Err(Errno(ENAMETOOLONG));
        }
        let Some(room) = self.bytes.get_mut(self.length..end) else {
            return Err(Errno(ENAMETOOLONG));
        };
        for (to, from) in room.iter_mut().zip(part) {
            to.write(*from);
        }
        self.length = end;
        Ok(())
    }

    /// Appends a number in decimal.
    pub fn push_number(&mut self, number: u32) -> sys::Result<()> {
        let mut digits = [0u8; 10];
        let mut rest = number;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        let start = digits.len().saturating_sub(used);
        self.push(digits.get(start..).unwrap_or(&[]))
    }

    pub const fn as_bytes(&self) -> &[u8] {
        // SAFETY: `push` has written the first `length` bytes.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.length) }
    }

    /// The text with its NUL.
    pub fn as_c_str(&mut self) -> &CStr {
        if let Some(end) = self.bytes.get_mut(self.length) {
            end.write(0);
        }
        // SAFETY: `push` leaves room for the NUL just written; no part holds another one.
        unsafe { CStr::from_ptr(self.bytes.as_ptr().cast()) }
    }

    pub const fn clear(&mut self) {
        self.length = 0;
    }
}
