//! Writing to standard output.

use std::io::{Write, stdout};

use coracle::{Error, ErrorKind};
use serde::Serialize;

/// Writes the text as it is.
///
/// # Errors
/// The write failed; a reader that went away counts.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::io("write to standard output", &source))
}

/// Writes the value as JSON in one line.
///
/// # Errors
/// As [`text`].
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    encoded(serde_json::to_string(value))
}

/// Writes the value as JSON, indented by two spaces.
///
/// # Errors
/// As [`text`].
pub(crate) fn indented_json<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    encoded(serde_json::to_string_pretty(value))
}

fn encoded(json: serde_json::Result<String>) -> Result<(), Error> {
    let mut json =
        json.map_err(|error| Error::new(ErrorKind::System, format!("encode as JSON: {error}")))?;
    json.push('\n');
    text(&json)
}

/// Writes rows in columns, the way runc does: at least 12 wide, three spaces between.
///
/// # Errors
/// As [`text`].
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> Result<(), Error> {
    text(&columns(rows))
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [9; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut pad = 0;
        for (width, cell) in widths.iter().zip(row) {
            out.extend(std::iter::repeat_n(' ', pad));
            out.push_str(cell);
            pad = width + 3 - cell.chars().count();
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [["ID".to_owned(), "PID".to_owned()], ["a-long-identifier".to_owned(), "1".to_owned()]];
        assert_eq!(columns(&rows), "ID                  PID\na-long-identifier   1\n");
        assert_eq!(columns(&[["ID".to_owned(), "x".to_owned()]]), "ID          x\n");
    }
}
