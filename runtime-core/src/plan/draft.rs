//! A plan while it is being written.
//!
//! Descriptors that the caller opens come first in the table of slots, so every source must be known
//! before the first step is encoded: a plan is gathered first ([`Draft::receive`], [`Draft::make`])
//! and written afterwards ([`Draft::push`]).

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Origin, ShownDevice, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::program::{Encoder, MAX_SLOTS, Slot, Step};

/// A descriptor of the program, before its slot is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// Opened by the caller.
    Received(u32),
    /// Made by a step.
    Made(u32),
}

/// The parts of a plan that grow.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) host: &'a Host,
    encoder: Encoder,
    pub(super) origins: Vec<Origin>,
    pub(super) sources: Vec<(Source, Origin)>,
    received: u32,
    made: u32,
    pub(super) warnings: Vec<String>,
    pub(super) shown_devices: Vec<(ShownDevice, Origin)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(host: &'a Host) -> Self {
        Self {
            host,
            encoder: Encoder::default(),
            origins: Vec::new(),
            sources: Vec::new(),
            received: 0,
            made: 0,
            warnings: Vec::new(),
            shown_devices: Vec::new(),
        }
    }

    /// Has the caller open something.
    pub(super) fn receive(&mut self, source: Source, origin: Origin) -> Handle {
        debug_assert!(self.origins.is_empty(), "sources come before steps");
        self.sources.push((source, origin));
        self.received += 1;
        Handle::Received(self.received - 1)
    }

    /// Reserves a slot that a step will fill.
    pub(super) fn make(&mut self) -> Handle {
        self.made += 1;
        Handle::Made(self.made - 1)
    }

    /// The slot of a descriptor; right once everything has been gathered.
    pub(super) fn slot(&self, handle: Handle) -> Slot {
        match handle {
            Handle::Received(index) => Slot(index),
            Handle::Made(index) => Slot(self.received + index),
        }
    }

    /// Appends a step.
    pub(super) fn push(&mut self, step: &Step<'_>, origin: Origin) {
        self.encoder.push(step);
        self.origins.push(origin);
    }

    /// The finished program.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>> {
        let slots = self.received + self.made;
        if usize::try_from(slots).is_ok_and(|slots| slots > MAX_SLOTS) {
            let message = format!("need more than {MAX_SLOTS} descriptors");
            return Err(Error::new(ErrorKind::Unsupported, message).with_field("mounts"));
        }
        Ok(std::mem::take(&mut self.encoder).finish(self.received, slots))
    }
}

/// A string for the kernel; the origin names the field of one that cannot be one.
pub(super) fn text(value: impl AsRef<OsStr>, origin: &Origin) -> Result<CString> {
    CString::new(value.as_ref().as_bytes())
        .map_err(|_| origin.blame(Error::new(ErrorKind::InvalidSpec, "contains a NUL character")))
}

/// A path inside the container, without doubled slashes and `.`: the init program compares prefixes.
pub(super) fn inner_path(path: &Path, origin: &Origin) -> Result<CString> {
    text(path.components().collect::<PathBuf>(), origin)
}

/// The bytes of a [`List`](crate::program::List): each string with its NUL.
pub(super) fn list<S: AsRef<str>>(values: &[S], origin: &Origin) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.iter().map(|value| value.as_ref().len() + 1).sum());
    for value in values {
        bytes.extend_from_slice(text(value.as_ref(), origin)?.as_bytes_with_nul());
    }
    Ok(bytes)
}

/// The bytes of [`Numbers`](crate::program::Numbers).
pub(super) fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}
