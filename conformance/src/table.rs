//! The comparison table: the rows of the checklist against the results of several runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::cases;
use crate::checklist::{self, Row, SECTIONS};
use crate::results::{self, Ending, Run};

/// All runs of one runtime.
struct Column<'a> {
    title: &'a str,
    runs: Vec<&'a Run>,
}

/// What the runs say about a row.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// Every case passed wherever it could run.
    Kept,
    /// Cases failed: their names and the reasons.
    Broken(Vec<(String, String)>),
    /// No case could run; the reasons.
    Unseen(String),
}

/// Reads the files and writes the table as Markdown.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn make(files: &[PathBuf]) -> Result<String, String> {
    let runs = files.iter().map(|path| results::read(path)).collect::<Result<Vec<_>, _>>()?;
    if runs.is_empty() {
        return Err("table needs files of --results".to_owned());
    }
    Ok(markdown(&runs, &proofs()))
}

/// The names of the cases of each row.
fn proofs() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut map: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in cases::selected(&[]) {
        for id in case.rows {
            map.entry(*id).or_default().push(case.name);
        }
    }
    map
}

fn markdown(runs: &[Run], proofs: &BTreeMap<&str, Vec<&str>>) -> String {
    let columns = columns(runs);
    let mut text = HEAD.to_owned();
    for (letter, title) in SECTIONS {
        text += &format!("\n## {letter}. {title}\n\n| rule |");
        text += &columns.iter().map(|column| format!(" {} |", column.title)).collect::<String>();
        text += "\n| --- |";
        text += &" --- |".repeat(columns.len());
        text += "\n";
        for row in checklist::rows().filter(|row| row.section == *letter) {
            let names = proofs.get(row.id).map(Vec::as_slice).unwrap_or_default();
            text += &format!("| **{}**: {} |", cell(row.id), cell(row.rule));
            for column in &columns {
                text += match column.judge(names) {
                    Mark::Kept => " ✔ |",
                    Mark::Broken(_) => " ✘ |",
                    Mark::Unseen(_) => " – |",
                };
            }
            text += "\n";
        }
    }
    for column in &columns {
        text += &column.differences(proofs);
    }
    text + &summary(runs) + &nowhere(&columns)
}

const HEAD: &str = "\
# The runtime specification, row by row

Made by `build/conformance-table`; do not edit. A row is ✔ when every case of it passed wherever it
could run, ✘ when one failed, – when none could run. `coracle-conformance --rows` names the cases
of each row. A case that fails for the words of an error only, which engines look for and the
specification leaves open, does not count against its row.
";

/// Runtimes in the order of their first run.
fn columns(runs: &[Run]) -> Vec<Column<'_>> {
    let mut columns: Vec<Column<'_>> = Vec::new();
    for run in runs {
        match columns.iter_mut().find(|column| column.title == run.runtime) {
            Some(column) => column.runs.push(run),
            None => columns.push(Column { title: &run.runtime, runs: vec![run] }),
        }
    }
    columns
}

impl Column<'_> {
    fn endings<'a>(&'a self, case: &'a str) -> impl Iterator<Item = &'a Ending> {
        self.runs.iter().filter_map(move |run| run.cases.get(case))
    }

    fn judge(&self, names: &[&str]) -> Mark {
        let mut passed = false;
        let mut broken = BTreeSet::new();
        let mut reasons = BTreeSet::new();
        for name in names {
            for ending in self.endings(name) {
                match ending {
                    Ending::Passed => passed = true,
                    // The specification leaves the words of an error to the runtime.
                    Ending::Failed(reason) if words_only(reason) => passed = true,
                    Ending::Failed(reason) => {
                        broken.insert(((*name).to_owned(), reason.clone()));
                    }
                    Ending::Skipped(reason) => {
                        reasons.insert(reason.as_str());
                    }
                }
            }
        }
        if !broken.is_empty() {
            return Mark::Broken(broken.into_iter().collect());
        }
        if passed {
            return Mark::Kept;
        }
        if reasons.is_empty() {
            reasons.insert("no case ran");
        }
        Mark::Unseen(reasons.into_iter().collect::<Vec<_>>().join("; "))
    }

    /// Why rows are not ✔, and what is broken besides the rows.
    fn differences(&self, proofs: &BTreeMap<&str, Vec<&str>>) -> String {
        let mut text = String::new();
        let mut told = BTreeSet::new();
        for Row { id, .. } in checklist::rows() {
            let names = proofs.get(id).map(Vec::as_slice).unwrap_or_default();
            match self.judge(names) {
                Mark::Kept => {}
                Mark::Unseen(reason) => text += &format!("- **{id}** –: {reason}\n"),
                Mark::Broken(list) => {
                    text += &format!("- **{id}** ✘\n");
                    for (case, reason) in list {
                        text += &format!("  - `{case}`: {reason}\n");
                        told.insert(case);
                    }
                }
            }
        }
        let others = self.broken_besides(&told);
        if !others.is_empty() {
            text += "- besides the rows ✘\n";
            for (case, reason) in others {
                text += &format!("  - `{case}`: {reason}\n");
            }
        }
        if text.is_empty() {
            return String::new();
        }
        format!("\n## Where {} differs\n\n{text}", self.title)
    }

    fn broken_besides(&self, told: &BTreeSet<String>) -> BTreeSet<(&str, &str)> {
        let all = self.runs.iter().flat_map(|run| &run.cases);
        all.filter(|(case, _)| !told.contains(*case))
            .filter_map(|(case, ending)| match ending {
                Ending::Failed(reason) => Some((case.as_str(), reason.as_str())),
                Ending::Passed | Ending::Skipped(_) => None,
            })
            .collect()
    }
}

fn summary(runs: &[Run]) -> String {
    let mut text = "\n## What ran where\n\n| runtime | where | passed | failed | skipped |\n\
                    | --- | --- | ---: | ---: | ---: |\n"
        .to_owned();
    for run in runs {
        let count = |wanted: fn(&Ending) -> bool| run.cases.values().filter(|e| wanted(e)).count();
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            run.runtime,
            run.place,
            count(|ending| *ending == Ending::Passed),
            count(|ending| matches!(ending, Ending::Failed(_))),
            count(|ending| matches!(ending, Ending::Skipped(_))),
        );
    }
    text
}

/// The cases that the first runtime could run on none of the machines.
fn nowhere(columns: &[Column<'_>]) -> String {
    let Some(column) = columns.first() else { return String::new() };
    let mut text = String::new();
    for case in cases::selected(&[]) {
        let ran = column.endings(case.name).any(|ending| !matches!(ending, Ending::Skipped(_)));
        if ran {
            continue;
        }
        let reasons: BTreeSet<&str> = column
            .endings(case.name)
            .filter_map(|ending| match ending {
                Ending::Skipped(reason) => Some(reason.as_str()),
                Ending::Passed | Ending::Failed(_) => None,
            })
            .collect();
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        text += &format!("- `{}`: {reasons}\n", case.name);
    }
    if text.is_empty() {
        return format!("\n{} ran every case on at least one machine.\n", column.title);
    }
    format!("\nCases that {} could run on none of these machines:\n\n{text}", column.title)
}

/// The runtime does what it must, but says it in other words than engines look for.
fn words_only(reason: &str) -> bool {
    reason.starts_with("words:")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Mark, columns, markdown, summary};
    use crate::results::{Ending, Run};

    fn run(runtime: &str, place: &str, cases: &[(&str, Ending)]) -> Run {
        let cases = cases.iter().map(|(name, ending)| ((*name).to_owned(), ending.clone()));
        Run { runtime: runtime.to_owned(), place: place.to_owned(), cases: cases.collect() }
    }

    fn failed(reason: &str) -> Ending {
        Ending::Failed(reason.to_owned())
    }

    fn skipped(reason: &str) -> Ending {
        Ending::Skipped(reason.to_owned())
    }

    #[test]
    fn a_row_is_judged_over_all_places() {
        let runs = [
            run("a 1", "host", &[("g/x", skipped("no v2")), ("g/y", Ending::Passed)]),
            run("b 2", "host", &[("g/x", skipped("no v2"))]),
            run("a 1", "VM", &[("g/x", Ending::Passed), ("g/y", skipped("no v1"))]),
        ];
        let columns = columns(&runs);
        assert_eq!(columns.len(), 2);
        assert_eq!(columns[0].judge(&["g/x", "g/y"]), Mark::Kept);
        assert_eq!(columns[1].judge(&["g/x", "g/y"]), Mark::Unseen("no v2".to_owned()));
        assert_eq!(columns[1].judge(&["g/y"]), Mark::Unseen("no case ran".to_owned()));
    }

    #[test]
    fn one_failure_anywhere_breaks_a_row() {
        let runs = [
            run("a 1", "host", &[("g/x", Ending::Passed), ("g/y", Ending::Passed)]),
            run("a 1", "VM", &[("g/x", failed("why")), ("g/y", Ending::Passed)]),
        ];
        let mark = columns(&runs)[0].judge(&["g/x", "g/y"]);
        assert_eq!(mark, Mark::Broken(vec![("g/x".to_owned(), "why".to_owned())]));
    }

    #[test]
    fn words_do_not_break_a_row() {
        let runs = [run("a 1", "host", &[("g/x", failed("words: others"))])];
        assert_eq!(columns(&runs)[0].judge(&["g/x"]), Mark::Kept);
    }

    #[test]
    fn the_document_has_every_row_and_each_reason() {
        let runs = [
            run("a 1", "host", &[("g/x", Ending::Passed), ("g/other", failed("besides"))]),
            run("b 2", "host", &[("g/x", failed("because"))]),
        ];
        let proofs = BTreeMap::from([("hooks.env", vec!["g/x"])]);
        let text = markdown(&runs, &proofs);
        assert!(text.contains("\n| rule | a 1 | b 2 |\n| --- | --- | --- |\n"));
        assert!(text.contains("\n| **hooks.env**: exactly these variables | ✔ | ✘ |\n"));
        assert!(text.contains("- **hooks.env** ✘\n  - `g/x`: because\n"));
        assert!(text.contains("- besides the rows ✘\n  - `g/other`: besides\n"));
        assert!(text.contains("- **hooks.args** –: no case ran\n"));
        let rows = text.lines().filter(|line| line.starts_with("| **")).count();
        assert_eq!(rows, crate::checklist::rows().count());
    }

    #[test]
    fn the_summary_counts_each_run() {
        let text = summary(&[run(
            "a 1",
            "VM, root",
            &[("g/x", Ending::Passed), ("g/y", failed("")), ("g/z", Ending::Passed)],
        )]);
        assert!(text.ends_with("| a 1 | VM, root | 2 | 1 | 0 |\n"), "{text}");
    }
}
