//! Signals by name or number.

use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A signal number, 0 (only a check) to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

/// The first and last real-time signals of programs that use glibc, as Docker and Podman count them too.
/// musl, which this library may be built with, keeps one more for itself.
const REAL_TIME: (i32, i32) = (34, 64);

impl Signal {
    /// `SIGKILL`.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// `SIGTERM`.
    pub const TERM: Self = Self(libc::SIGTERM);

    /// The signal with this number; `None` for one that does not exist.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        (0..=64).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// A number, or a name with or without `SIG`, in any case: `9`, `KILL`, `sigkill`, `RTMIN+3`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] for anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::new(ErrorKind::InvalidSpec, format!("unknown signal {text:?}"))
                .with_hint("use a number or a name such as TERM")
        };
        if let Ok(number) = text.parse() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match name {
            "CLD" => Some(libc::SIGCHLD),
            "POLL" => Some(libc::SIGIO),
            "IOT" => Some(libc::SIGABRT),
            _ => named(name).or_else(|| real_time_named(name)),
        };
        number.map(Self).ok_or_else(unknown)
    }
}

fn named(name: &str) -> Option<i32> {
    let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().ok()?;
    Some(signal as i32)
}

fn real_time_named(name: &str) -> Option<i32> {
    let (first, last) = REAL_TIME;
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => first,
        (Some(offset), _) => first.checked_add(offset.strip_prefix('+')?.parse().ok()?)?,
        (_, Some("")) => last,
        (_, Some(offset)) => last.checked_sub(offset.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in
            [("9", 9), ("KILL", 9), ("sigkill", 9), ("SIGTERM", 15), ("0", 0), ("64", 64)]
        {
            assert_eq!(text.parse::<Signal>().expect(text).number(), number);
        }
        for (text, number) in [("RTMIN", 34), ("sigrtmin+3", 37), ("RTMAX-1", 63), ("SIGRTMAX", 64)]
        {
            assert_eq!(text.parse::<Signal>().expect(text).number(), number);
        }
        for text in ["", "65", "-1", "NOPE", "SIG", "RTMIN+99", "RTMAX-99", "9x"] {
            text.parse::<Signal>().expect_err(text);
        }
    }
}
