//! Log lines for containerd, in the fifo `log` of the bundle.
//!
//! containerd copies them to its own log as they are, so they look like its own.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::fcntl::OFlag;

/// What each line tells besides time, level and message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The namespace of containerd.
    pub(crate) namespace: String,
    /// The shim's id: the first container of its group.
    pub(crate) id: String,
}

/// Makes the fifo the target of the `log` crate and the standard error of the process, in lines as
/// containerd's own (`time="…" level=info msg="…"`). Never blocks: what the fifo does not take is dropped.
///
/// # Errors
/// The fifo cannot be opened, or there is a target already.
pub(crate) fn begin(fifo: &Path, origin: &Origin, level: LevelFilter) -> io::Result<()> {
    let lines = Lines::open(fifo, origin)?;
    // For the message of a panic, which no logger sees.
    nix::unistd::dup2_stderr(&lines.fifo)?;
    log::set_boxed_logger(Box::new(lines)).map_err(io::Error::other)?;
    log::set_max_level(level);
    Ok(())
}

#[derive(Debug)]
struct Lines {
    fifo: File,
    /// The end of each line.
    origin: String,
}

impl Lines {
    fn open(fifo: &Path, origin: &Origin) -> io::Result<Self> {
        // For reading too: it can then be opened while containerd is away, and what is written
        // meanwhile waits for it.
        let fifo = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(fifo)?;
        let mut end = String::new();
        for (key, value) in [("namespace", &origin.namespace), ("id", &origin.id)] {
            // Writing to a string cannot fail.
            let _ = write!(end, " {key}={}", Value(value));
        }
        end.push('\n');
        Ok(Self { fifo, origin: end })
    }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(record.level(), &record.args().to_string(), SystemTime::now());
        // At once, so that lines of several shims do not mix (PIPE_BUF); a full fifo takes none of it.
        let _ = (&self.fifo).write(format!("{line}{}", self.origin).as_bytes());
    }

    fn flush(&self) {}
}

fn line(level: Level, message: &str, time: SystemTime) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    format!("time=\"{}\" level={level} msg={}", coracle::rfc3339(time), Value(message))
}

/// A value in quotes where it needs them, by the rules of the Go library logrus.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return to.write_str(self.0);
        }
        to.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(to, "\\{c}")?,
                '\n' => to.write_str("\\n")?,
                '\t' => to.write_str("\\t")?,
                '\r' => to.write_str("\\r")?,
                c if c.is_control() => write!(to, "\\u{:04x}", u32::from(c))?,
                c => to.write_char(c)?,
            }
        }
        to.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::time::{Duration, UNIX_EPOCH};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    fn lines(directory: &Path) -> Lines {
        let path = directory.join("log");
        mkfifo(&path, Mode::S_IRWXU).expect("a fifo");
        let origin = Origin { namespace: "k8s.io".to_owned(), id: "a b".to_owned() };
        Lines::open(&path, &origin).expect("opened without a reader")
    }

    #[test]
    fn lines_are_those_of_containerd() {
        let moment = UNIX_EPOCH + Duration::from_secs(1);
        let text = line(Level::Warn, "say \"x\"\n\u{1}", moment);
        let expected =
            "time=\"1970-01-01T00:00:01.000000000Z\" level=warning msg=\"say \\\"x\\\"\\n\\u0001\"";
        assert_eq!(text, expected);
        assert!(line(Level::Info, "word", moment).ends_with("level=info msg=word"));
        assert_eq!(Value("").to_string(), "\"\"");
    }

    #[test]
    fn a_line_is_kept_until_containerd_reads_and_dropped_when_the_fifo_is_full() {
        let directory = tempfile::tempdir().expect("a directory");
        let lines = lines(directory.path());
        log::set_max_level(LevelFilter::Info);
        let say = |text: &str, level| {
            lines.log(&Record::builder().args(format_args!("{text}")).level(level).build());
        };
        say("first", Level::Info);
        say("hidden", Level::Debug);
        let long = "x".repeat(4000);
        for _ in 0..100 {
            say(&long, Level::Error);
        }
        let path = directory.path().join("log");
        let mut reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .expect("the reader");
        drop(lines);
        let mut all = String::new();
        reader.read_to_string(&mut all).expect("text");
        let rows: Vec<&str> = all.lines().collect();
        assert!(
            rows[0].ends_with("level=info msg=first namespace=k8s.io id=\"a b\""),
            "{}",
            rows[0]
        );
        assert!(rows.len() > 10 && rows.len() < 20, "{} lines", rows.len());
        for row in &rows[1..] {
            assert!(
                row.ends_with("namespace=k8s.io id=\"a b\"") && row.len() > 4000,
                "whole lines"
            );
        }
    }
}
