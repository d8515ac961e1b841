//! Finds out where in a JSON text a fault lies. Used after something has failed, never before.

use std::fmt::Write as _;
use std::ops::Range;

use crate::error::Position;

/// How deep the scanner follows a text; the parser's own limit is the same.
const DEPTH: usize = 128;

/// A step from a value to one inside it.
#[derive(Clone, Copy)]
enum Segment<'a> {
    /// The raw text of a key, without its quotes.
    Key(&'a str),
    /// A place in an array.
    Index(usize),
}

/// The line and column of a byte of the text.
pub(super) fn position(text: &[u8], offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: before.len() - start + 1,
    }
}

/// The byte that a line and a number of bytes on it, as `serde_json` reports them, stand for.
pub(super) fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>() + column
}

/// The innermost value that the offset is in or at the end of: its field path and its first byte.
pub(super) fn value_at(text: &str, offset: usize) -> Option<(String, usize)> {
    let mut best: Option<(String, usize, usize)> = None;
    walk(text, &mut |path, range| {
        let deeper = best.as_ref().is_none_or(|(_, _, depth)| path.len() >= *depth);
        if deeper && range.start <= offset && offset <= range.end {
            best = Some((spell(path), range.start, path.len()));
        }
    });
    best.map(|(field, start, _)| (field, start))
}

/// The first byte of the value of a field, or of the innermost object around it that exists.
pub(super) fn start_of(text: &str, field: &str) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    walk(text, &mut |path, range| {
        let spelled = spell(path);
        let around = spelled.is_empty()
            || field.get(..spelled.len()).is_some_and(|head| head.eq_ignore_ascii_case(&spelled))
                && matches!(field.as_bytes().get(spelled.len()), None | Some(b'.' | b'['));
        if around && best.is_none_or(|(length, _)| spelled.len() >= length) {
            best = Some((spelled.len(), range.start));
        }
    });
    best.map(|(_, start)| start)
}

/// The first string (key or value) with a NUL character: the field path and the string's place.
pub(super) fn nul(text: &str) -> Option<(String, usize)> {
    let mut found = None;
    walk(text, &mut |path, range| {
        let raw = text.get(range.clone()).unwrap_or_default();
        if found.is_none() && raw.starts_with('"') && has_nul(raw) {
            found = Some((spell(path), range.start));
        }
        if let Some(Segment::Key(key)) = path.last()
            && found.is_none()
            && has_nul(key)
        {
            found = Some((spell(path), range.start));
        }
    });
    found
}

/// Whether a raw JSON string has the escape of a NUL (an even number of backslashes before it is
/// text).
pub(super) fn has_nul(raw: &str) -> bool {
    raw.match_indices("\\u0000").any(|(at, _)| {
        let before = raw.as_bytes().get(..at).unwrap_or_default();
        before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

/// The field path as in `linux.devices[2].path`; a key that is not a plain word is quoted.
fn spell(path: &[Segment<'_>]) -> String {
    let mut text = String::new();
    for segment in path {
        // Writing to a String cannot fail.
        let _ = match segment {
            Segment::Index(index) => write!(text, "[{index}]"),
            Segment::Key(key) => {
                let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                match (plain, text.is_empty()) {
                    (true, true) => write!(text, "{key}"),
                    (true, false) => write!(text, ".{key}"),
                    (false, _) => write!(text, "[\"{key}\"]"),
                }
            }
        };
    }
    text
}

type Visit<'v, 'a> = &'v mut dyn FnMut(&[Segment<'a>], Range<usize>);

/// Calls `visit` for every value once its end is known. A malformed text ends the walk; the values
/// that are open then are visited as if they ended with the text.
fn walk<'a>(text: &'a str, visit: Visit<'_, 'a>) {
    let mut scanner = Scanner { text, at: 0, path: Vec::new(), visit };
    scanner.value();
}

struct Scanner<'v, 'a> {
    text: &'a str,
    at: usize,
    path: Vec<Segment<'a>>,
    visit: Visit<'v, 'a>,
}

impl<'a> Scanner<'_, 'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Whether the value was whole.
    fn value(&mut self) -> bool {
        let first = self.peek();
        let start = self.at;
        let whole = match first {
            Some(b'{') => self.members(),
            Some(b'[') => self.elements(),
            Some(b'"') => self.string().is_some(),
            Some(byte) if byte == b'-' || byte.is_ascii_alphanumeric() => {
                let rest = self.text.as_bytes().get(start..).unwrap_or_default();
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                self.at += rest.iter().take_while(|byte| word(byte)).count();
                true
            }
            _ => false,
        };
        if first.is_some() {
            let end = if whole { self.at } else { self.text.len() };
            (self.visit)(&self.path, start..end);
        }
        whole
    }

    /// The raw text between the quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        self.text.get(start..at)
    }

    fn members(&mut self) -> bool {
        self.at += 1;
        if self.eat(b'}') {
            return true;
        }
        loop {
            if self.peek() != Some(b'"') {
                return false;
            }
            let Some(key) = self.string() else {
                return false;
            };
            if !self.eat(b':') || !self.inside(Segment::Key(key)) {
                return false;
            }
            if !self.eat(b',') {
                return self.eat(b'}');
            }
        }
    }

    fn elements(&mut self) -> bool {
        self.at += 1;
        if self.eat(b']') {
            return true;
        }
        for index in 0.. {
            if !self.inside(Segment::Index(index)) {
                return false;
            }
            if !self.eat(b',') {
                break;
            }
        }
        self.eat(b']')
    }

    fn inside(&mut self, segment: Segment<'a>) -> bool {
        if self.path.len() >= DEPTH {
            return false;
        }
        self.path.push(segment);
        let whole = self.value();
        self.path.pop();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"a\": {\"b\": [1, \"x\\\"\", true]},\n  \"net.ipv4\": \"\\u0000\"\n}";

    #[test]
    fn finds_the_value_at_an_offset() {
        let at = TEXT.find("true").unwrap() + 4;
        assert_eq!(value_at(TEXT, at), Some(("a.b[2]".to_owned(), at - 4)));
        assert_eq!(value_at(TEXT, TEXT.len()), Some((String::new(), 0)));
    }

    #[test]
    fn finds_the_start_of_a_field_or_what_is_around_it() {
        let text = position(TEXT.as_bytes(), start_of(TEXT, "A.b[1]").unwrap());
        assert_eq!(text, Position { line: 2, column: 18 });
        assert_eq!(start_of(TEXT, "a.b.missing"), TEXT.find('['));
        assert_eq!(start_of(TEXT, "[\"net.ipv4\"]"), TEXT.find("\"\\u0000"));
    }

    #[test]
    fn finds_a_nul() {
        assert_eq!(nul(TEXT), Some(("[\"net.ipv4\"]".to_owned(), TEXT.find("\"\\u0000").unwrap())));
        assert!(!has_nul(r#""\\u0000""#));
        assert!(has_nul(r#""\\\u0000""#));
    }

    #[test]
    fn a_broken_text_ends_the_walk() {
        for end in 0..TEXT.len() {
            let broken = &TEXT[..end];
            let _ = (value_at(broken, end), start_of(broken, "a.b"), nul(broken));
        }
        assert_eq!(value_at("{\"a\": [1, }", 10), Some(("a[1]".to_owned(), 10)));
        assert!(value_at(&"[".repeat(100_000), 50).is_some());
    }
}
