//! Sizes of memory on the command line: `512m`, `1.5GiB`, `-1`.

/// Reads a size in bytes. Units are powers of 1024, in either case, with or without `b` or `ib`, as
/// Docker's; `-1` means unlimited.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text.get(digits.len()..)?.trim_start().to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |digits: &str| {
        let plain = digits.chars().all(|c| c.is_ascii_digit());
        plain.then(|| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() })?
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let scale = 1_i128 << (10 * power);
    // Nine digits are finer than a byte of anything up to a gigabyte.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let part = number(fraction)?.checked_mul(scale)?;
    let tens = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let bytes = number(whole)?.checked_mul(scale)?.checked_add(part / tens)?;
    i64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_and_fractions() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("32m", 32 << 20),
            ("32MB", 32 << 20),
            ("32 MiB", 32 << 20),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("7b", 7),
            ("1T", 1 << 40),
            ("-1", -1),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for wrong in ["", "m", "-2", "1x", "1.2.3", "0x10", "9999999p", "1e3", ".", "1bm"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
