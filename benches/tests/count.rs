//! The counter of system calls, checked with programs whose calls are known exactly.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

const TRUE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/true"));
const FAMILY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/family"));

fn count(name: &str, program: &[u8]) -> Value {
    let directory =
        std::env::temp_dir().join(format!("coracle-count-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let bench = env!("CARGO_BIN_EXE_coracle-bench");
    let output = Command::new(bench).args(["count", "--"]).arg(&path).output().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_static_true_makes_two_calls() {
    let result = count("true", TRUE);
    assert_eq!(result["total"], 2);
    assert_eq!(result["calls"]["execve"], 1);
    assert_eq!(result["calls"]["exit"], 1);
}

#[test]
fn every_kind_of_child_is_followed() {
    let result = count("family", FAMILY);
    assert_eq!(result["processes"], 4);
    assert_eq!(result["calls"]["execve"], 1);
    assert_eq!(result["calls"]["clone"], 3);
    assert_eq!(result["calls"]["getpid"], 3);
    assert_eq!(result["calls"]["wait4"], 2);
    assert_eq!(result["calls"]["exit"], 4);
    assert_eq!(result["total"], 13);
}
