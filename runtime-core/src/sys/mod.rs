//! The system calls that nix lacks, one topic a file; the only unsafe code of the library.
//!
//! Every function here is one call (or one call and its bounded retry), takes borrowed
//! descriptors, and returns [`std::io::Error`]s that carry the `errno`.
#![allow(unsafe_code, reason = "raw system calls live here and nowhere else in the library")]

pub(crate) mod bpf;
pub(crate) mod clock;
pub(crate) mod file;
pub(crate) mod filter;
pub(crate) mod mount;
pub(crate) mod mountinfo;
pub(crate) mod namespace;
pub(crate) mod pidfd;
pub(crate) mod process;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stream;
pub(crate) mod terminal;

use std::io;

/// Turns the return value of a system call into a result.
fn check(value: libc::c_long) -> io::Result<libc::c_long> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}
