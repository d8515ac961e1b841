//! Other shares for a class of service that is in use.

use super::{Group, lock, schemata};
use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::IntelRdt;
use crate::sys::file::read_text;

/// The shares that a class had before a change of some.
#[derive(Debug)]
pub(crate) struct Before(String);

impl Group {
    /// Gives the class these shares; the others stay. When it fails, nothing has changed.
    ///
    /// # Errors
    /// A class that was not made for this container, a domain that it does not have, what the kernel
    /// answers.
    pub(crate) fn exchange(&self, shares: &IntelRdt) -> Result<Before> {
        let file = self.class.join("schemata");
        if !self.made {
            // config-linux.md "IntelRdt": the runtime does not change a class that was there.
            let message = "the class of service was not made for this container:";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_path(&self.class)
                .with_field("linux.intelRdt.closID")
                .with_hint("write to its schemata file, which changes the shares of all in it"));
        }
        let _held = lock(&self.root)?;
        let lines = schemata::writes(shares);
        let old = read_text(&file).attempt_on("read", &file)?;
        let before = schemata::previous(&lines, &old).map_err(|missing| {
            Error::new(ErrorKind::Unsupported, format!("the class of service has no {missing}:"))
                .with_path(&file)
                .with_field("linux.intelRdt")
        })?;
        let before = Before(before);
        for text in &lines {
            if let Err(error) = self.write(&file, text, "write") {
                self.put_back(&before);
                return Err(error.with_field("linux.intelRdt"));
            }
        }
        Ok(before)
    }

    /// Gives the class its old shares again, as well as can be: there is another error to tell.
    pub(crate) fn restore(&self, before: &Before) {
        if let Ok(_held) = lock(&self.root) {
            self.put_back(before);
        }
    }

    fn put_back(&self, before: &Before) {
        let _undone = self.write(&self.class.join("schemata"), &before.0, "write");
    }
}
