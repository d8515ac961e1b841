//! The manual pages, read by the programs that show them.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// A directory with the pages, removed at the end.
struct Pages(PathBuf);

impl Pages {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("coracle-manual-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        let pages = Self(path);
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        let output = command.arg("manual").arg(&pages.0).output().expect("coracle runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        pages
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn there_is_a_page_for_the_program_and_one_for_each_command() {
    let pages = Pages::new("shape");
    let files = pages.files();
    assert!(files.len() > 15, "{files:?}");
    for name in ["coracle.1", "coracle-run.1", "coracle-wait.1", "coracle-update.1"] {
        let text = fs::read_to_string(pages.0.join(name)).expect(name);
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"] {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{name}: {section}");
        }
    }
    assert!(!pages.0.join("coracle-manual.1").exists(), "a hidden command has no page");
}

#[test]
fn man_shows_them_without_warnings() {
    let pages = Pages::new("man");
    let mut shown = false;
    for file in pages.files() {
        for (program, arguments) in [
            ("man", &["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"][..]),
            ("mandoc", &["-Tlint", "-Werror"]),
        ] {
            let Ok(output) =
                Command::new(program).args(arguments).arg(&file).env("MANPAGER", "cat").output()
            else {
                continue;
            };
            shown = true;
            assert!(output.status.success(), "{program} {}: {output:?}", file.display());
            assert!(output.stderr.is_empty(), "{program} {}: {output:?}", file.display());
        }
    }
    if !shown {
        println!("skipped: neither man nor mandoc here");
    }
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    let missing = Path::new("/nonexistent/manual");
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    let output = command.arg("manual").arg(missing).output().expect("coracle runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("write the manual page /nonexistent/manual/coracle.1: no such file"));
}
