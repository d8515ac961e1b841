//! Configurations for the tests of the parser.
#![allow(unreachable_pub, reason = "a module of several test programs")]

use coracle::Error;
use coracle::spec::Spec;
use serde_json::{Value, json};

/// The smallest configuration that is valid.
pub fn minimal() -> Value {
    json!({
        "ociVersion": "1.2.1",
        "root": {"path": "rootfs"},
        "process": {"args": ["true"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    })
}

/// The minimal configuration with the value at a JSON pointer replaced.
pub fn with(pointer: &str, value: Value) -> String {
    let mut config = minimal();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = config.pointer_mut(parent).expect("the parent exists");
    parent[key] = value;
    serde_json::to_string_pretty(&config).expect("serializes")
}

/// The error for a configuration that must be refused.
pub fn refusal(text: &str) -> Error {
    Spec::parse(text.as_bytes()).expect_err(text)
}
