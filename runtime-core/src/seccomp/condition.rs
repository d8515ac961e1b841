//! Conditions on the arguments of a system call.

use crate::error::{Error, ErrorKind, Result};
use crate::program::MAX_FILTER;
use crate::spec::seccomp::{Argument, Operator};

/// How many arguments a system call has at most.
const ARGUMENTS: u32 = 6;

/// A condition on one argument, all of whose 64 or only whose low 32 bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, below [`ARGUMENTS`].
    pub(super) argument: u32,
    /// How it is compared.
    pub(super) op: Operator,
    /// What it is compared with, under the mask.
    pub(super) value: u64,
    /// The bits that count.
    pub(super) mask: u64,
}

impl Condition {
    /// Reads a condition of a profile.
    pub(super) fn new(argument: &Argument) -> Result<Self> {
        if argument.index >= ARGUMENTS {
            let message = format!("argument {} of a system call does not exist", argument.index);
            return Err(Error::new(ErrorKind::InvalidSpec, message)
                .with_hint("system calls have arguments 0 to 5"));
        }
        let (mask, value) = match argument.op {
            Operator::MaskedEqual => (argument.value, argument.value_two & argument.value),
            _ => (u64::MAX, argument.value),
        };
        Ok(Self { argument: argument.index, op: argument.op, value, mask })
    }

    /// The condition that the argument is this value.
    pub(super) const fn equal(argument: u32, value: u64) -> Self {
        Self { argument, op: Operator::Equal, value, mask: u64::MAX }
    }

    /// The same where only the low 32 bits of arguments exist.
    pub(super) fn narrow(self) -> Self {
        let low = u64::from(u32::MAX);
        Self { value: self.value & low, mask: self.mask & low, ..self }
    }

    /// Whether it always holds.
    pub(super) const fn is_always(self) -> bool {
        matches!(self.op, Operator::MaskedEqual) && self.mask == 0
    }
}

/// The high and low word of a number.
pub(super) fn words(value: u64) -> (u32, u32) {
    let high = u32::try_from(value >> 32).unwrap_or_default();
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    (high, low)
}

/// Conditions that must all hold, sorted by their argument, and what then happens.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    /// The conditions.
    pub(super) conditions: Vec<Condition>,
    /// The value the filter returns.
    pub(super) verdict: u32,
    comparisons: Vec<Comparison>,
}

/// The clauses of a system call, of which the first that holds decides.
#[derive(Debug)]
pub(super) struct Clauses {
    /// The clauses, in the order in which they are asked.
    pub(super) list: Vec<Clause>,
    /// Whether all 64 bits of the arguments count.
    pub(super) wide: bool,
}

impl Clauses {
    /// No clauses yet.
    pub(super) const fn new(wide: bool) -> Self {
        let list = Vec::new();
        Self { list, wide }
    }

    /// Adds a clause, unless there is one with the same conditions.
    ///
    /// Profiles are written for libseccomp, which does not ask clauses in the order of the
    /// profile. It makes them a tree of comparisons of words, and asks first for the later
    /// arguments, then for (un)equality before "less" before "greater", then for the narrower of
    /// two ranges.
    pub(super) fn add(&mut self, conditions: Vec<Condition>, verdict: u32) {
        // Every clause takes an instruction: no filter with more can be loaded.
        let full = self.list.len() > MAX_FILTER;
        if full || self.list.iter().any(|other| other.conditions == conditions) {
            return;
        }
        let comparisons = comparisons(&conditions, self.wide);
        let later = self.list.iter().position(|other| precedes(&comparisons, &other.comparisons));
        let clause = Clause { conditions, verdict, comparisons };
        self.list.insert(later.unwrap_or(self.list.len()), clause);
    }
}

/// A comparison of a word of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Comparison {
    /// Grows with the argument; the high word comes after the low one.
    place: u32,
    /// The operator, of the four that a filter knows.
    op: Operator,
    word: u32,
    mask: u32,
    /// Where it stands among comparisons of the same word; greater comes first.
    rank: (u32, u32),
}

/// Whether a new list of comparisons is made before one that is there already.
fn precedes(new: &[Comparison], old: &[Comparison]) -> bool {
    for (new, old) in new.iter().zip(old) {
        let same =
            (new.place, new.op, new.word, new.mask) == (old.place, old.op, old.word, old.mask);
        if !same {
            return (new.place, new.rank) > (old.place, old.rank);
        }
    }
    new.len() < old.len()
}

fn comparisons(conditions: &[Condition], wide: bool) -> Vec<Comparison> {
    let mut list = Vec::with_capacity(conditions.len() * 3);
    for condition in conditions {
        let (high, low) = words(condition.value);
        let (high_mask, low_mask) = words(condition.mask);
        let rank = |word: u32| match condition.op {
            Operator::Less | Operator::LessOrEqual => (2, u32::MAX - word),
            Operator::Greater | Operator::GreaterOrEqual => (1, word),
            Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => (3, word),
        };
        let op = match condition.op {
            Operator::Greater | Operator::LessOrEqual => Operator::Greater,
            Operator::GreaterOrEqual | Operator::Less => Operator::GreaterOrEqual,
            Operator::Equal | Operator::NotEqual => Operator::Equal,
            Operator::MaskedEqual => Operator::MaskedEqual,
        };
        let place = condition.argument * 2;
        let upper =
            Comparison { place: place + 1, op, word: high, mask: high_mask, rank: rank(high) };
        if wide {
            match op {
                Operator::Equal | Operator::MaskedEqual => list.push(upper),
                _ => {
                    list.push(Comparison { op: Operator::Greater, ..upper });
                    list.push(Comparison { op: Operator::Equal, ..upper });
                }
            }
        }
        list.push(Comparison { place, op, word: low, mask: low_mask, rank: rank(low) });
    }
    list
}
