//! What real configurations are compiled to, on recorded hosts; no privilege is needed.
//!
//! `tests/plans/BUNDLE@HOST.txt` holds the text of the plan (or of the error). After a change that
//! is meant, run with `UPDATE_PLANS=1` and read the difference.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use coracle::host::Host;
use coracle::plan::{Plan, PlanOptions};
use coracle::spec::Spec;
use coracle::{ErrorKind, Result};

const HOSTS: [&str; 4] = ["hybrid-root", "v2-root", "v2-rootless", "v2-in-user-namespace"];

const BUNDLES: [&str; 17] = [
    "docker-default",
    "docker-limits",
    "podman-privileged",
    "docker-cgroupns-private",
    "docker-join-container",
    "docker-userns-default",
    "ctr-default",
    "ctr-uidmap",
    "cri-hardened-container",
    "cri-mounts-tty-container",
    "buildah-run",
    "podman-rootless-volumes",
    "podman-idmapped-volume",
    "v2-podman-default",
    "podman-default",
    "podman-rootless-default",
    "podman-hooks",
];

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn host(name: &str) -> Host {
    let path = tests().join("plans/hosts").join(name).with_extension("json");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compile(bundle: &Path, host: &Host) -> Result<Plan> {
    let spec = Spec::load(bundle).expect("loads").value;
    let options = PlanOptions::new("box".parse().expect("a name"), "/bundle".into());
    Plan::compile(&spec, host, &options)
}

fn bundle_path(name: &str) -> PathBuf {
    tests().join("bundles").join(name).with_extension("json")
}

#[test]
fn plans_are_as_recorded() {
    let update = std::env::var_os("UPDATE_PLANS").is_some();
    let mut differing = Vec::new();
    for host_name in HOSTS {
        let host = host(host_name);
        for bundle in BUNDLES {
            let text = match compile(&bundle_path(bundle), &host) {
                Ok(plan) => plan.to_string(),
                Err(error) => format!("error: {error}\n"),
            };
            let golden = tests().join("plans").join(format!("{bundle}@{host_name}.txt"));
            if update {
                fs::write(&golden, &text).expect("writable");
            } else if fs::read_to_string(&golden).ok().as_ref() != Some(&text) {
                println!("--- {bundle}@{host_name} is now\n{text}");
                differing.push(golden);
            }
        }
    }
    assert!(differing.is_empty(), "differ: {differing:?}");
}

/// Every configuration that an engine wrote is possible for root; what is not yet supported says
/// so and names the field.
#[test]
fn every_bundle_compiles_for_root() {
    for host_name in ["hybrid-root", "v2-root"] {
        let host = host(host_name);
        for entry in fs::read_dir(tests().join("bundles")).expect("tests/bundles") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|end| end != "json") || name.ends_with("-process") {
                continue;
            }
            match compile(&path, &host) {
                Ok(plan) => {
                    assert_eq!(Ok(plan), compile(&path, &host).map_err(|error| error.to_string()));
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
                    assert!(error.field().is_some(), "{name}: {error}");
                    println!("{name}@{host_name}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_plan_is_json_as_well() {
    let plan = compile(&bundle_path("docker-default"), &host("v2-root")).expect("compiles");
    let value = serde_json::to_value(&plan).expect("serializes");
    let steps = value["steps"].as_array().expect("steps");
    let lines = plan.to_string();
    for step in steps {
        let text = step["text"].as_str().expect("text");
        assert!(lines.contains(text), "{text}");
    }
    assert_eq!(value["namespaces"][0], "pid");
}
