//! The log in runc's two formats.
//!
//! Engines read it: containerd decodes a stream of JSON objects and shows the last error, podman
//! expects the file to be one JSON object. So a failed command writes exactly one error record, in
//! one line and one write, and everything more that is known about the failure stands in that
//! record. The same text goes to standard error as it is, unless the log itself goes there.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Write as _, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use coracle::Error;
use serde::Serialize;

use crate::args::{Globals, Level};
use crate::failure::Failure;

static LOG: OnceLock<Log> = OnceLock::new();

/// Where records go and how they are written.
#[derive(Debug)]
struct Log {
    /// `None` is standard error.
    file: Option<File>,
    json: bool,
}

/// Opens the log and makes it the one of the process.
///
/// # Errors
/// The log file cannot be opened; the log then goes to standard error.
pub(crate) fn open(globals: &Globals) -> Result<(), Error> {
    let opened = match &globals.log {
        Some(path) if !is_stderr(path) => append_to(path).map(Some),
        _ => Ok(None),
    };
    let (file, done) = match opened {
        Ok(file) => (file, Ok(())),
        Err(error) => (None, Err(error)),
    };
    let json = globals.json;
    let _ = log::set_logger(LOG.get_or_init(|| Log { file, json }));
    log::set_max_level(match globals.level {
        Level::Error => log::LevelFilter::Error,
        Level::Warning => log::LevelFilter::Warn,
        Level::Info => log::LevelFilter::Info,
        Level::Debug => log::LevelFilter::Debug,
    });
    done
}

fn is_stderr(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new("/dev/stderr")
}

fn append_to(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .map_err(|source| Error::io("open the log", &source).with_path(path))
}

/// Reports the failure of the command: one record, and the text on standard error.
pub(crate) fn failure(failure: &Failure) {
    let text = failure.text();
    let details = Details::of(failure);
    let Some(log) = LOG.get() else {
        write_to_stderr(&text);
        return;
    };
    log.write("error", &text, details);
    if log.file.is_some() {
        write_to_stderr(&text);
    }
}

fn write_to_stderr(text: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = stderr().write_all(format!("{text}\n").as_bytes());
}

impl Log {
    fn write(&self, level: &str, msg: &str, details: Details<'_>) {
        let time = time_text(SystemTime::now());
        let mut line = if self.json {
            let record = Record { level, msg, time: &time, details };
            serde_json::to_string(&record).unwrap_or_default()
        } else {
            format!("time={} level={level} msg={}", quoted(&time), quoted(msg))
        };
        line.push('\n');
        // A log that cannot be written must not change what the command does.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => stderr().write_all(line.as_bytes()),
        };
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            // Errors are returned, and reported once at the end.
            log::Level::Error | log::Level::Warn => "warning",
            log::Level::Info => "info",
            log::Level::Debug | log::Level::Trace => "debug",
        };
        self.write(level, &record.args().to_string(), Details::default());
    }

    fn flush(&self) {}
}

#[derive(Serialize)]
struct Record<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
    #[serde(flatten)]
    details: Details<'a>,
}

/// What is known about a failure beyond its text.
#[derive(Default, Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> Details<'a> {
    fn of(failure: &'a Failure) -> Self {
        match failure {
            Failure::Usage(usage) | Failure::Option(usage) => {
                Self { code: Some("usage"), hint: usage.hint.as_deref(), ..Self::default() }
            }
            Failure::Operation(error) => Self {
                code: Some(error.kind().name()),
                step: error.step(),
                field: error.field(),
                // JSON text is UTF-8 only.
                path: error.path().map(|path| path.to_string_lossy().as_ref().into()),
                line: error.position().map(|position| position.line),
                column: error.position().map(|position| position.column),
                errno: error.errno(),
                hint: error.hint(),
            },
        }
    }
}

/// A value of the text format: quoted as Go does it when it holds more than plain characters.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// The time as RFC 3339 in UTC, with seconds.
fn time_text(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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
            assert_eq!(time_text(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn text_values_are_quoted_when_needed() {
        for (value, written) in [
            ("plain", "plain"),
            ("a/b.c-d_e@f^g+h", "a/b.c-d_e@f^g+h"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a\"b\\c\n\x01", "\"a\\\"b\\\\c\\n\\x01\""),
            ("ü", "\"ü\""),
        ] {
            assert_eq!(quoted(value), written);
        }
    }

    #[test]
    fn a_record_is_one_line_with_the_keys_in_order() {
        let failure = Failure::Operation(
            Error::system("mount\nit", 19)
                .with_step("step 3")
                .with_field("mounts[0]")
                .with_path("/a"),
        );
        let record =
            Record { level: "error", msg: "a\nb", time: "now", details: Details::of(&failure) };
        assert_eq!(
            serde_json::to_string(&record).expect("json"),
            "{\"level\":\"error\",\"msg\":\"a\\nb\",\"time\":\"now\",\"code\":\"system\",\
             \"step\":\"step 3\",\"field\":\"mounts[0]\",\"path\":\"/a\",\"errno\":19}"
        );
    }
}
