//! Times as logs write them, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A point in time, as calendar and clock show it.
struct Parts {
    year: u64,
    /// From 1 on.
    month: u64,
    day: u64,
    /// Hours, minutes, seconds.
    clock: String,
}

/// The time as RFC 3339, with seconds.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let Parts { year, month, day, clock } = parts(time);
    format!("{year:04}-{month:02}-{day:02}T{clock}Z")
}

/// The time as it stands in a record of syslog(3).
pub(super) fn syslog(time: SystemTime) -> String {
    let Parts { month, day, clock, .. } = parts(time);
    let index = usize::try_from(month).unwrap_or(1).saturating_sub(1);
    let month = MONTHS.get(index).copied().unwrap_or("Jan");
    format!("{month} {day:2} {clock}")
}

fn parts(time: SystemTime) -> Parts {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    Parts { year, month, day, clock: format!("{hour:02}:{minute:02}:{second:02}") }
}

/// The Gregorian date of a number of days since 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of a year: then the month is a
/// linear function of the day of the year.
fn date_of(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let era = days / DAYS_OF_400_YEARS;
    let day_of_era = days % DAYS_OF_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
