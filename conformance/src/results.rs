//! The outcomes of one run as a file, for the comparison table.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::expect::Expected;
use crate::host::Host;
use crate::runner::{Outcome, Verdict};

/// One run of the suite.
#[derive(Debug)]
pub(crate) struct Run {
    /// The runtime's name and version.
    pub(crate) runtime: String,
    /// Machine, user, kernel and cgroup layout.
    pub(crate) place: String,
    /// Every case of the run by its name.
    pub(crate) cases: BTreeMap<String, Ending>,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The promise was kept.
    Passed,
    /// It was broken; the known reason, or else the first line of what was seen.
    Failed(String),
    /// It could not run; why.
    Skipped(String),
}

/// Writes a run: a first line about the runtime and the place, then a line for each case.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(
    path: &Path,
    (runtime, machine, systemd): (&Path, &str, bool),
    outcomes: &[Outcome],
    expected: &Expected,
) -> Result<(), String> {
    let place = place(machine, &Host::detect("", systemd));
    let head = json!({ "runtime": title(runtime), "place": place });
    let mut text = format!("{head}\n");
    for Outcome { case, verdict, .. } in outcomes {
        let known = expected.reason(case.name);
        let (outcome, reason) = match (verdict, known) {
            // A race that was won this time is still there.
            (Verdict::Passed, Some(reason)) if crate::expect::sometimes(reason) => {
                ("failed", reason)
            }
            (Verdict::Passed, _) => ("passed", ""),
            (Verdict::Failed(_), Some(reason)) => ("failed", reason),
            (Verdict::Failed(seen), None) => ("failed", seen.lines().next().unwrap_or_default()),
            (Verdict::Skipped(why), _) => ("skipped", why.as_str()),
        };
        let line = json!({ "case": case.name, "outcome": outcome, "reason": reason });
        text += &format!("{line}\n");
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// The file cannot be read or is not such a file.
pub(crate) fn read(path: &Path) -> Result<Run, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text).ok_or_else(|| format!("{}: not a file of --results", path.display()))
}

fn parse(text: &str) -> Option<Run> {
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    let head = lines.next()?.ok()?;
    let word = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let mut cases = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let reason = word(&line, "reason")?;
        let ending = match word(&line, "outcome")?.as_str() {
            "passed" => Ending::Passed,
            "failed" => Ending::Failed(reason),
            "skipped" => Ending::Skipped(reason),
            _ => return None,
        };
        cases.insert(word(&line, "case")?, ending);
    }
    Some(Run { runtime: word(&head, "runtime")?, place: word(&head, "place")?, cases })
}

/// `NAME VERSION` from the first line of `--version`, which is `NAME version VERSION`.
fn title(runtime: &Path) -> String {
    let output = Command::new(runtime).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    // A shim says its name and a colon, and then its version on a line of its own.
    let lines = text.lines().take(if text.starts_with("containerd-shim") { 2 } else { 1 });
    let line = lines.map(|line| line.replace([':'], " ")).collect::<Vec<_>>().join(" ");
    let line = line.replace("Version", "");
    let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "version").collect();
    if words.is_empty() { runtime.display().to_string() } else { words.join(" ") }
}

fn place(machine: &str, host: &Host) -> String {
    let user = if host.root { "root" } else { "ordinary user" };
    let (major, minor) = host.kernel;
    let cgroups = match (host.v2, Path::new("/sys/fs/cgroup/unified").exists()) {
        (true, _) => "cgroup v2",
        (false, true) => "hybrid cgroups",
        (false, false) => "cgroup v1",
    };
    let driver = if host.systemd.is_some() { " by systemd" } else { "" };
    format!("{machine}, {user}, Linux {major}.{minor}, {cgroups}{driver}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Ending, parse, read, title, write};
    use crate::case::Case;
    use crate::expect::{self, Expected};
    use crate::runner::{Outcome, Verdict};

    fn outcome(name: &'static str, verdict: Verdict) -> Outcome {
        Outcome { case: Case::new(name, "", |_| Ok(())), verdict, elapsed: Duration::ZERO }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::write(&list, "a/known: why\na/race: sometimes: late\n").unwrap();
        let path = dir.path().join("results");
        let outcomes = [
            outcome("a/good", Verdict::Passed),
            outcome("a/race", Verdict::Passed),
            outcome("a/known", Verdict::Failed("text".to_owned())),
            outcome("a/bad", Verdict::Failed("first\nsecond".to_owned())),
            outcome("a/not", Verdict::Skipped("needs root".to_owned())),
        ];
        let expected = expect::load(&list).unwrap();
        write(&path, (Path::new("/nothing"), "a box", false), &outcomes, &expected).unwrap();
        let run = read(&path).unwrap();
        assert_eq!(run.runtime, "/nothing");
        assert!(run.place.starts_with("a box, ") && run.place.contains("cgroup"), "{}", run.place);
        let failed = |reason: &str| Ending::Failed(reason.to_owned());
        assert_eq!(run.cases["a/good"], Ending::Passed);
        assert_eq!(run.cases["a/race"], failed("sometimes: late"));
        assert_eq!(run.cases["a/known"], failed("why"));
        assert_eq!(run.cases["a/bad"], failed("first"));
        assert_eq!(run.cases["a/not"], Ending::Skipped("needs root".to_owned()));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(parse("").is_none());
        assert!(parse("{\"runtime\":\"a\"}").is_none());
        assert!(parse("{\"runtime\":\"a\",\"place\":\"b\"}\n{\"case\":\"c\"}").is_none());
        assert!(
            write(Path::new("/proc/no"), (Path::new("/"), "", false), &[], &Expected::default())
                .is_err()
        );
    }

    #[test]
    fn a_runtime_names_itself() {
        assert_eq!(title(Path::new("/nothing/there")), "/nothing/there");
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "#!/bin/sh\necho name version 1.2\necho spec: 1.0\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        assert_eq!(title(&program), "name 1.2");
    }
}
