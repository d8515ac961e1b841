//! Known differences of a runtime.

use std::collections::BTreeMap;
use std::path::Path;

use crate::runner::{Outcome, Verdict};

/// Names of cases that are known to fail, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Expected(BTreeMap<String, String>);

/// Reads `case-name: reason` lines; `#` starts a comment line. A reason that starts with
/// `sometimes:` allows both outcomes (a race of the runtime).
///
/// # Errors
/// The file cannot be read, or a line has no reason.
pub(crate) fn load(path: &Path) -> Result<Expected, String> {
    let content =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
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
            let reason = self.reason(outcome.case.name);
            match outcome.verdict {
                Verdict::Passed => reason.is_none_or(sometimes),
                Verdict::Failed(_) => reason.is_some(),
                Verdict::Skipped(_) => true,
            }
        })
    }
}

/// The case fails in some runs only.
pub(crate) fn sometimes(reason: &str) -> bool {
    reason.starts_with("sometimes:")
}
