//! What the command answers without a container.

#![allow(clippy::expect_used, reason = "a test fails by panicking and prints what it skips")]

use std::process::{Command, Output};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::types::introspection::RuntimeInfo;

fn shim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_containerd-shim-coracle-v2"));
    command.args(arguments).output().expect("the shim runs")
}

#[test]
fn says_its_name_and_version() {
    for flag in ["-v", "-version", "--version"] {
        let output = shim(&[flag]);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("containerd-shim-coracle-v2"), "{text}");
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
}

#[test]
fn describes_the_runtime() {
    let output = shim(&["-info"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let info = RuntimeInfo::parse_from_bytes(&output.stdout).expect("a message");
    assert_eq!(info.name, "io.containerd.coracle.v2");
    assert_eq!(info.version.version, env!("CARGO_PKG_VERSION"));
    let features = String::from_utf8(info.features.value.clone()).expect("text");
    assert!(features.contains("\"ociVersionMax\""), "{features}");
}

#[test]
fn refuses_what_it_does_not_know() {
    for arguments in [&[][..], &["stop"], &["-namespace"]] {
        let output = shim(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}
