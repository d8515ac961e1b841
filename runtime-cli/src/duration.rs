//! Durations on the command line, as Go programs write them: `5s`, `1m30s`, `250ms`.

use std::time::Duration;

/// The longest duration of a Go program. A clock can count that far, and not without end.
const LONGEST: Duration = Duration::from_nanos(i64::MAX.cast_unsigned());

/// Reads a duration greater than zero.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let seconds = match unit {
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = next;
    }
    (!total.is_zero() && total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (text, milliseconds) in
            [("5s", 5000), ("250ms", 250), ("1m30s", 90_000), ("1.5s", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in
            ["", "5", "0s", "-1s", "s", "5x", "5s ", "1e3s", "2562048h", "9999999999999999s"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
