//! Classic BPF programs, written backwards.
//!
//! Jumps only lead forward and at most 255 instructions far, unless they are unconditional. A
//! program that is written from its end always knows the targets of its jumps, and whether one is
//! too far and needs a stepping stone.

use super::Instruction;

/// `BPF_LD | BPF_W | BPF_ABS`: loads a word of the call.
const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
const JUMP: u16 = 0x05;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// A test of the loaded word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Equal: `BPF_JMP | BPF_JEQ | BPF_K`.
    Equal,
    /// Greater, unsigned: `BPF_JMP | BPF_JGT | BPF_K`.
    Greater,
    /// Greater or equal, unsigned: `BPF_JMP | BPF_JGE | BPF_K`.
    GreaterOrEqual,
    /// Any of the bits set: `BPF_JMP | BPF_JSET | BPF_K`.
    #[cfg(feature = "libseccomp")]
    AnyBit,
}

impl Test {
    const fn code(self) -> u16 {
        match self {
            Self::Equal => 0x15,
            Self::Greater => 0x25,
            Self::GreaterOrEqual => 0x35,
            #[cfg(feature = "libseccomp")]
            Self::AnyBit => 0x45,
        }
    }
}

/// Where an instruction is, counted from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position(usize);

/// A part of the program that starts by loading a word, unless that has been done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its start.
    pub(super) start: Position,
    /// The word that it loads, and where it goes on after that.
    loaded: Option<(u32, Position)>,
}

impl Entry {
    /// A part that does not care what is loaded.
    pub(super) const fn plain(start: Position) -> Self {
        Self { start, loaded: None }
    }

    /// Where to enter if this word of the call is loaded.
    pub(super) fn after(&self, word: u32) -> Position {
        match self.loaded {
            Some((loaded, position)) if loaded == word => position,
            _ => self.start,
        }
    }
}

/// A program under construction.
#[derive(Debug)]
pub(super) struct Assembler {
    /// The instructions, the last one first.
    reversed: Vec<Instruction>,
    /// Where each value is returned next.
    returns: Vec<(u32, Position)>,
}

impl Assembler {
    /// An empty program.
    pub(super) fn new() -> Self {
        Self { reversed: Vec::with_capacity(1024), returns: Vec::new() }
    }

    /// Continues in front of a program.
    #[cfg(feature = "libseccomp")]
    pub(super) fn before(program: Vec<Instruction>) -> Self {
        let mut reversed = program;
        reversed.reverse();
        Self { reversed, returns: Vec::new() }
    }

    /// The first instruction.
    #[cfg(feature = "libseccomp")]
    pub(super) fn start(&self) -> Option<Position> {
        self.reversed.len().checked_sub(1).map(Position)
    }

    /// The program.
    pub(super) fn finish(self) -> Vec<Instruction> {
        let mut program = self.reversed;
        program.reverse();
        program
    }

    /// A place that returns this value.
    pub(super) fn give(&mut self, value: u32) -> Position {
        match self.returns.iter().find(|(known, _)| *known == value) {
            Some((_, position)) => *position,
            None => self.push_return(value),
        }
    }

    /// A test of the word that is loaded by then.
    pub(super) fn branch(
        &mut self,
        test: Test,
        value: u32,
        yes: Position,
        no: Position,
    ) -> Position {
        let yes = self.near(yes);
        let no = self.near(no);
        let instruction = Instruction {
            code: test.code(),
            jt: self.distance(yes).unwrap_or_default(),
            jf: self.distance(no).unwrap_or_default(),
            k: value,
        };
        self.push(instruction)
    }

    /// Loads the word at this offset of the call (`struct seccomp_data`) and goes on to the
    /// position, unless something else comes next: then that is a return, which loads nothing.
    pub(super) fn load(&mut self, word: u32, next: Position) -> Entry {
        if next.0 + 1 != self.reversed.len() {
            return Entry::plain(next);
        }
        let start = self.push(Instruction { code: LOAD, jt: 0, jf: 0, k: word });
        Entry { start, loaded: Some((word, next)) }
    }

    /// A test of a word of the call, of which the bits in the mask count.
    pub(super) fn compare(&mut self, word: Word, test: Test, yes: Entry, no: Entry) -> Entry {
        let branch = if word.mask == u32::MAX {
            self.branch(test, word.value, yes.after(word.offset), no.after(word.offset))
        } else {
            self.branch(test, word.value, yes.start, no.start);
            self.push(Instruction { code: AND, jt: 0, jf: 0, k: word.mask })
        };
        self.load(word.offset, branch)
    }

    fn push(&mut self, instruction: Instruction) -> Position {
        self.reversed.push(instruction);
        Position(self.reversed.len() - 1)
    }

    fn push_return(&mut self, value: u32) -> Position {
        let position = self.push(Instruction { code: RETURN, jt: 0, jf: 0, k: value });
        match self.returns.iter_mut().find(|(known, _)| *known == value) {
            Some((_, known)) => *known = position,
            None => self.returns.push((value, position)),
        }
        position
    }

    /// A place from which the position is reached, near enough for the next branch.
    fn near(&mut self, position: Position) -> Position {
        // A branch has two targets, so another stepping stone may still come in between.
        let reach = usize::from(u8::MAX) - 1;
        let away = self.reversed.len().saturating_sub(position.0 + 1);
        if away <= reach {
            return position;
        }
        match self.reversed.get(position.0) {
            Some(Instruction { code: RETURN, k, .. }) => self.push_return(*k),
            _ => {
                let k = u32::try_from(away).unwrap_or(u32::MAX);
                self.push(Instruction { code: JUMP, jt: 0, jf: 0, k })
            }
        }
    }

    /// How far the position is from the instruction that comes next.
    fn distance(&self, position: Position) -> Option<u8> {
        u8::try_from(self.reversed.len().checked_sub(position.0 + 1)?).ok()
    }
}

/// A word of the call and what it is tested against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// Where it is in `struct seccomp_data`.
    pub(super) offset: u32,
    /// The bits that count.
    pub(super) mask: u32,
    /// The value.
    pub(super) value: u32,
}
