//! What happens to each system call number.

use crate::error::Result;
use crate::spec::seccomp::Seccomp;

use super::abi::{Abi, Machine};
use super::condition::{Clauses, Condition};
use super::rules::{Rule, Rules};
use super::table::NO;

/// `SECCOMP_RET_ERRNO` with `ENOSYS`: what happens to calls that are newer than the profile, so
/// that programs fall back to older ones.
pub(super) const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;

/// What happens to calls of a convention that is not in the profile.
const FOREIGN: Verdict = Verdict::Return(super::KILL_THREAD);

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The filter returns this value (`SECCOMP_RET_*`, linux/seccomp.h).
    Return(u32),
    /// It depends on the arguments: the index into [`Branch::conditionals`].
    Conditional(usize),
}

/// What happens to the numbers from one up to that of the next segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// The first number.
    pub(super) first: u32,
    /// What happens to it.
    pub(super) verdict: Verdict,
}

/// What happens to the calls of one architecture of the kernel.
#[derive(Debug)]
pub(super) struct Branch {
    /// The architecture, `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// Sorted and without gaps, from zero.
    pub(super) segments: Vec<Segment>,
    /// The calls whose fate depends on their arguments.
    pub(super) conditionals: Vec<Clauses>,
}

/// What happens to all system calls.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// The value the filter returns for calls without a rule.
    pub(super) default: u32,
    /// One for each architecture of the kernel, the native one first.
    pub(super) branches: Vec<Branch>,
}

/// Decides what happens to each system call.
pub(super) fn decide(profile: &Seccomp, machine: Machine) -> Result<Verdicts> {
    let rules = Rules::new(profile, machine)?;
    let mut branches: Vec<Branch> = Vec::with_capacity(machine.abis().len());
    let mut native_newest = None;
    for (column, abi) in machine.abis().iter().enumerate() {
        let listed = column == 0 || profile.architectures.contains(&abi.architecture());
        let newest = rules.newest(*abi, column);
        if column == 0 {
            native_newest = newest;
        }
        if matches!(abi, Abi::X32) {
            if let Some(native) = branches.first_mut() {
                native.add_x32(&rules, column, listed, native_newest.is_some());
            }
        } else if listed {
            let mut branch = Branch::new(abi.audit());
            branch.add(&rules, *abi, column);
            branch.end(newest);
            branches.push(branch);
        }
    }
    Ok(Verdicts { default: rules.default, branches })
}

impl Branch {
    fn new(audit: u32) -> Self {
        Self { audit, segments: Vec::with_capacity(256), conditionals: Vec::new() }
    }

    /// Adds the numbers of a calling convention.
    fn add(&mut self, rules: &Rules, abi: Abi, column: usize) {
        let default = Verdict::Return(rules.default);
        let bit = abi.mark();
        self.push(bit, default);
        let matches = matches(rules, abi, column);
        for group in matches.chunk_by(|one, other| one.number == other.number) {
            let Some(first) = group.first() else { continue };
            let verdict = self.verdict(rules, group, abi.is_wide());
            self.push(first.number | bit, verdict);
            self.push((first.number | bit) + 1, default);
        }
    }

    /// What happens to one number. A rule without conditions beats all that have some, even
    /// earlier ones; of several the first holds.
    fn verdict(&mut self, rules: &Rules, group: &[Match<'_>], wide: bool) -> Verdict {
        let mut clauses = Clauses::new(wide);
        for one in group {
            for alternative in rules.alternatives(one.rule) {
                let conditions = one.conditions(alternative, wide);
                if conditions.is_empty() {
                    return Verdict::Return(one.rule.verdict);
                }
                clauses.add(conditions, one.rule.verdict);
            }
        }
        self.conditionals.push(clauses);
        Verdict::Conditional(self.conditionals.len() - 1)
    }

    /// Adds the numbers of x32 to those of x86-64, from which the kernel tells them only by a
    /// bit; `native_ends` says whether there are x86-64 numbers that do not exist. What lies where follows
    /// libseccomp and runc: the numbers that have the bit are x32's; without x32 they are
    /// foreign, except -1, by which a tracer skips a call.
    fn add_x32(&mut self, rules: &Rules, column: usize, listed: bool, native_ends: bool) {
        const UPPER: u32 = 0x8000_0000;
        let mark = Abi::X32.mark();
        let default = Verdict::Return(rules.default);
        let (upper, last, skipped) = if listed {
            self.add(rules, Abi::X32, column);
            let newest = rules.newest(Abi::X32, column);
            self.end(newest);
            let last = if newest.is_some() { Verdict::Return(NO_SUCH_CALL) } else { default };
            (default, last, last)
        } else {
            self.push(mark, FOREIGN);
            (FOREIGN, FOREIGN, default)
        };
        self.push(UPPER, if native_ends { Verdict::Return(NO_SUCH_CALL) } else { upper });
        self.push(UPPER | mark, last);
        self.push(u32::MAX, skipped);
    }

    /// Says that the numbers beyond the newest do not exist.
    fn end(&mut self, newest: Option<u32>) {
        let Some(newest) = newest else { return };
        while self.segments.last().is_some_and(|segment| segment.first > newest) {
            self.segments.pop();
        }
        self.push(newest + 1, Verdict::Return(NO_SUCH_CALL));
    }

    /// Appends a segment; one of the same start replaces the last.
    fn push(&mut self, first: u32, verdict: Verdict) {
        if self.segments.last().is_some_and(|last| last.first == first) {
            self.segments.pop();
        }
        if self.segments.last().is_none_or(|last| last.verdict != verdict) {
            self.segments.push(Segment { first, verdict });
        }
    }
}

/// A number that a rule concerns.
#[derive(Clone, Copy)]
struct Match<'r> {
    number: u32,
    rule: &'r Rule,
    /// The first argument that leads to the call, for a multiplexed one.
    code: Option<u32>,
}

impl Match<'_> {
    /// The conditions under which one of the rule's alternatives holds.
    fn conditions(&self, alternative: &[Condition], wide: bool) -> Vec<Condition> {
        let code = self.code.map(|code| Condition::equal(0, u64::from(code)));
        // The call's arguments lie in memory, out of reach. libseccomp drops the condition on the
        // first argument, and lets the others test socketcall's own; so do we.
        let rest = alternative.iter().filter(|one| self.code.is_none() || one.argument != 0);
        code.into_iter()
            .chain(rest.map(|one| if wide { *one } else { one.narrow() }))
            .filter(|one| !one.is_always())
            .collect()
    }
}

/// The numbers that rules concern, sorted; rules for the same number keep their order.
fn matches<'r>(rules: &'r Rules, abi: Abi, column: usize) -> Vec<Match<'r>> {
    let mut matches = Vec::with_capacity(rules.list.len() + 64);
    for rule in &rules.list {
        if let (Abi::X86, Some(other)) = (abi, rule.call.multiplexed) {
            matches.push(Match { number: other.number, rule, code: Some(other.code) });
        }
        if let Some(number) = rule.call.numbers.get(column).filter(|number| **number != NO) {
            matches.push(Match { number: *number, rule, code: None });
        }
    }
    matches.sort_by_key(|one| one.number);
    matches
}
