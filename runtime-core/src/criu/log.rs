//! criu's log: the lines that say what has failed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// How many lines go into an error. The cause comes first, and what follows from it afterwards.
const LINES: usize = 3;
/// How much of a log is read: its end.
const END: u64 = 256 * 1024;

/// An error with the failing lines of a log.
pub(super) fn failure(message: &str, log: &Path) -> Error {
    let lines = failing(&String::from_utf8_lossy(&end(log).unwrap_or_default()));
    let error = Error::new(ErrorKind::System, format!("{message}, log file:")).with_path(log);
    if lines.is_empty() { error } else { error.with_hint(lines.join("; ")) }
}

/// Takes the log of an earlier request away, which an error could show in the place of its own.
pub(super) fn clear(log: &Path) {
    let _absent = std::fs::remove_file(log);
}

fn end(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first lines with errors, without their times.
fn failing(log: &str) -> Vec<String> {
    let wanted = log.lines().filter(|line| line.contains("Error (") && !is_harmless(line));
    wanted.take(LINES).map(|line| without_time(line).trim().to_owned()).collect()
}

/// Programs that criu runs write without.
fn without_time(line: &str) -> &str {
    match line.split_once(") ") {
        Some((time, text)) if time.starts_with('(') => text,
        _ => line,
    }
}

/// criu raises its own limits where it may, and goes on where it may not.
fn is_harmless(line: &str) -> bool {
    line.contains("rlimit: Can't setup RLIMIT_NOFILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_errors_are_shown_without_their_times() {
        let log = "(00.000001) Version: 4.1\n\
                   (00.060430) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self\n\
                   Error (criu/a.c:1): a\nnoise Error\n(00.2)      7: Error (criu/b.c:2): b\n\
                   (00.3) Error (criu/c.c:3): c\n(00.4) Error (criu/d.c:4): d\n";
        let expected =
            ["Error (criu/a.c:1): a", "7: Error (criu/b.c:2): b", "Error (criu/c.c:3): c"];
        assert_eq!(failing(log), expected);
        assert!(failing("").is_empty());
    }

    #[test]
    fn an_error_has_only_the_end_of_the_log_and_none_of_an_earlier_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("dump.log");
        let filler = "x".repeat(usize::try_from(END).expect("a length"));
        std::fs::write(&log, format!("Error (a): early\n{filler}\nError (b): late\n"))
            .expect("log");
        assert_eq!(failure("it failed", &log).hint(), Some("Error (b): late"));
        clear(&log);
        assert_eq!(failure("it failed", &log).hint(), None);
        clear(&log);
    }

    #[test]
    fn a_log_that_is_missing_is_named_all_the_same() {
        let text = failure("criu failed", Path::new("/no/dump.log")).to_string();
        assert_eq!(text, "criu failed, log file: /no/dump.log");
    }
}
