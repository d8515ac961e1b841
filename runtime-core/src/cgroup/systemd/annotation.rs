//! `org.systemd.property.NAME` annotations: properties of the unit, as GVariant text.
//!
//! Annotations come from registries and pods, so that only properties are taken that can neither
//! lift a limit nor run anything.

use std::collections::BTreeMap;

use super::message::{Property, Value};
use crate::error::{Error, ErrorKind, Result};

const PREFIX: &str = "org.systemd.property.";

/// What may be set: the order of units, how a unit is stopped, and what it is called. `Wants` and the like
/// are not here: they start units, and any unit of the host could be named.
const ALLOWED: [&str; 14] = [
    "After",
    "Before",
    "CollectMode",
    "DefaultDependencies",
    "Description",
    "FinalKillSignal",
    "KillMode",
    "KillSignal",
    "PartOf",
    "RestartKillSignal",
    "RuntimeMaxUSec",
    "SendSIGHUP",
    "SendSIGKILL",
    "TimeoutStopUSec",
];

/// The properties that the annotations ask for.
///
/// # Errors
/// When a property may not be set this way, or its value cannot be read.
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let asked = annotations.range(PREFIX.to_owned()..);
    asked
        .map_while(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)))
        .map(|(key, name, text)| {
            property(name, text).map_err(|error| error.with_field(format!("annotations[{key:?}]")))
        })
        .collect()
}

fn property(name: &str, text: &str) -> Result<Property> {
    // `TimeoutStopSec` is what unit files call `TimeoutStopUSec`.
    let (name, seconds) = match name.strip_suffix("USec") {
        Some(_) => (name.to_owned(), false),
        None => match name.strip_suffix("Sec") {
            Some(stem) => (format!("{stem}USec"), true),
            None => (name.to_owned(), false),
        },
    };
    if !ALLOWED.contains(&&*name) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the property {name:?} of a unit cannot be set by an annotation"),
        )
        .with_hint(format!("these can: {}", ALLOWED.join(", "))));
    }
    let value = if seconds { microseconds(text) } else { parse(text) };
    value.map(|value| (name, value)).ok_or_else(|| {
        Error::new(ErrorKind::InvalidSpec, format!("{text:?} is no value of a property"))
            .with_hint("GVariant text is needed, as 'words', true, 5, uint64 5 or ['a', 'b']")
    })
}

fn microseconds(text: &str) -> Option<Value> {
    match parse(text)? {
        Value::I32(seconds) => Some(u64::try_from(seconds).ok()?),
        Value::U32(seconds) => Some(seconds.into()),
        Value::I64(seconds) => Some(u64::try_from(seconds).ok()?),
        Value::U64(seconds) => Some(seconds),
        _ => None,
    }?
    .checked_mul(1_000_000)
    .map(Value::U64)
}

/// Reads GVariant text of the kinds that properties have.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some((kind, rest)) = text.split_once(' ') {
        let rest = rest.trim();
        match kind {
            "int32" | "@i" => return rest.parse().ok().map(Value::I32),
            "uint32" | "@u" => return rest.parse().ok().map(Value::U32),
            "int64" | "@x" => return rest.parse().ok().map(Value::I64),
            "uint64" | "@t" => return rest.parse().ok().map(Value::U64),
            "boolean" | "@b" => return flag(rest),
            "string" | "@s" => return words(rest),
            "@as" => return texts(rest),
            _ => {}
        }
    }
    match text {
        "true" | "false" => flag(text),
        _ if text.starts_with('[') => texts(text),
        _ if text.starts_with(['\'', '"']) => words(text),
        number => number.parse().ok().map(Value::I32),
    }
}

fn flag(text: &str) -> Option<Value> {
    text.parse().ok().map(Value::Bool)
}

fn words(text: &str) -> Option<Value> {
    let (value, rest) = quoted(text)?;
    rest.is_empty().then_some(Value::Text(value))
}

fn texts(text: &str) -> Option<Value> {
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut all = Vec::new();
    while !rest.starts_with(']') {
        let (value, after) = quoted(rest)?;
        all.push(value);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.starts_with(']') => rest,
            None => return None,
        };
    }
    (rest == "]").then_some(Value::Texts(all))
}

/// A string in quotes at the front, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            '\0' => return None,
            c if c == quote => return Some((value, text.get(at + 1..)?)),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Result<Property> {
        let key = format!("{PREFIX}{name}");
        let all = properties(&BTreeMap::from([
            (key, text.to_owned()),
            ("org.other".to_owned(), "x".to_owned()),
            ("org.zzz".to_owned(), "x".to_owned()),
        ]))?;
        assert_eq!(all.len(), 1);
        Ok(all[0].clone())
    }

    #[test]
    fn values_of_every_kind() {
        for (name, text, wanted) in [
            ("KillSignal", "15", Value::I32(15)),
            ("TimeoutStopUSec", "uint64 10000000", Value::U64(10_000_000)),
            ("DefaultDependencies", "true", Value::Bool(true)),
            (
                "After",
                "['a.service', \"b.service\"]",
                Value::Texts(vec!["a.service".into(), "b.service".into()]),
            ),
            ("DefaultDependencies", "boolean false", Value::Bool(false)),
            ("PartOf", "@as []", Value::Texts(Vec::new())),
            ("CollectMode", "'inactive\\'or'", Value::Text("inactive'or".into())),
        ] {
            assert_eq!(one(name, text).expect(text), (name.to_owned(), wanted));
        }
        assert_eq!(
            one("TimeoutStopSec", "7").expect("seconds"),
            ("TimeoutStopUSec".to_owned(), Value::U64(7_000_000))
        );
    }

    #[test]
    fn limits_commands_and_other_units_cannot_be_set() {
        for name in [
            "MemoryMax",
            "DevicePolicy",
            "ExecStart",
            "PIDs",
            "Slice",
            "Delegate",
            "Wants",
            "Requires",
            "OnFailure",
            "",
        ] {
            let error = one(name, "1").expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            assert!(error.field().is_some_and(|field| field.contains(name)));
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for text in ["", "'a", "['a'", "['a' 'b']", "[1]", "'a' b", "uint64 -1", "1.5", "'\\"] {
            assert!(one("Description", text).is_err(), "{text}");
        }
        for text in ["boolean 'x'", "string true", "boolean boolean true"] {
            assert!(one("Description", text).is_err(), "{text}");
        }
        // An annotation may be as long as a configuration.
        assert!(one("Description", &"boolean ".repeat(1 << 17)).is_err());
    }
}
