//! Times as logs write them, in UTC.

use std::time::SystemTime;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time as RFC 3339, with seconds.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let mut text = coracle::rfc3339(time);
    text.truncate(text.find('.').unwrap_or(text.len()));
    text.push('Z');
    text
}

/// The time as it stands in a record of syslog(3).
pub(super) fn syslog(time: SystemTime) -> String {
    let text = rfc3339(time);
    let (date, clock) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let mut numbers = date.split('-').skip(1).map(|number| number.parse().unwrap_or(1));
    let (month, day): (usize, usize) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or("Jan");
    format!("{month} {day:2} {clock}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn dates_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (68_256_000, "1972-03-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn days_of_syslog_are_padded_with_a_blank() {
        for (seconds, text) in [(0, "Jan  1 00:00:00"), (1_735_689_599, "Dec 31 23:59:59")] {
            assert_eq!(syslog(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
