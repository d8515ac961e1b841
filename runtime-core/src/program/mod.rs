//! The program that the library writes and the init program executes.
//!
//! A program is a header and a list of [`Step`]s in one flat run of bytes, in the byte order of the
//! machine. It never leaves the machine or the version: both sides compile this file. The library
//! encodes ([`Encoder`]), the init program decodes ([`Program`]) without allocating.
//!
//! # What travels where
//!
//! The library starts the init program with `argv = ["coracle-init", CONTROL, KEEP]`: the number of
//! the control socket (`SOCK_SEQPACKET`) and how many descriptors from 3 on belong to the payload.
//! The first messages on that socket carry, as `SCM_RIGHTS`, the sealed memory file that holds the
//! program and then the descriptors of the slots, in order, at most [`FDS_PER_MESSAGE`] a message.
//! From then on the init program sends [`Report`]s and, at a [`Step::Gate`], waits for one message.
//!
//! A **slot** is an index into the table of descriptors. Slots below the header's `received` count
//! arrive with the first messages; the others are filled by steps ([`Step::OpenTree`],
//! [`Step::NewFilesystem`]).

#![allow(
    dead_code,
    unreachable_pub,
    reason = "this module is also compiled into the init program; each side uses a half of it"
)]

mod field;
mod report;
mod step;

use field::{Field, Reader};
pub use field::{List, Numbers, Slot};
pub use report::{Gate, Op, Report, Verified};
pub use step::Step;

/// The first eight bytes of a program.
pub const MAGIC: u64 = 0x0031_656c_6361_726f;
/// How many descriptors one `SCM_RIGHTS` message carries (`SCM_MAX_FD` of the kernel is 253).
pub const FDS_PER_MESSAGE: usize = 250;
/// The largest slot number plus one.
pub const MAX_SLOTS: usize = 4096;
/// The most text a [`Report`] carries, in bytes.
pub const REPORT_TEXT: usize = 256;
/// As the peer of [`Step::AwaitStart`]: the user who made the control socket, whatever the user
/// namespace of the init program calls that user (no user has this id).
pub const CREATOR: u32 = u32::MAX;
/// As the only group of [`Step::User`]: the groups stay as they are (no group has this id).
pub const KEPT: u32 = u32::MAX;
/// The most instructions a seccomp filter may have (`BPF_MAXINSNS`).
pub const MAX_FILTER: usize = 4096;

/// A decoded program: its steps can be walked without allocating.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// How many slots arrive over the control socket.
    pub received: u32,
    /// How many slots there are in all.
    pub slots: u32,
    /// How many steps there are.
    pub count: u32,
    steps: Reader<'a>,
}

impl<'a> Program<'a> {
    /// Reads the header; `None` for bytes that are no program.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if u64::take(&mut input)? != MAGIC {
            return None;
        }
        let (received, slots) = (u32::take(&mut input)?, u32::take(&mut input)?);
        let count = u32::take(&mut input)?;
        if received > slots || slots as usize > MAX_SLOTS {
            return None;
        }
        Some(Self { received, slots, count, steps: input })
    }

    /// The steps in order; a malformed one is `None`, once, and ends the walk.
    pub fn steps(&self) -> impl Iterator<Item = Option<Step<'a>>> + use<'a> {
        let mut left = self.count;
        let mut input = self.steps;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let step = Step::take(&mut input);
            if step.is_none() {
                left = 0;
            }
            Some(step)
        })
    }
}

/// Writes a program.
#[cfg(not(coracle_init))]
#[derive(Debug, Default)]
pub struct Encoder {
    body: Vec<u8>,
    count: u32,
}

#[cfg(not(coracle_init))]
impl Encoder {
    /// Appends a step and returns its index.
    pub fn push(&mut self, step: &Step<'_>) -> u32 {
        step.put(&mut self.body);
        self.count += 1;
        self.count - 1
    }

    /// The program, given how many slots are sent and how many there are in all.
    #[must_use]
    pub fn finish(self, received: u32, slots: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 20);
        MAGIC.put(&mut out);
        received.put(&mut out);
        slots.put(&mut out);
        self.count.put(&mut out);
        out.extend_from_slice(&self.body);
        out
    }
}

#[cfg(all(test, not(coracle_init)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let steps = [
            Step::Gate { gate: Gate::Mapped as u32 },
            Step::NewFilesystem {
                slot: Slot(3),
                kind: c"tmpfs",
                source: c"",
                options: List::new(b"mode=755\0size=1m\0").expect("list"),
                attributes: 6,
                otherwise: c"",
            },
            Step::User { uid: 1, gid: 2, groups: Numbers(&[0; 8]) },
            Step::Respawn {},
        ];
        let mut encoder = Encoder::default();
        for (index, step) in steps.iter().enumerate() {
            assert_eq!(encoder.push(step) as usize, index);
        }
        let bytes = encoder.finish(2, 5);
        let program = Program::decode(&bytes).expect("program");
        assert_eq!((program.received, program.slots, program.count), (2, 5, 4));
        assert!(program.steps().map(|step| step.expect("step")).eq(steps));
    }

    #[test]
    fn a_cut_program_ends_the_walk_without_a_panic() {
        let mut encoder = Encoder::default();
        encoder.push(&Step::Hostname { name: c"box" });
        encoder.push(&Step::Umask { mask: 0o22 });
        let bytes = encoder.finish(0, 0);
        for length in 0..bytes.len() {
            if let Some(program) = Program::decode(&bytes[..length]) {
                assert_eq!(program.steps().last(), Some(None), "{length}");
            }
        }
    }

    #[test]
    fn a_report_survives_the_socket() {
        let report = Report { tag: 2, step: 7, op: Op::Fsmount as u32, errno: 1, detail: 1 << 40 };
        let mut bytes = report.to_bytes().to_vec();
        bytes.extend_from_slice(b"why");
        assert_eq!(Report::from_bytes(&bytes), Some((report, &b"why"[..])));
        assert_eq!(Report::from_bytes(&bytes[..Report::LENGTH - 1]), None);
    }
}
