//! `spec` and `--version`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// A directory of this test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coracle-spec-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CORACLE: &str = env!("CARGO_BIN_EXE_coracle");

/// What the `spec` of this program writes; `None` if there is no such program.
fn config_of(program: &str, directory: &Path, rootless: bool) -> Option<Value> {
    let mut command = Command::new(program);
    command.arg("spec").current_dir(directory);
    if rootless {
        command.arg("--rootless");
    }
    let output = command.output().ok()?;
    assert!(output.status.success(), "{output:?}");
    let path = directory.join("config.json");
    let text = fs::read(&path).expect("config.json");
    fs::remove_file(path).expect("config.json");
    Some(serde_json::from_slice(&text).expect("JSON"))
}

#[test]
fn means_the_same_as_the_config_of_runc() {
    let directory = Directory::new("runc");
    for rootless in [false, true] {
        let mut ours = config_of(CORACLE, &directory.0, rootless).expect("coracle runs");
        let Some(mut theirs) = config_of("runc", &directory.0, rootless) else {
            println!("skipped: needs runc to compare with");
            return;
        };
        for config in [&mut ours, &mut theirs] {
            config["ociVersion"] = Value::Null;
            config["hostname"] = Value::Null;
            // Old versions of runc list ambient capabilities that the kernel refuses, because they
            // are not inheritable.
            let sets = config["process"]["capabilities"].as_object_mut();
            sets.expect("capabilities").remove("ambient");
            let namespaces = config["linux"]["namespaces"].as_array_mut();
            namespaces.expect("a list").sort_by_key(Value::to_string);
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn never_overwrites() {
    let directory = Directory::new("twice");
    let bundle = directory.0.display().to_string();
    let spec = |more: &[&str]| {
        let mut command = Command::new(CORACLE);
        command.args(["spec", "-b", &bundle]).args(more).output().expect("coracle runs")
    };
    assert!(spec(&[]).status.success());
    let path = directory.0.join("config.json");
    let before = fs::read(&path).expect("config.json");
    let again = spec(&["--rootless"]);
    assert_eq!(again.status.code(), Some(1));
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(error.contains("config.json") && error.contains("remove it first"), "{error}");
    assert_eq!(fs::read(&path).expect("config.json"), before);
    let config: Value = serde_json::from_slice(&before).expect("JSON");
    assert_eq!(config["ociVersion"], "1.3.0");
    assert_eq!(config["process"]["args"], json!(["sh"]));
}

#[test]
fn the_version_goes_by_the_name_of_the_program() {
    let directory = Directory::new("version");
    let runc = directory.0.join("runc");
    symlink(CORACLE, &runc).expect("a link");
    for (program, start) in [(Path::new(CORACLE), "coracle version "), (&runc, "runc version ")] {
        for flag in ["--version", "-v"] {
            let output = Command::new(program).arg(flag).output().expect("coracle runs");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.starts_with(start), "{text}");
            assert!(text.lines().any(|line| line == "spec: 1.3.0"), "{text}");
        }
    }
}
