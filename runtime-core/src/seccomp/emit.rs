//! From verdicts to a program.

use crate::spec::seccomp::Operator;

use super::Instruction;
use super::assemble::{Assembler, Entry, Position, Test, Word};
use super::condition::{Clause, Clauses, Condition, words};
use super::verdict::{Branch, Segment, Verdict, Verdicts};

/// Where the number of the call is in `struct seccomp_data` (linux/seccomp.h).
pub(super) const NUMBER: u32 = 0;
/// Where the architecture is.
pub(super) const ARCHITECTURE: u32 = 4;
/// Where the first argument is; each has 8 bytes.
const ARGUMENTS: u32 = 16;

/// Writes the program.
pub(super) fn emit(verdicts: &Verdicts) -> Vec<Instruction> {
    let mut emitter = Emitter { assembler: Assembler::new(), default: verdicts.default };
    let mut next = emitter.assembler.give(super::KILL_THREAD);
    let mut starts = Vec::with_capacity(verdicts.branches.len());
    for branch in verdicts.branches.iter().rev() {
        starts.push((branch.audit, emitter.branch(branch)));
    }
    for (audit, start) in starts {
        next = emitter.assembler.branch(Test::Equal, audit, start, next);
    }
    emitter.assembler.load(ARCHITECTURE, next);
    emitter.assembler.finish()
}

struct Emitter {
    assembler: Assembler,
    /// The value for calls of which no clause holds.
    default: u32,
}

impl Emitter {
    fn branch(&mut self, branch: &Branch) -> Position {
        let root = self.search(&branch.segments, &branch.conditionals);
        self.assembler.load(NUMBER, root).start
    }

    /// Finds the segment of the loaded number by halving.
    fn search(&mut self, segments: &[Segment], conditionals: &[Clauses]) -> Position {
        match segments {
            [] => self.assembler.give(self.default),
            [one] => self.verdict(one.verdict, conditionals),
            [before, one, after]
                if before.verdict == after.verdict
                    && one.first.checked_add(1) == Some(after.first) =>
            {
                let no = self.verdict(before.verdict, conditionals);
                let yes = self.verdict(one.verdict, conditionals);
                self.assembler.branch(Test::Equal, one.first, yes, no)
            }
            _ => {
                let (below, from) = segments.split_at(segments.len() / 2);
                let first = from.first().map_or(0, |segment| segment.first);
                let yes = self.search(from, conditionals);
                let no = self.search(below, conditionals);
                self.assembler.branch(Test::GreaterOrEqual, first, yes, no)
            }
        }
    }

    fn verdict(&mut self, verdict: Verdict, conditionals: &[Clauses]) -> Position {
        let conditional = match verdict {
            Verdict::Return(value) => return self.assembler.give(value),
            Verdict::Conditional(index) => conditionals.get(index),
        };
        let none = Entry::plain(self.assembler.give(self.default));
        conditional.map_or(none, |clauses| self.clauses(clauses, none)).start
    }

    /// Asks the clauses in their order.
    fn clauses(&mut self, clauses: &Clauses, none: Entry) -> Entry {
        let wide = clauses.wide;
        let mut next = none;
        let mut rest = clauses.list.as_slice();
        while let Some((last, before)) = rest.split_last() {
            let shared = if wide { last.upper_word() } else { None };
            let others = before.iter().rev().take_while(|clause| clause.upper_word() == shared);
            let count = if shared.is_some() { 1 + others.count() } else { 1 };
            let (before, group) = rest.split_at(rest.len().saturating_sub(count));
            next = match shared {
                Some(upper) if count > 1 => self.group(group, upper, next),
                _ => self.conditions(&last.conditions, last.verdict, wide, next),
            };
            rest = before;
        }
        next
    }

    /// Asks clauses that all start with the same upper word of the same argument: that is tested
    /// only once.
    fn group(&mut self, group: &[Clause], upper: (u32, u32), none: Entry) -> Entry {
        let mut next = none;
        for clause in group.iter().rev() {
            let Some((first, rest)) = clause.conditions.split_first() else {
                continue;
            };
            let yes = self.conditions(rest, clause.verdict, true, next);
            next = self.narrow(first, yes, next);
        }
        let (argument, value) = upper;
        let word = Word { offset: offset(argument) + 4, mask: u32::MAX, value };
        self.assembler.compare(word, Test::Equal, next, none)
    }

    fn conditions(&mut self, list: &[Condition], verdict: u32, wide: bool, no: Entry) -> Entry {
        let mut next = Entry::plain(self.assembler.give(verdict));
        for condition in list.iter().rev() {
            next = if wide {
                self.wide(condition, next, no)
            } else {
                self.narrow(condition, next, no)
            };
        }
        next
    }

    /// Tests the low word of an argument.
    fn narrow(&mut self, condition: &Condition, yes: Entry, no: Entry) -> Entry {
        let (test, yes, no) = simplify(condition.op, yes, no);
        let (value, mask) = (words(condition.value).1, words(condition.mask).1);
        let word = Word { offset: offset(condition.argument), mask, value };
        self.assembler.compare(word, test, yes, no)
    }

    /// Tests both words of an argument, the upper one first.
    fn wide(&mut self, condition: &Condition, yes: Entry, no: Entry) -> Entry {
        let offset = offset(condition.argument) + 4;
        let (value, mask) = (words(condition.value).0, words(condition.mask).0);
        let (_, low_mask) = words(condition.mask);
        let upper = Word { offset, mask, value };
        if low_mask == 0 {
            return self.assembler.compare(upper, Test::Equal, yes, no);
        }
        let low = self.narrow(condition, yes, no);
        let (test, yes, no) = simplify(condition.op, yes, no);
        match test {
            Test::Equal if mask == 0 => low,
            Test::Equal => self.assembler.compare(upper, Test::Equal, low, no),
            _ => {
                let (low, yes, no) = (low.after(offset), yes.after(offset), no.after(offset));
                let equal = self.assembler.branch(Test::Equal, value, low, no);
                let greater = self.assembler.branch(Test::Greater, value, yes, equal);
                self.assembler.load(offset, greater)
            }
        }
    }
}

impl Clause {
    /// The first argument and its upper word, if the clause tests that for equality first.
    fn upper_word(&self) -> Option<(u32, u32)> {
        let first = self.conditions.first()?;
        matches!(first.op, Operator::Equal).then(|| (first.argument, words(first.value).0))
    }
}

/// Where the low word of an argument is, on the little-endian machines that there are.
const fn offset(argument: u32) -> u32 {
    ARGUMENTS + argument * 8
}

/// The test that a filter knows, and where it leads to.
fn simplify(op: Operator, yes: Entry, no: Entry) -> (Test, Entry, Entry) {
    match op {
        Operator::Equal | Operator::MaskedEqual => (Test::Equal, yes, no),
        Operator::NotEqual => (Test::Equal, no, yes),
        Operator::Greater => (Test::Greater, yes, no),
        Operator::GreaterOrEqual => (Test::GreaterOrEqual, yes, no),
        Operator::Less => (Test::GreaterOrEqual, no, yes),
        Operator::LessOrEqual => (Test::Greater, no, yes),
    }
}
