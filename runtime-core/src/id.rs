//! The name of a container, checked once.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// The name of a container: 1 to 255 of `A-Z a-z 0-9 _ + . -`, but not `.` or `..`.
///
/// This is the alphabet that runc and crun accept; the name becomes one directory below the state
/// root and, by default, one cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the container's session keyring, as runc has it.
    pub(crate) fn keyring(&self) -> String {
        format!("_ses.{}", self.0)
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidId`] when the name is empty, too long, `.`, `..`, or has another
    /// character.
    fn from_str(name: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        let fault = if name.is_empty() {
            "container id is empty"
        } else if name.len() > 255 {
            "container id is longer than 255 bytes"
        } else if name == "." || name == ".." || !name.bytes().all(allowed) {
            "invalid container id format"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Error::new(ErrorKind::InvalidId, format!("{fault}: {name:?}"))
            .with_hint("use letters, digits and any of _ + . -"))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_runc_accepts() {
        for name in ["a", "A_b+c.d-e", "-x", "...", "0", &"x".repeat(255)] {
            assert_eq!(name.parse::<ContainerId>().expect(name).as_str(), name);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\0b", &"x".repeat(256)] {
            let error = name.parse::<ContainerId>().expect_err(name);
            assert_eq!(error.kind(), ErrorKind::InvalidId);
        }
    }
}
