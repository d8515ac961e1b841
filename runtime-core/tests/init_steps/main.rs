//! The init program in real namespaces: each step's good case, its failure, and what an image can do
//! to lead it astray. Needs root; without it the tests print that they are skipped.

#![allow(unreachable_pub, reason = "one program of several modules")]
#![allow(unsafe_code, reason = "namespaces are entered between fork and exec")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::wrong_self_convention,
    clippy::too_many_lines,
    reason = "tests"
)]

#[allow(unused_imports, missing_docs, reason = "the library uses the rest")]
#[path = "../../src/program/mod.rs"]
mod program;

#[allow(missing_docs, reason = "documented by the kernel")]
#[path = "../../init/abi.rs"]
mod abi;

mod binary;
mod console;
mod detach;
mod device;
mod flow;
mod harness;
mod hide;
mod hook;
mod ids;
mod mount;
mod namespace;
mod path;
mod process;
mod seccomp;
mod start;
mod tally;
