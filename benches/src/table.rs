//! Aligned text tables.

/// Rows of cells; the first row is the head. Cells of numbers align to the right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a head.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The text, one line per row, two spaces between columns, no trailing spaces.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        let numeric: Vec<bool> = (0..columns).map(|column| self.is_numeric(column)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), numeric) in row.iter().zip(&widths).zip(&numeric) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                line.push_str(&if *numeric { padding + cell } else { cell.clone() + &padding });
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &String> {
        self.rows.iter().filter_map(move |row| row.get(column))
    }

    fn width(&self, column: usize) -> usize {
        self.cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut body = self.cells(column).skip(1).filter(|cell| !cell.is_empty()).peekable();
        body.peek().is_some()
            && body.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    }
}

/// A number with three significant digits, without an exponent.
pub(crate) fn format(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, format};

    #[test]
    fn text_aligns_left_and_numbers_right() {
        let mut table = Table::new(&["row", "min"]);
        table.push(vec!["create".into(), "9.5".into()]);
        table.push(vec!["é".into(), "120".into()]);
        assert_eq!(table.render(), "row     min\ncreate  9.5\né       120\n");
    }

    #[test]
    fn empty_cells_leave_no_trailing_spaces() {
        let mut table = Table::new(&["a", "note"]);
        table.push(vec!["1".into(), String::new()]);
        assert_eq!(table.render(), "a  note\n1\n");
    }

    #[test]
    fn three_significant_digits() {
        assert_eq!(format(1234.5), "1234");
        assert_eq!(format(12.345), "12.3");
        assert_eq!(format(1.239), "1.24");
        assert_eq!(format(0.12345), "0.123");
    }
}
