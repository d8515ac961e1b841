//! What the shim does in this version.

#![allow(clippy::expect_used, reason = "a test fails by panicking and prints what it skips")]

use std::process::{Command, Output};

fn shim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_containerd-shim-coracle-v2"));
    command.args(arguments).output().expect("the shim runs")
}

#[test]
fn says_its_name_and_version() {
    for flag in ["-v", "--version"] {
        let output = shim(&[flag]);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("containerd-shim-coracle-v2"), "{text}");
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
}

#[test]
fn refuses_the_rest_clearly() {
    for arguments in [&["-info"][..], &["start"], &["-namespace", "x", "-id", "y", "delete"]] {
        let output = shim(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("not supported yet"), "{text}");
    }
}
