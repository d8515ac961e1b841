//! Wall-clock time in words.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC as RFC 3339 with nanoseconds: `2026-01-31T08:15:30.000000001Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // The type, which is that of gmtime_r, is not named: libc calls its name deprecated on musl.
    let seconds = since.as_secs().try_into().unwrap_or_default();
    // SAFETY: an all-zero tm is a valid value of that type (its zone pointer may be null).
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, which keeps neither.
    unsafe { libc::gmtime_r(&raw const seconds, &raw mut parts) };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        i64::from(parts.tm_year) + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_are_written_with_nanoseconds() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000000000Z");
        let leap_day = UNIX_EPOCH + Duration::new(1_709_164_801, 7);
        assert_eq!(rfc3339(leap_day), "2024-02-29T00:00:01.000000007Z");
    }
}
