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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Expected, load};
    use crate::case::Case;
    use crate::runner::{Outcome, Verdict};

    fn expected(text: &str) -> Result<Expected, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    fn outcome(name: &'static str, verdict: Verdict) -> Outcome {
        Outcome { case: Case::new(name, "", |_| Ok(())), verdict, elapsed: Duration::ZERO }
    }

    #[test]
    fn a_line_needs_a_reason() {
        assert!(expected("# comment\n\na/b: reason\n").is_ok());
        assert!(expected("a/b\n").unwrap_err().ends_with(":1: no reason"));
    }

    #[test]
    fn failures_must_be_the_listed_ones() {
        let list = expected("a/known: why\na/race: sometimes: a race\n").unwrap();
        let failed = || Verdict::Failed(String::new());
        let known = || outcome("a/known", failed());
        assert!(list.matches(&[known(), outcome("a/other", Verdict::Passed)]));
        assert!(!list.matches(&[known(), outcome("a/other", failed())]));
        assert!(!list.matches(&[outcome("a/known", Verdict::Passed)]));
        assert!(list.matches(&[outcome("a/known", Verdict::Skipped(String::new()))]));
        assert!(list.matches(&[outcome("a/race", failed())]));
        assert!(list.matches(&[outcome("a/race", Verdict::Passed)]));
    }

    #[test]
    fn shipped_lists_name_cases_that_exist() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("expect");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            for name in load(&path).unwrap().0.keys() {
                let mut all = [false, true].into_iter().flat_map(|s| crate::cases::chosen(s, &[]));
                let known = all.any(|case| case.name == name);
                assert!(known, "{}: {name} is no case", path.display());
            }
        }
    }
}
