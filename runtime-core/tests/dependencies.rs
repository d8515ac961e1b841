//! Holds deny.toml's lists with what cargo itself knows: licences, banned crates, sources, and one
//! version of each crate.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

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

/// What cargo says about the workspace for one machine, with all features.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-musl"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn packages() -> Vec<Package> {
    let metadata = metadata();
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

/// The name in a package id such as `registry+https://…#syn@2.0.1` or `path+file:///…/shim#0.1.0`.
fn name_of(id: &str) -> &str {
    let (place, last) = id.rsplit_once('#').expect("a package id");
    let name = last.split_once('@').map(|(name, _)| name);
    name.unwrap_or_else(|| place.rsplit('/').next().unwrap_or(place))
}

#[test]
fn banned_crates_come_only_through_their_wrappers() {
    let banned = |line: &'static str| {
        let name = line.trim().strip_prefix("{ name = \"")?.split('"').next()?;
        let wrappers = line.split_once("wrappers = [").map_or("", |(_, list)| list);
        Some((name, wrappers.split('"').skip(1).step_by(2).collect()))
    };
    let banned: BTreeMap<&str, Vec<&str>> = DENY.lines().filter_map(banned).collect();
    assert!(banned.contains_key("regex"), "deny.toml is not read right: {banned:?}");
    for node in metadata()["resolve"]["nodes"].as_array().expect("nodes") {
        let user = text(&node["id"]);
        for used in node["dependencies"].as_array().expect("dependencies") {
            let used = text(used);
            let Some(wrappers) = banned.get(name_of(&used)) else {
                continue;
            };
            let user = name_of(&user);
            assert!(wrappers.contains(&user), "{user} uses {used}, which is banned");
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
