//! Extended regular expressions (regex(7)) for the names of containers.
//!
//! A pattern is a list of instructions that is walked once for each character with every place that
//! is still possible (Thompson's way), so that no pattern takes long. Collating symbols and back
//! references, which no name needs, are not understood.

/// What a character can be; names have ASCII characters only.
type Set = [u64; 2];

/// Whether a character belongs to a class.
type Holds = fn(&u8) -> bool;

/// How often a bound may ask for something: more is a slip of the pen.
const MAX_BOUND: usize = 255;
/// How many instructions a pattern may have.
const MAX_LENGTH: usize = 10_000;

/// One instruction; the numbers are of others.
#[derive(Clone, Debug)]
enum Instruction {
    Character(Set),
    Start,
    End,
    /// Goes on at both.
    Fork(usize, usize),
    Found,
}

/// A piece of the text that was read.
#[derive(Clone, Debug)]
enum Part {
    Nothing,
    Single(Instruction),
    Sequence(Vec<Self>),
    Choice(Box<Self>, Box<Self>),
    /// At least and at most as often; `None` without a bound.
    Repeat(Box<Self>, usize, Option<usize>),
}

/// A regular expression.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Instruction>);

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn new(text: &str) -> Result<Self, &'static str> {
        let mut reader = Reader { rest: text.as_bytes(), depth: 0 };
        let part = reader.choice()?;
        if !reader.rest.is_empty() {
            return Err("a ) closes nothing");
        }
        let mut pattern = Self(Vec::new());
        pattern.append(&part)?;
        pattern.0.push(Instruction::Found);
        Ok(pattern)
    }

    /// Whether a part of the name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut places = Vec::new();
        for (at, byte) in name.bytes().map(Some).chain([None]).enumerate() {
            let edge = (at == 0, byte.is_none());
            // A match may begin anywhere.
            places.push(0);
            let reached = self.reach(&places, edge);
            places.clear();
            for place in reached {
                match (self.0.get(place), byte) {
                    (Some(Instruction::Found), _) => return true,
                    (Some(Instruction::Character(set)), Some(byte)) if has(set, byte) => {
                        places.push(place + 1);
                    }
                    _ => {}
                }
            }
        }
        false
    }

    /// The instructions that wait for a character, or end, after these.
    fn reach(&self, places: &[usize], (first, last): (bool, bool)) -> Vec<usize> {
        let mut seen = vec![false; self.0.len()];
        let mut waiting = Vec::new();
        let mut open = places.to_vec();
        while let Some(place) = open.pop() {
            match seen.get_mut(place) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match self.0.get(place) {
                Some(Instruction::Fork(one, other)) => open.extend([*one, *other]),
                Some(Instruction::Start) if first => open.push(place + 1),
                Some(Instruction::End) if last => open.push(place + 1),
                Some(Instruction::Character(_) | Instruction::Found) => waiting.push(place),
                _ => {}
            }
        }
        waiting
    }

    fn append(&mut self, part: &Part) -> Result<(), &'static str> {
        if self.0.len() > MAX_LENGTH {
            return Err("it is too long");
        }
        match part {
            Part::Nothing => {}
            Part::Single(instruction) => self.0.push(instruction.clone()),
            Part::Sequence(parts) => return parts.iter().try_for_each(|part| self.append(part)),
            Part::Choice(one, other) => {
                let fork = self.reserve();
                self.append(one)?;
                let skip = self.reserve();
                self.set(fork, (fork + 1, self.0.len()));
                self.append(other)?;
                self.set(skip, (self.0.len(), self.0.len()));
            }
            Part::Repeat(part, least, most) => {
                for _ in 0..*least {
                    self.append(part)?;
                }
                let forks = match most {
                    Some(most) => most.saturating_sub(*least),
                    None => 1,
                };
                let mut reserved = Vec::new();
                for _ in 0..forks {
                    reserved.push(self.reserve());
                    self.append(part)?;
                }
                if most.is_none() {
                    let back = self.reserve();
                    let first = reserved.first().copied().unwrap_or(back);
                    self.set(back, (first, first));
                }
                for fork in reserved {
                    self.set(fork, (fork + 1, self.0.len()));
                }
            }
        }
        Ok(())
    }

    fn reserve(&mut self) -> usize {
        self.0.push(Instruction::Found);
        self.0.len() - 1
    }

    fn set(&mut self, place: usize, (one, other): (usize, usize)) {
        if let Some(instruction) = self.0.get_mut(place) {
            *instruction = Instruction::Fork(one, other);
        }
    }
}

fn has(set: &Set, byte: u8) -> bool {
    let word = set.get(usize::from(byte >> 6)).copied().unwrap_or(0);
    word & (1 << (byte & 63)) != 0
}

fn put(set: &mut Set, byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte >> 6)) {
        *word |= 1 << (byte & 63);
    }
}

fn single(byte: u8) -> Set {
    let mut set = [0; 2];
    put(&mut set, byte);
    set
}

/// Reads the text from left to right.
struct Reader<'a> {
    rest: &'a [u8],
    depth: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn choice(&mut self) -> Result<Part, &'static str> {
        self.depth += 1;
        if self.depth > 100 {
            return Err("its parentheses are too deep");
        }
        let mut part = self.sequence()?;
        while self.peek() == Some(b'|') {
            self.next();
            part = Part::Choice(Box::new(part), Box::new(self.sequence()?));
        }
        self.depth -= 1;
        Ok(part)
    }

    fn sequence(&mut self) -> Result<Part, &'static str> {
        let mut parts = Vec::new();
        while !matches!(self.peek(), None | Some(b'|' | b')')) {
            let mut part = self.atom()?;
            while let Some((least, most)) = self.repetition()? {
                // What becomes no instruction would never come to the limit of them.
                if !matches!(part, Part::Nothing) {
                    part = Part::Repeat(Box::new(part), least, most);
                }
                if most == Some(0) {
                    part = Part::Nothing;
                }
            }
            if !matches!(part, Part::Nothing) {
                parts.push(part);
            }
        }
        Ok(if parts.is_empty() { Part::Nothing } else { Part::Sequence(parts) })
    }

    fn atom(&mut self) -> Result<Part, &'static str> {
        let set = match self.next() {
            Some(b'(') => {
                let part = self.choice()?;
                return match self.next() {
                    Some(b')') => Ok(part),
                    _ => Err("a ( is not closed"),
                };
            }
            Some(b'^') => return Ok(Part::Single(Instruction::Start)),
            Some(b'$') => return Ok(Part::Single(Instruction::End)),
            Some(b'.') => [u64::MAX; 2],
            Some(b'[') => self.set()?,
            Some(b'*' | b'+' | b'?' | b'{') => return Err("there is nothing to repeat"),
            Some(b'\\') => single(self.next().ok_or("a \\ stands at its end")?),
            Some(byte) => single(byte),
            None => return Ok(Part::Nothing),
        };
        Ok(Part::Single(Instruction::Character(set)))
    }

    fn repetition(&mut self) -> Result<Option<(usize, Option<usize>)>, &'static str> {
        let bounds = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                self.next();
                return self.bound().map(Some);
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(bounds))
    }

    /// What follows a brace: `3}`, `3,}` or `3,5}`.
    fn bound(&mut self) -> Result<(usize, Option<usize>), &'static str> {
        const FAULT: &str = "a bound is not {N}, {N,} or {N,M}";
        let least = self.number().ok_or(FAULT)?;
        let most = match self.next() {
            Some(b'}') => return Ok((least, Some(least))),
            Some(b',') if self.peek() == Some(b'}') => None,
            Some(b',') => Some(self.number().filter(|most| *most >= least).ok_or(FAULT)?),
            _ => return Err(FAULT),
        };
        if self.next() == Some(b'}') { Ok((least, most)) } else { Err(FAULT) }
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            self.next();
            number = Some(number.unwrap_or(0) * 10 + usize::from(digit - b'0'));
            number = number.filter(|number| *number <= MAX_BOUND);
            number?;
        }
        number
    }

    /// What follows a bracket.
    fn set(&mut self) -> Result<Set, &'static str> {
        const FAULT: &str = "a [ is not closed";
        let negated = self.peek() == Some(b'^');
        if negated {
            self.next();
        }
        let mut set = [0; 2];
        let mut first = true;
        loop {
            match self.next().ok_or(FAULT)? {
                b']' if !first => break,
                b'[' if self.peek() == Some(b':') => self.class(&mut set)?,
                from => {
                    let [dash, to] = [self.rest.first(), self.rest.get(1)];
                    let to = to.filter(|to| dash == Some(&b'-') && **to != b']').copied();
                    if to.is_some() {
                        self.next();
                        self.next();
                    }
                    let to = to.unwrap_or(from);
                    if to < from {
                        return Err("a range ends before it begins");
                    }
                    (from..=to).for_each(|byte| put(&mut set, byte));
                }
            }
            first = false;
        }
        Ok(if negated { set.map(|word| !word) } else { set })
    }

    /// What follows `[` in a set when it is the name of a class: `:alpha:]`.
    fn class(&mut self, set: &mut Set) -> Result<(), &'static str> {
        let classes: [(&[u8], Holds); 6] = [
            (b":alnum:]", u8::is_ascii_alphanumeric),
            (b":alpha:]", u8::is_ascii_alphabetic),
            (b":digit:]", u8::is_ascii_digit),
            (b":lower:]", u8::is_ascii_lowercase),
            (b":upper:]", u8::is_ascii_uppercase),
            (b":xdigit:]", u8::is_ascii_hexdigit),
        ];
        for (name, holds) in classes {
            if let Some(rest) = self.rest.strip_prefix(name) {
                self.rest = rest;
                (0..=127).filter(holds).for_each(|byte| put(set, byte));
                return Ok(());
            }
        }
        Err("a class of characters is unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_those_of_grep_do() {
        for (text, yes, no) in [
            ("web", &["web", "my-web-1"][..], &["we", "WEB", ""][..]),
            ("^web$", &["web"], &["web1", "1web"]),
            ("^web-[0-9]+$", &["web-1", "web-42"], &["web-", "web-a", "web-1a"]),
            ("^(a|bc)*$", &["", "a", "bcabc"], &["b", "ab"]),
            ("^a?b{2,3}$", &["bb", "abbb"], &["b", "abbbb", "aabb"]),
            ("^a{2}$", &["aa"], &["a", "aaa"]),
            ("^x{2,}$", &["xx", "xxxxx"], &["x"]),
            ("^[^a-c.]+$", &["xyz", "-"], &["xaz", "."]),
            ("^a\\.b$", &["a.b"], &["axb"]),
            ("a.c", &["abc", "a-c-"], &["ac"]),
            ("^[]a-]+$", &["a-"], &["b"]),
            ("^[[:digit:]x]+$", &["1x2"], &["y"]),
            ("^(|a)$", &["", "a"], &["b"]),
            ("^(){3}a$", &["a"], &["aa", ""]),
            ("^(b{0}){9}a(c{0})*$", &["a"], &["ba", "ac"]),
            ("^()|a$", &["", "b"], &[]),
            ("one|two$", &["one-", "-two"], &["two-"]),
            (
                "^(a*)*$",
                &["", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
                &["aaaaaaaaaaaaaaaaaaaaaaaab"],
            ),
        ] {
            let pattern = Pattern::new(text).expect(text);
            for name in yes {
                assert!(pattern.matches(name), "{text} does not match {name:?}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{text} matches {name:?}");
            }
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in [
            "(", ")", "a)", "(a", "*", "+a", "[a", "[z-a]", "a{", "a{x}", "a{3,2}", "a{256}", "\\",
            "[[:x:]]",
        ] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
        let deep = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        assert!(Pattern::new(&deep).is_err());
        let long = "(a{255}){255}{255}";
        assert!(Pattern::new(long).is_err());
    }

    #[test]
    fn repeats_of_nothing_take_no_time() {
        // Each would be 255^8 turns.
        let repeats = "{255}".repeat(8);
        for nothing in ["()", "(())", "(()())", "(a{0})", "((a{0,0})(){3})", "(()*)"] {
            let pattern = Pattern::new(&format!("^{nothing}{repeats}$")).expect(nothing);
            assert!(pattern.matches("") && !pattern.matches("a"), "{nothing}");
        }
    }
}
