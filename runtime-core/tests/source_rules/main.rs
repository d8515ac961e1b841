//! Rules that the sources of all packages keep, and the compiler and clippy do not check:
//! which module may import which, the length of functions and files, where `unsafe` may stand,
//! names that say nothing, and calls that can panic.
//!
//! Every rule is also run over a small bad sample, so that a rule which cannot fail is noticed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking and prints what it skips"
)]

mod samples;
mod walk;

use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

use walk::Walk;

const PACKAGES: [&str; 5] = ["runtime-core", "runtime-cli", "shim", "conformance", "benches"];

/// The modules of `runtime-core`, by level. A module imports only from lower levels; `lib.rs`
/// stands above all and may name each.
const LEVELS: [&[&str]; 10] = [
    &["program", "error"],
    &["id", "sys"],
    &["spec"],
    &["host"],
    &["plan"],
    &["cgroup", "seccomp", "idmap", "console", "hooks", "netdev", "rdt"],
    &["state"],
    &["launch", "criu"],
    &["container"],
    &["features"],
];

const FUNCTION_LINES: usize = 60;
const FILE_LINES: usize = 500;

/// Files and folders that may hold `unsafe`, and why.
const UNSAFE_PLACES: &[(&str, &str)] = &[
    ("runtime-core/src/sys", "system calls"),
    ("runtime-core/init/", "the program that runs in the container, without a standard library"),
    ("runtime-core/tests/init_steps/", "starts the init program as the library does, in tests"),
    ("runtime-core/tests/seccomp_kernel.rs", "loads filters and makes the calls to try"),
    ("conformance/probe/sys.rs", "system calls that the probe asks about"),
    ("benches/src/bin/floor/", "the bare kernel objects of a container, made without a runtime"),
    ("benches/payload/", "programs without a standard library that the measured containers run"),
    ("shim/src/sys.rs", "fork, and system calls that nix lacks"),
    ("runtime-cli/src/allocator.rs", "the allocator of a short-lived command"),
    ("runtime-cli/src/window.rs", "the two terminal requests that nix lacks"),
    ("shim/src/io/window.rs", "the terminal request that nix lacks"),
];

const EMPTY_WORDS: [&str; 7] =
    ["util", "common", "misc", "helper", "tenant", "intermediate", "factory"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Level,
    FunctionLength,
    FileLength,
    UnsafePlace,
    UnsafeReason,
    Name,
    Panic,
}

#[derive(Debug)]
struct Finding {
    rule: Rule,
    line: usize,
    text: String,
}

/// One source file as the rules see it.
struct Source {
    /// Relative to the workspace, with `/`.
    path: String,
    text: String,
    /// The whole file is test code.
    test: bool,
}

impl Source {
    fn findings(&self) -> Vec<Finding> {
        let file = syn::parse_file(&self.text)
            .unwrap_or_else(|error| panic!("{}: does not parse: {error}", self.path));
        let mut walk = Walk::new(self);
        walk.visit_file(&file);
        walk.end()
    }

    fn is_library(&self) -> bool {
        self.path.starts_with("runtime-core/src/")
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package has a parent").to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = workspace();
    let mut files = Vec::new();
    for package in PACKAGES {
        rust_files(&root.join(package), &mut files);
    }
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a readable source");
        let path = path.strip_prefix(&root).expect("inside the workspace").display().to_string();
        let test = path.contains("/tests/") || path.ends_with("/tests.rs");
        Source { path, text, test }
    };
    files.iter().map(read).collect()
}

/// Fails with a list of all places that break the rule.
fn check(rules: &[Rule]) {
    let mut places = Vec::new();
    for source in sources() {
        for finding in source.findings() {
            if rules.contains(&finding.rule) {
                places.push(format!("{}:{}: {}", source.path, finding.line, finding.text));
            }
        }
    }
    assert!(places.is_empty(), "{} places:\n{}", places.len(), places.join("\n"));
}

#[test]
fn all_packages_are_read() {
    let sources = sources();
    for package in PACKAGES {
        let prefix = format!("{package}/src/");
        assert!(sources.iter().any(|s| s.path.starts_with(&prefix)), "no source of {package}");
    }
}

#[test]
fn a_module_imports_from_lower_levels_only() {
    check(&[Rule::Level]);
}

#[test]
fn functions_and_files_are_short() {
    check(&[Rule::FunctionLength, Rule::FileLength]);
}

#[test]
fn unsafe_stands_in_its_places_with_a_reason() {
    check(&[Rule::UnsafePlace, Rule::UnsafeReason]);
}

#[test]
fn names_say_something() {
    check(&[Rule::Name]);
}

#[test]
fn the_library_calls_nothing_that_panics() {
    check(&[Rule::Panic]);
}

/// The README shows the example of the library's documentation, which is compiled as a doc test.
#[test]
fn the_readme_shows_an_example_that_compiles() {
    let library = fs::read_to_string(workspace().join("runtime-core/src/lib.rs")).expect("lib.rs");
    let documented: Vec<&str> =
        library.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md");
    let (_, after) = readme.split_once("```rust\n").expect("an example");
    let (example, _) = after.split_once("```").expect("its end");
    assert!(example.lines().count() > 3, "the README's example is gone");
    for line in example.lines().filter(|line| !line.is_empty()) {
        assert!(documented.contains(&line), "{line:?} is not in the documentation of lib.rs");
    }
}
