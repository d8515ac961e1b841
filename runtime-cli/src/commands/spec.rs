//! `spec`: writes a config.json to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};

use coracle::{Error, ErrorKind};
use nix::unistd::{getegid, geteuid};

use crate::args::Matches;
use crate::failure::Failure;

const DEFAULT: &str = include_str!("spec/default.json");
const ROOTLESS: &str = include_str!("spec/rootless.json.in");

pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let directory = matches.path("bundle").unwrap_or_default();
    let text = text(matches.switch("rootless"), has_unified_cgroups());
    let file = matches.path("file").unwrap_or_else(|| "config.json".into());
    write(&directory.join(file), &text)?;
    Ok(())
}

fn has_unified_cgroups() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn text(rootless: bool, cgroup_namespace: bool) -> String {
    let text = if rootless {
        // The caller's own ids are all that a user may map without further grants.
        ROOTLESS.replace("UID", &geteuid().to_string()).replace("GID", &getegid().to_string())
    } else {
        DEFAULT.to_owned()
    };
    if !cgroup_namespace {
        return text;
    }
    // On cgroup v2 the container sees only its own cgroup, as with runc.
    text.replace(
        "\"namespaces\": [",
        "\"namespaces\": [\n      {\n        \"type\": \"cgroup\"\n      },",
    )
}

fn write(path: &PathBuf, text: &str) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(
        |source| match source.kind() {
            Io::AlreadyExists => Error::new(ErrorKind::AlreadyExists, "file exists already:")
                .with_path(path)
                .with_hint("remove it first"),
            _ => Error::io("create", &source).with_path(path),
        },
    )?;
    file.write_all(text.as_bytes()).map_err(|source| Error::io("write", &source).with_path(path))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn namespaces(config: &Value) -> Vec<&str> {
        let list = config["linux"]["namespaces"].as_array().expect("a list");
        list.iter().filter_map(|entry| entry["type"].as_str()).collect()
    }

    #[test]
    fn the_cgroup_namespace_depends_on_the_host() {
        for rootless in [false, true] {
            let with: Value = serde_json::from_str(&text(rootless, true)).expect("json");
            let without: Value = serde_json::from_str(&text(rootless, false)).expect("json");
            assert!(namespaces(&with).contains(&"cgroup"));
            assert!(!namespaces(&without).contains(&"cgroup"));
            assert_eq!(namespaces(&with).len(), namespaces(&without).len() + 1);
            assert_eq!(namespaces(&with).contains(&"user"), rootless);
            if rootless {
                assert_eq!(with["linux"]["uidMappings"][0]["hostID"], geteuid().as_raw());
                assert_eq!(with["linux"]["gidMappings"][0]["hostID"], getegid().as_raw());
            }
        }
    }
}
