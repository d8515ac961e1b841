//! The log in runc's two formats.
//!
//! Engines read it: containerd decodes a stream of JSON objects and shows the last error, podman
//! expects the file to be one JSON object. So a failed command writes exactly one error record, in
//! one line and one write, and everything more that is known about the failure stands in that
//! record. The same text goes to standard error as it is, unless the log itself goes there.

mod target;
mod time;

use std::fmt::Write as _;
use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::SystemTime;

use coracle::Error;
use serde::Serialize;

use crate::args::{Globals, Level};
use crate::failure::Failure;
use target::Target;

static LOG: OnceLock<Log> = OnceLock::new();

/// Where records go and how they are written.
#[derive(Debug)]
struct Log {
    target: Target,
    json: bool,
}

/// Opens the log and makes it the one of the process.
///
/// # Errors
/// The log cannot be opened; the log then goes to standard error.
pub(crate) fn open(globals: &Globals) -> Result<(), Error> {
    let (target, done) = match Target::open(globals.log.as_deref()) {
        Ok(target) => (target, Ok(())),
        Err(error) => (Target::Stderr, Err(error)),
    };
    let json = globals.json;
    let _ = log::set_logger(LOG.get_or_init(|| Log { target, json }));
    log::set_max_level(match globals.level {
        Level::Error => log::LevelFilter::Error,
        Level::Warning => log::LevelFilter::Warn,
        Level::Info => log::LevelFilter::Info,
        Level::Debug => log::LevelFilter::Debug,
    });
    done
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
    if !matches!(log.target, Target::Stderr) {
        write_to_stderr(&text);
    }
}

fn write_to_stderr(text: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = stderr().write_all(format!("{text}\n").as_bytes());
}

impl Log {
    fn write(&self, level: &str, msg: &str, details: Details<'_>) {
        let time = time::rfc3339(SystemTime::now());
        let line = if self.json {
            let record = Record { level, msg, time: &time, details };
            serde_json::to_string(&record).unwrap_or_default()
        } else if self.target.has_time_and_level() {
            msg.to_owned()
        } else {
            format!("time={} level={level} msg={}", quoted(&time), quoted(msg))
        };
        // A log that cannot be written must not change what the command does.
        let _ = self.target.write(level, line);
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

#[cfg(test)]
mod tests {
    use super::*;

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
