//! Printing the outcomes.

use std::io::{self, Write};
use std::str::FromStr;

use crate::expect::{Expected, sometimes};
use crate::runner::{Outcome, Verdict};

/// The form of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// One line a case, failures explained below it.
    #[default]
    Pretty,
    /// Test Anything Protocol, version 13.
    Tap,
    /// JUnit XML.
    Junit,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "tap" => Ok(Self::Tap),
            "junit" => Ok(Self::Junit),
            other => Err(format!("unknown format {other:?}: pretty, tap or junit")),
        }
    }
}

/// Prints everything; the summary is the last line.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn print(format: Format, outcomes: &[Outcome], expected: &Expected) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Pretty => pretty(&mut out, outcomes, expected)?,
        Format::Tap => tap(&mut out, outcomes, expected)?,
        Format::Junit => {
            junit(&mut out, outcomes)?;
            // The document must stay well-formed.
            return writeln!(io::stderr(), "{}", summary(outcomes));
        }
    }
    writeln!(out, "{}", summary(outcomes))
}

fn summary(outcomes: &[Outcome]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| {
        outcomes.iter().filter(|outcome| wanted(&outcome.verdict)).count()
    };
    format!(
        "{} passed, {} failed, {} skipped",
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_))),
    )
}

fn pretty(out: &mut dyn Write, outcomes: &[Outcome], expected: &Expected) -> io::Result<()> {
    for Outcome { case, verdict, elapsed } in outcomes {
        let known = expected.reason(case.name);
        let time = elapsed.as_secs_f32();
        match (verdict, known) {
            (Verdict::Passed, Some(reason)) if !sometimes(reason) => {
                writeln!(out, "FIXED {} passes, but is listed as: {reason}", case.name)?;
            }
            (Verdict::Passed, None | Some(_)) => {
                writeln!(out, "ok    {:<46} {time:>5.2}s", case.name)?;
            }
            (Verdict::Failed(_), Some(reason)) => writeln!(out, "known {}: {reason}", case.name)?,
            (Verdict::Failed(text), None) => {
                writeln!(out, "FAIL  {} ({})", case.name, case.promise)?;
                for line in text.lines() {
                    writeln!(out, "      | {line}")?;
                }
            }
            (Verdict::Skipped(why), _) => writeln!(out, "skip  {}: {why}", case.name)?,
        }
    }
    Ok(())
}

fn tap(out: &mut dyn Write, outcomes: &[Outcome], expected: &Expected) -> io::Result<()> {
    writeln!(out, "TAP version 13\n1..{}", outcomes.len())?;
    for (index, Outcome { case, verdict, .. }) in outcomes.iter().enumerate() {
        let number = index + 1;
        match verdict {
            Verdict::Passed => writeln!(out, "ok {number} - {}", case.name)?,
            Verdict::Skipped(why) => writeln!(out, "ok {number} - {} # SKIP {why}", case.name)?,
            Verdict::Failed(text) => {
                // TAP calls a failure that is known a TODO; the word is part of the format.
                let known = expected
                    .reason(case.name)
                    .map(|reason| format!(" # TODO {reason}"))
                    .unwrap_or_default();
                writeln!(out, "not ok {number} - {}{known}", case.name)?;
                writeln!(out, "  ---\n  promise: {:?}\n  message: |", case.promise)?;
                for line in text.lines() {
                    writeln!(out, "    {line}")?;
                }
                writeln!(out, "  ...")?;
            }
        }
    }
    Ok(())
}

fn junit(out: &mut dyn Write, outcomes: &[Outcome]) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(out, r#"<testsuite name="conformance" tests="{}">"#, outcomes.len())?;
    for Outcome { case, verdict, elapsed } in outcomes {
        let (group, name) = case.name.split_once('/').unwrap_or(("", case.name));
        let time = elapsed.as_secs_f32();
        write!(out, r#"  <testcase classname="{group}" name="{name}" time="{time:.3}">"#)?;
        match verdict {
            Verdict::Passed => {}
            Verdict::Skipped(why) => write!(out, r#"<skipped message="{}"/>"#, escape(why))?,
            Verdict::Failed(text) => write!(
                out,
                r#"<failure message="{}">{}</failure>"#,
                escape(case.promise),
                escape(text)
            )?,
        }
        writeln!(out, "</testcase>")?;
    }
    writeln!(out, "</testsuite>")
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            other if other.is_control() && other != '\n' => " ".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{junit, pretty, summary, tap};
    use crate::case::Case;
    use crate::expect::Expected;
    use crate::runner::{Outcome, Verdict};

    fn outcomes() -> Vec<Outcome> {
        let verdicts = [
            ("a/good", Verdict::Passed),
            ("a/bad", Verdict::Failed("<1 & 2>".to_owned())),
            ("a/not", Verdict::Skipped("needs root".to_owned())),
        ];
        let outcome = |(name, verdict)| Outcome {
            case: Case::new(name, "a promise", |_| Ok(())),
            verdict,
            elapsed: Duration::from_millis(1500),
        };
        verdicts.into_iter().map(outcome).collect()
    }

    #[test]
    fn the_summary_counts_each_kind() {
        assert_eq!(summary(&outcomes()), "1 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn tap_has_a_plan_and_a_line_a_case() {
        let mut out = Vec::new();
        tap(&mut out, &outcomes(), &Expected::default()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("TAP version 13\n1..3\nok 1 - a/good\nnot ok 2 - a/bad\n"));
        assert!(text.ends_with("ok 3 - a/not # SKIP needs root\n"));
    }

    #[test]
    fn junit_escapes_text() {
        let mut out = Vec::new();
        junit(&mut out, &outcomes()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#"<testcase classname="a" name="bad" time="1.500">"#));
        assert!(text.contains("&lt;1 &amp; 2&gt;</failure>"));
        assert!(text.contains(r#"<skipped message="needs root"/>"#));
    }

    #[test]
    fn pretty_shows_why() {
        let mut out = Vec::new();
        pretty(&mut out, &outcomes(), &Expected::default()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("FAIL  a/bad (a promise)\n      | <1 & 2>\n"));
    }
}
