//! Known differences of a runtime.

use std::collections::BTreeMap;
use std::path::Path;

use crate::runner::{Outcome, Verdict};

/// Names of cases that are known to fail, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Expected(BTreeMap<String, String>);

/// Reads `case-name: reason` lines; `#` starts a comment line.
///
/// # Errors
/// The file cannot be read, or a line has no reason.
pub(crate) fn load(path: &Path) -> Result<Expected, String> {
    let content = std::fs::read_to_string(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut list = BTreeMap::new();
    for (index, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(": ") {
            Some((name, reason)) => list.insert(name.to_owned(), reason.trim().to_owned()),
            None => return Err(format!("{}:{}: no reason", path.display(), index + 1)),
        };
    }
    Ok(Expected(list))
}

impl Expected {
    /// The reason why this case is known to fail.
    pub(crate) fn reason(&self, case: &str) -> Option<&str> {
        self.0.get(case).map(String::as_str)
    }

    /// The failing cases are exactly the listed ones (among those that ran).
    pub(crate) fn matches(&self, outcomes: &[Outcome]) -> bool {
        outcomes.iter().all(|outcome| {
            let listed = self.reason(outcome.case.name).is_some();
            match outcome.verdict {
                Verdict::Passed => !listed,
                Verdict::Failed(_) => listed,
                Verdict::Skipped(_) => true,
            }
        })
    }
}
