//! The rules of the runtime specification for Linux, each a row of the comparison table.
//!
//! A case names the rows that it proves. Ids are field paths where the specification has a field.

mod general;
mod linux;
mod mounts;
mod process;
mod resources;
mod security;

use crate::cases;

/// One rule of the specification, or one that it leaves to the runtime and that engines rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its section: a letter from A to I.
    pub(crate) section: char,
    /// A short name that never changes.
    pub(crate) id: &'static str,
    /// What a runtime must do.
    pub(crate) rule: &'static str,
}

/// The sections and what they are about.
pub(crate) const SECTIONS: &[(char, &str)] = &[
    ('A', "General rules and operations"),
    ('B', "Root, host name, mounts"),
    ('C', "Process"),
    ('D', "Hooks"),
    ('E', "Namespaces, ids, devices"),
    ('F', "Resources and cgroups"),
    ('G', "Security"),
    ('H', "File descriptors and the features document"),
    ('I', "Order of the set-up"),
];

const fn row(section: char, id: &'static str, rule: &'static str) -> Row {
    Row { section, id, rule }
}

/// All rows, in the order of the table.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let parts: [&'static [Row]; 6] =
        [general::ROWS, mounts::ROWS, process::ROWS, linux::ROWS, resources::ROWS, security::ROWS];
    parts.into_iter().flatten()
}

/// Every row with its cases, for readers.
pub(crate) fn overview() -> String {
    let mut text = String::new();
    for (section, title) in SECTIONS {
        text += &format!("{section}. {title}\n");
        for row in rows().filter(|row| row.section == *section) {
            text += &format!("  {}: {}\n", row.id, row.rule);
            for case in cases::selected(&[]).filter(|case| case.rows.contains(&row.id)) {
                text += &format!("    {}\n", case.name);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{SECTIONS, rows};
    use crate::cases;

    #[test]
    fn ids_are_unique_and_sections_in_order() {
        let mut seen = BTreeSet::new();
        let mut last = 'A';
        for row in rows() {
            assert!(seen.insert(row.id), "{} is there twice", row.id);
            assert!(!row.rule.is_empty(), "{}", row.id);
            assert!(row.section >= last, "{} is out of order", row.id);
            assert!(SECTIONS.iter().any(|(letter, _)| *letter == row.section), "{}", row.id);
            last = row.section;
        }
    }

    #[test]
    fn every_row_has_a_case() {
        for row in rows() {
            let proved = cases::selected(&[]).any(|case| case.rows.contains(&row.id));
            assert!(proved, "no case proves {}", row.id);
        }
    }

    #[test]
    fn cases_name_rows_that_exist() {
        let known: BTreeSet<_> = rows().map(|row| row.id).collect();
        for case in cases::selected(&[]) {
            for id in case.rows {
                assert!(known.contains(id), "{}: there is no row {id:?}", case.name);
            }
        }
    }
}
