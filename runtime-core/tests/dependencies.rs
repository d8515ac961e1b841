//! Holds deny.toml's lists with what cargo itself knows: licences, banned crates, sources, and one
//! version of each crate.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking and prints what it skips"
)]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const DENY: &str = include_str!("../../deny.toml");

struct Package {
    name: String,
    version: String,
    license: String,
    source: Option<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Runs cargo for the workspace with all features; what it prints, or its complaint.
fn cargo(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn packages() -> Vec<Package> {
    let arguments =
        ["metadata", "--format-version=1", "--filter-platform", "x86_64-unknown-linux-musl"];
    let metadata = cargo(&arguments).unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let package = |value: &Value| Package {
        name: text(&value["name"]),
        version: text(&value["version"]),
        license: text(&value["license"]),
        source: value["source"].as_str().map(str::to_owned),
    };
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

/// The quoted words of the list that starts with `start` in deny.toml.
fn listed(start: &str) -> Vec<&'static str> {
    let (_, rest) = DENY.split_once(start).unwrap_or_else(|| panic!("deny.toml has no {start}"));
    let (list, _) = rest.split_once(']').expect("the list ends");
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether a licence expression (`OR`, the older `/`, `AND`, parentheses) is met by the list.
fn allowed(expression: &str, allow: &[&str]) -> bool {
    let expression = expression.trim().replace('/', " OR ");
    if let Some((left, right)) = split_outside(&expression, " OR ") {
        return allowed(left, allow) || allowed(right, allow);
    }
    if let Some((left, right)) = split_outside(&expression, " AND ") {
        return allowed(left, allow) && allowed(right, allow);
    }
    let inner = expression.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    inner.map_or_else(|| allow.contains(&expression.trim()), |inner| allowed(inner, allow))
}

/// Splits at the first operator that is not inside parentheses.
fn split_outside<'a>(expression: &'a str, operator: &str) -> Option<(&'a str, &'a str)> {
    expression.match_indices(operator).find_map(|(at, _)| {
        let (left, right) = (&expression[..at], &expression[at + operator.len()..]);
        (left.matches('(').count() == left.matches(')').count()).then_some((left, right))
    })
}

#[test]
fn every_licence_is_allowed() {
    let allow = listed("allow = [");
    for package in packages() {
        let Package { name, version, license, .. } = package;
        assert!(allowed(&license, &allow), "{name} {version}: {license:?} is not in deny.toml");
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allow = ["MIT", "Apache-2.0", "Unicode-3.0"];
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR X) AND Unicode-3.0"] {
        assert!(allowed(good, &allow), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND (Y OR Z)", "MITX"] {
        assert!(!allowed(bad, &allow), "{bad}");
    }
}

/// The crates that use a crate directly.
fn users(name: &str) -> Vec<String> {
    let arguments = ["tree", "--workspace", "--target=x86_64-unknown-linux-musl"];
    let arguments = [&arguments[..], &["--prefix=depth", "--depth=1", "--invert", name]].concat();
    match cargo(&arguments) {
        Ok(tree) => tree
            .lines()
            .filter_map(|line| Some(line.strip_prefix('1')?.split(' ').next()?.to_owned()))
            .collect(),
        Err(error) if error.contains("did not match any packages") => Vec::new(),
        Err(error) => panic!("cargo tree: {error}"),
    }
}

#[test]
fn banned_crates_come_only_through_their_wrappers() {
    let banned = |line: &'static str| {
        let name = line.trim().strip_prefix("{ name = \"")?.split('"').next()?;
        let wrappers = line.split_once("wrappers = [").map_or("", |(_, list)| list);
        Some((name, wrappers.split('"').skip(1).step_by(2).collect()))
    };
    let (_, list) = DENY.split_once("\ndeny = [").expect("deny.toml has a list of banned crates");
    let (list, _) = list.split_once("\n]").expect("the list ends");
    let banned: BTreeMap<&str, Vec<&str>> = list.lines().filter_map(banned).collect();
    assert!(banned.contains_key("regex"), "deny.toml is not read right: {banned:?}");
    assert!(users("oci-spec").contains(&"coracle".to_owned()), "cargo tree is not read right");
    for (name, wrappers) in banned {
        for user in users(name) {
            assert!(wrappers.contains(&user.as_str()), "{user} uses {name}, which is banned");
        }
    }
}

#[test]
fn every_source_is_the_official_registry() {
    for Package { name, source, .. } in packages() {
        if let Some(source) = source {
            let official = source == "registry+https://github.com/rust-lang/crates.io-index";
            assert!(official, "{name} comes from {source}");
        }
    }
}

#[test]
fn one_version_of_each_crate() {
    let skipped: Vec<&str> = listed("skip = [");
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name).or_default().push(package.version);
    }
    for (name, versions) in versions {
        let several = versions.len() > 1 && !skipped.contains(&name.as_str());
        assert!(!several, "{name} is there as {}", versions.join(" and "));
    }
}
