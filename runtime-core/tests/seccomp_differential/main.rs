//! Filters against those that libseccomp makes of the same profile: both are interpreted for every
//! system call number, architecture and many arguments, and must answer the same.
//!
//! Left out are the names that the installed libseccomp does not know, and what it gets wrong: see
//! [`reading`] and [`oracle::broken`].

#![cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

#[cfg(feature = "libseccomp")]
mod backend;
mod interpreter;
mod oracle;
mod profiles;
mod random;
mod reading;

use coracle::seccomp::{Machine, compile_for};
use coracle::spec::seccomp::{Operator, Seccomp};

use interpreter::{Call, run};

pub(crate) const X86_64: u32 = 0xc000_003e;
pub(crate) const X86: u32 = 0x4000_0003;
pub(crate) const AARCH64: u32 = 0xc000_00b7;
pub(crate) const ARM: u32 = 0x4000_0028;
const UNKNOWN: u32 = 0xc000_00f3;
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The first difference that is not libseccomp's fault.
    pub(crate) difference: Option<String>,
    /// How many calls were answered alike.
    pub(crate) same: usize,
    /// How many were not, where libseccomp is known to err and coracle does what a rule says.
    pub(crate) excused: usize,
    /// libseccomp's filter looks at the wrong word on these architectures.
    pub(crate) broken: Vec<u32>,
}

/// Compares the filters of a profile for a machine; `None` if libseccomp refuses it.
pub(crate) fn compare(profile: &Seccomp, machine: Machine) -> Option<Outcome> {
    let profile = oracle::known(profile);
    let theirs = oracle::program(&profile, machine)?;
    let stub = oracle::Stub::new(&profile, machine);
    let filter = compile_for(&profile, machine).expect("the profile compiles");
    let ours: Vec<_> = filter.instructions().collect();
    let mut outcome = Outcome { broken: oracle::broken(&theirs), ..Outcome::default() };
    for call in calls(&profile) {
        if outcome.broken.contains(&call.audit) {
            continue;
        }
        let newer = stub.answer(&call);
        let expected = newer.unwrap_or_else(|| run(&theirs, &call));
        let found = run(&ours, &call);
        let reading = if newer.is_none() { reading::read(&profile, &call) } else { None };
        if expected == found {
            outcome.same += 1;
        } else if reading.is_some_and(|it| it.doubtful && it.values.contains(&found)) {
            outcome.excused += 1;
        } else {
            outcome.difference = Some(format!(
                "{call:x?}: libseccomp {expected:#x}, coracle {found:#x}\nprofile {}",
                serde_json::to_string(&profile).unwrap()
            ));
            break;
        }
    }
    Some(outcome)
}

/// The calls to try: every number of every architecture, and for the calls that have rules on
/// arguments, arguments around the values of these rules.
fn calls(profile: &Seccomp) -> Vec<Call> {
    let arguments = arguments(profile);
    let mut calls = Vec::new();
    for audit in [X86_64, X86, AARCH64, ARM, UNKNOWN] {
        let conditional = oracle::conditional(profile, audit);
        for number in numbers() {
            let call = Call { audit, number, arguments: [0; 6] };
            calls.push(call);
            if conditional.contains(&number) {
                calls.extend(arguments.iter().map(|list| Call { arguments: *list, ..call }));
            }
        }
    }
    calls
}

fn numbers() -> impl Iterator<Item = u32> {
    let edges = [0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];
    let low = 0..=600;
    let private = 0xf_0000..0xf_0008;
    low.clone().chain(low.map(|number| number | X32_BIT)).chain(private).chain(edges)
}

/// Arguments around the values of the rules: each alone, then mixed.
fn arguments(profile: &Seccomp) -> Vec<[u64; 6]> {
    let mut values: [Vec<u64>; 6] = std::array::from_fn(|_| vec![0, u64::MAX]);
    for argument in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        let base = match argument.op {
            Operator::MaskedEqual => argument.value_two,
            _ => argument.value,
        };
        let near = [base.wrapping_sub(1), base, base.wrapping_add(1), base & 0xffff_ffff];
        let index = usize::try_from(argument.index).unwrap();
        for value in near {
            values[index].extend([value, value ^ (1 << 32), value | (1 << 63)]);
        }
        values[index].extend([argument.value, !argument.value, base | !argument.value]);
    }
    // Multiplexed calls of 32-bit x86: their codes.
    values[0].extend(1..25);
    for list in &mut values {
        list.sort_unstable();
        list.dedup();
    }
    let mut all = Vec::new();
    for (index, list) in values.iter().enumerate() {
        for value in list {
            let mut one = [0; 6];
            one[index] = *value;
            all.push(one);
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..400 {
        all.push(std::array::from_fn(|index| {
            // xorshift64: the same mix in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let list = &values[index];
            list[usize::try_from(state % list.len() as u64).unwrap()]
        }));
    }
    all
}
