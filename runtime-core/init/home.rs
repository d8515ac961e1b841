//! The home directory of a user, from the image's own /etc/passwd.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use crate::abi::{O_NOCTTY, O_NONBLOCK, S_IFMT, S_IFREG};
use crate::init::Init;
use crate::program::Op;
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Fd};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The longest line that counts, in bytes.
const MAX_LINE: usize = 4096;
/// What stands before the directory.
const NAME: &[u8] = b"HOME=";

impl Init {
    /// Remembers the home directory of the user. The file is the image's: nothing in it is an error.
    #[inline(never)]
    pub fn home(&mut self, uid: u32) -> Result {
        self.home = Some(c"HOME=/");
        let Ok(file) = self.look_up(c"/etc/passwd", O_NONBLOCK | O_NOCTTY, 0) else {
            return Ok(());
        };
        let readable = sys::stat(file)
            .is_ok_and(|stat| u32::from(stat.mode) & S_IFMT == S_IFREG && stat.size <= MAX_FILE);
        if readable {
            self.read_users(file, uid)?;
        }
        sys::close(file);
        Ok(())
    }

    fn read_users(&mut self, file: Fd, uid: u32) -> Result {
        let mut buffer = sys::buffer::<MAX_LINE>();
        let mut line = Line::default();
        // The file may grow while it is read.
        let mut left = MAX_FILE / MAX_LINE as u64 + 1;
        while left > 0 {
            left -= 1;
            let bytes = sys::read(file, &mut buffer).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            for &byte in bytes {
                if line.take(byte, uid) {
                    return self.keep_home(&line);
                }
            }
        }
        Ok(())
    }

    fn keep_home(&mut self, line: &Line) -> Result {
        let home = line.home();
        if home.is_empty() {
            return Ok(());
        }
        let kept = sys::map_bytes(NAME.len() + home.len() + 1).during(Op::Map)?;
        for (to, from) in kept.iter_mut().zip(NAME.iter().chain(home)) {
            *to = *from;
        }
        self.home = CStr::from_bytes_until_nul(kept).ok();
        Ok(())
    }
}

/// The line that is being read: `name:password:uid:gid:comment:home:shell`.
struct Line {
    /// How many bytes of it have been read.
    length: usize,
    /// The number of the field.
    field: usize,
    /// The user, as far as it has been read; none once it is no number.
    uid: Option<u32>,
    digits: usize,
    home: [MaybeUninit<u8>; MAX_LINE],
    home_length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { length: 0, field: 0, uid: Some(0), digits: 0, home: sys::buffer(), home_length: 0 }
    }
}

impl Line {
    fn home(&self) -> &[u8] {
        sys::filled(&self.home, self.home_length)
    }

    /// Takes one byte; whether it ends the home directory of the user.
    fn take(&mut self, byte: u8, wanted: u32) -> bool {
        self.length += 1;
        if byte == b'\n' {
            self.length = 0;
            self.field = 0;
            self.uid = Some(0);
            self.digits = 0;
            self.home_length = 0;
            return false;
        }
        if self.length > MAX_LINE {
            return false;
        }
        if byte == b':' {
            self.field += 1;
            let user = self.uid.filter(|_| self.digits > 0);
            return self.field == 6 && user == Some(wanted);
        }
        if self.field == 2 {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10);
            self.uid = self
                .uid
                .zip(digit)
                .and_then(|(uid, digit)| uid.checked_mul(10)?.checked_add(u32::from(digit)));
            self.digits += 1;
        } else if self.field == 5
            && let Some(place) = self.home.get_mut(self.home_length)
        {
            place.write(byte);
            self.home_length += 1;
        }
        false
    }
}
