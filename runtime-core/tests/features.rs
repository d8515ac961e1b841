//! The features document against the rules of the specification: features.md, features-linux.md, and the
//! schemas features-schema.json and features-linux.json of version 1.3.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What a property may hold.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Text,
    Boolean,
    /// A list of different texts that all satisfy this.
    List(fn(&str) -> bool),
    /// Texts by names that are not empty.
    Texts,
    Object(&'static [(&'static str, Shape)]),
}

const ENABLED: Shape = Shape::Object(&[("enabled", Shape::Boolean)]);

const ROOT: Shape = Shape::Object(&[
    ("ociVersionMin", Shape::Text),
    ("ociVersionMax", Shape::Text),
    ("hooks", Shape::List(is_hook)),
    ("mountOptions", Shape::List(is_word)),
    ("annotations", Shape::Texts),
    ("potentiallyUnsafeConfigAnnotations", Shape::List(is_word)),
    ("linux", Shape::Object(LINUX)),
]);

const LINUX: &[(&str, Shape)] = &[
    ("namespaces", Shape::List(is_namespace)),
    ("capabilities", Shape::List(is_capability)),
    (
        "cgroup",
        Shape::Object(&[
            ("v1", Shape::Boolean),
            ("v2", Shape::Boolean),
            ("systemd", Shape::Boolean),
            ("systemdUser", Shape::Boolean),
            ("rdma", Shape::Boolean),
        ]),
    ),
    (
        "seccomp",
        Shape::Object(&[
            ("enabled", Shape::Boolean),
            ("actions", Shape::List(is_action)),
            ("operators", Shape::List(is_operator)),
            ("archs", Shape::List(is_architecture)),
            ("knownFlags", Shape::List(is_flag)),
            ("supportedFlags", Shape::List(is_flag)),
        ]),
    ),
    ("apparmor", ENABLED),
    ("selinux", ENABLED),
    (
        "intelRdt",
        Shape::Object(&[
            ("enabled", Shape::Boolean),
            ("schemata", Shape::Boolean),
            ("monitoring", Shape::Boolean),
        ]),
    ),
    (
        "memoryPolicy",
        Shape::Object(&[("modes", Shape::List(is_mode)), ("flags", Shape::List(is_mode_flag))]),
    ),
    ("mountExtensions", Shape::Object(&[("idmap", ENABLED)])),
    ("netDevices", ENABLED),
];

fn is_hook(text: &str) -> bool {
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        .contains(&text)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|character: char| character.is_whitespace())
}

fn is_namespace(text: &str) -> bool {
    ["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"].contains(&text)
}

fn is_capability(text: &str) -> bool {
    let rest = text.strip_prefix("CAP_").unwrap_or_default();
    !rest.is_empty() && rest.chars().all(|one| one.is_ascii_uppercase() || one == '_')
}

fn is_action(text: &str) -> bool {
    let rest = text.strip_prefix("SCMP_ACT_").unwrap_or_default();
    let all =
        ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY"];
    all.contains(&rest)
}

fn is_operator(text: &str) -> bool {
    let rest = text.strip_prefix("SCMP_CMP_").unwrap_or_default();
    ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].contains(&rest)
}

fn is_architecture(text: &str) -> bool {
    let rest = text.strip_prefix("SCMP_ARCH_").unwrap_or_default();
    let all = [
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "PARISC",
        "PARISC64",
        "RISCV64",
        "LOONGARCH64",
        "M68K",
        "SH",
        "SHEB",
    ];
    all.contains(&rest)
}

fn is_flag(text: &str) -> bool {
    let rest = text.strip_prefix("SECCOMP_FILTER_FLAG_").unwrap_or_default();
    ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].contains(&rest)
}

fn is_mode(text: &str) -> bool {
    let rest = text.strip_prefix("MPOL_").unwrap_or_default();
    let all = [
        "DEFAULT",
        "BIND",
        "INTERLEAVE",
        "WEIGHTED_INTERLEAVE",
        "PREFERRED",
        "PREFERRED_MANY",
        "LOCAL",
    ];
    all.contains(&rest)
}

fn is_mode_flag(text: &str) -> bool {
    let rest = text.strip_prefix("MPOL_F_").unwrap_or_default();
    ["NUMA_BALANCING", "RELATIVE_NODES", "STATIC_NODES"].contains(&rest)
}

/// What is wrong with a value, by its path.
fn faults(value: &Value, shape: Shape, path: &str) -> Vec<String> {
    let wrong = |what: &str| vec![format!("{path}: {what}: {value}")];
    match (shape, value) {
        (Shape::Text, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) => Vec::new(),
        (Shape::List(is_one), Value::Array(list)) => {
            let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            let different: BTreeSet<&&str> = texts.iter().collect();
            if texts.len() < list.len() || different.len() < list.len() {
                return wrong("not a list of different texts");
            }
            let bad = texts.iter().filter(|text| !is_one(text));
            bad.map(|text| format!("{path}: {text:?} is not in the specification")).collect()
        }
        (Shape::Texts, Value::Object(map)) => {
            let well = map.iter().all(|(key, value)| !key.is_empty() && value.is_string());
            if well { Vec::new() } else { wrong("not texts by names") }
        }
        (Shape::Object(properties), Value::Object(map)) => object(map, properties, path),
        _ => wrong("of another type"),
    }
}

/// A document must not contain properties that its version of the specification does not define.
fn object(map: &Map<String, Value>, properties: &[(&str, Shape)], path: &str) -> Vec<String> {
    let of_one = |(key, value): (&String, &Value)| {
        let path = format!("{path}/{key}");
        match properties.iter().find(|(name, _)| name == key) {
            Some((_, shape)) => faults(value, *shape, &path),
            None => vec![format!("{path} is not in the specification")],
        }
    };
    map.iter().flat_map(of_one).collect()
}

fn document() -> Value {
    serde_json::to_value(coracle::features()).expect("JSON")
}

#[test]
fn it_has_the_shape_that_the_specification_asks_for() {
    let document = document();
    assert_eq!(faults(&document, ROOT, ""), Vec::<String>::new());
}

#[test]
fn nothing_that_can_be_told_is_left_out() {
    fn missing(value: &Value, shape: Shape, path: &str) -> Vec<String> {
        let Shape::Object(properties) = shape else { return Vec::new() };
        let of_one = |(name, shape): &(&str, Shape)| match value.get(name) {
            Some(value) => missing(value, *shape, &format!("{path}/{name}")),
            None => vec![format!("{path}/{name}")],
        };
        properties.iter().flat_map(of_one).collect()
    }
    // No annotation of a configuration changes what is done, so that there is none to list; an empty
    // list says so.
    assert_eq!(missing(&document(), ROOT, ""), Vec::<String>::new());
}

#[test]
fn the_check_finds_what_is_wrong() {
    for (pointer, value) in [
        ("/ociVersionMin", Value::Bool(true)),
        ("/hooks/0", "preStart".into()),
        ("/mountOptions/0", 3.into()),
        ("/linux/namespaces/0", "net".into()),
        ("/linux/namespaces/0", "user".into()),
        ("/linux/capabilities/0", "CHOWN".into()),
        ("/linux/cgroup/v1", "yes".into()),
        ("/linux/seccomp/archs/0", "SCMP_ARCH_VAX".into()),
        ("/annotations", Value::Array(Vec::new())),
    ] {
        let mut document = document();
        *document.pointer_mut(pointer).expect(pointer) = value;
        assert!(!faults(&document, ROOT, "").is_empty(), "{pointer}");
    }
    let mut document = document();
    document.as_object_mut().expect("an object").insert("extra".to_owned(), Value::Null);
    assert_eq!(faults(&document, ROOT, ""), ["/extra is not in the specification"]);
}

#[test]
fn lists_are_complete() {
    let document = document();
    let count =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
    for (pointer, all) in [
        ("/hooks", 6),
        ("/linux/namespaces", 8),
        ("/linux/capabilities", 41),
        ("/linux/seccomp/actions", 9),
        ("/linux/seccomp/operators", 7),
        ("/linux/seccomp/knownFlags", 4),
        ("/linux/memoryPolicy/modes", 7),
        ("/linux/memoryPolicy/flags", 3),
    ] {
        assert_eq!(count(pointer), all, "{pointer}");
    }
    let options = document["mountOptions"].as_array().expect("mountOptions");
    let missing: Vec<&str> = TABLE
        .split_ascii_whitespace()
        .filter(|option| !options.iter().any(|one| one == option))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "options of config.md that are not listed");
}

/// The options of config.md "Linux mount options".
const TABLE: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand \
    noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid \
    nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime \
    rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave \
    rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync \
    tmpcopyup unbindable idmap ridmap";

#[test]
fn supported_flags_are_known_ones_in_order() {
    let document = document();
    let list = |name: &str| document["linux"]["seccomp"][name].as_array().cloned().expect(name);
    let known = list("knownFlags");
    assert!(list("supportedFlags").iter().all(|flag| known.contains(flag)));
    let (least, most) = (&document["ociVersionMin"], &document["ociVersionMax"]);
    assert!(least.as_str() <= most.as_str(), "{least} {most}");
}
