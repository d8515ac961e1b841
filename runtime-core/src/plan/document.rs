//! The state document that hooks read.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::id::ContainerId;

/// The state document (runtime-spec, runtime.md "State") on the standard input of hooks, split around
/// the pid, which only the process itself may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateDocument {
    /// What precedes the pid.
    pub(crate) head: String,
    /// What follows it.
    pub(crate) tail: String,
}

impl StateDocument {
    /// The document of a container in this status.
    pub(crate) fn new(
        oci_version: &str,
        id: &ContainerId,
        status: &str,
        bundle: &Path,
        annotations: &BTreeMap<String, String>,
    ) -> Self {
        let text = |value: &str| json!(value).to_string();
        let head = format!(
            r#"{{"ociVersion":{},"id":{},"status":{},"pid":"#,
            text(oci_version),
            text(id.as_str()),
            text(status)
        );
        let bundle = text(&bundle.to_string_lossy());
        let annotations = if annotations.is_empty() {
            String::new()
        } else {
            format!(r#","annotations":{}"#, json!(annotations))
        };
        Self { head, tail: format!(r#","bundle":{bundle}{annotations}}}"#) }
    }

    /// The document with the pid in place.
    pub(crate) fn with_pid(&self, pid: i32) -> String {
        format!("{}{pid}{}", self.head, self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_json_whatever_the_values_hold() {
        let id = "c1".parse().expect("id");
        let annotations = BTreeMap::from([("a\"b".to_owned(), "c\\d".to_owned())]);
        let bundle = Path::new("/b \"x\"");
        let document =
            StateDocument::new("1.3.0", &id, "created", bundle, &annotations).with_pid(7);
        let value: serde_json::Value = serde_json::from_str(&document).expect("JSON");
        assert_eq!(
            value,
            json!({"ociVersion": "1.3.0", "id": "c1", "status": "created", "pid": 7,
                   "bundle": "/b \"x\"", "annotations": {"a\"b": "c\\d"}})
        );
        let none = StateDocument::new("1.3.0", &id, "created", bundle, &BTreeMap::new());
        assert!(!none.with_pid(1).contains("annotations"));
    }
}
