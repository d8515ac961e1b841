//! What is wrong with a configuration is said with its field, line and column.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use coracle::error::Position;
use coracle::spec::Spec;
use serde_json::{Value, json};

mod configuration;

use configuration::{minimal, refusal, with};

#[test]
fn the_minimal_configuration_is_accepted() {
    let loaded = Spec::parse(minimal().to_string().as_bytes()).expect("accepted");
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

/// Every row: a place, a value, the field that the error names, and a part of its words.
#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn bad_values_are_refused_with_their_field() {
    let range = |container: u32, host: u32, size: u32| json!([{"containerID": container, "hostID": host, "size": size}]);
    let rows: Vec<(&str, Value, &str, &str)> = vec![
        ("/ociVersion", json!(1), "ociVersion", "invalid type: integer `1`, expected a string"),
        ("/ociVersion", json!("1.0"), "ociVersion", "not a semantic version"),
        ("/ociVersion", json!("9.0.0"), "ociVersion", "version 9.0.0"),
        ("/root", json!({}), "root.path", "required, but missing"),
        ("/root", json!([]), "root", "expected an object"),
        ("/root/path", json!(""), "root.path", "is empty"),
        ("/root/readonly", json!("yes"), "root.readonly", "expected a boolean"),
        ("/process/cwd", json!("tmp"), "process.cwd", "\"tmp\" is not an absolute path"),
        ("/process/cwd", json!(null), "process.cwd", "required, but missing"),
        ("/process/args", json!([]), "process.args", "at least one"),
        ("/process/args", json!([1]), "process.args[0]", "expected a string"),
        ("/process/args", json!([""]), "process.args[0]", "is empty"),
        ("/process/user", json!({"uid": u32::MAX}), "process.user.uid", "not a valid id"),
        ("/process/user", json!({"uid": -1}), "process.user.uid", "invalid value: integer `-1`"),
        ("/process/user", json!({"gid": 1.5}), "process.user.gid", "floating point"),
        (
            "/process/user",
            json!({"additionalGids": [1, u32::MAX]}),
            "process.user.additionalGids[1]",
            "not a valid id",
        ),
        ("/process/user", json!({"umask": 512}), "process.user.umask", "above 0777"),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
            "process.rlimits[0].type",
            "unknown resource limit type",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
            "process.rlimits[0].soft",
            "above the hard limit",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]),
            "process.rlimits[1].type",
            "given twice",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 1}]),
            "process.rlimits[0].hard",
            "required, but missing",
        ),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj", "outside"),
        (
            "/process/capabilities",
            json!({"bounding": "CAP_KILL"}),
            "process.capabilities.bounding",
            "list of capability names",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_RT", "priority": 8}),
            "process.ioPriority.priority",
            "outside",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_MINE"}),
            "process.scheduler.policy",
            "unknown scheduling policy",
        ),
        (
            "/process/consoleSize",
            json!({"height": 70000, "width": 1}),
            "process.consoleSize.height",
            "invalid value",
        ),
        ("/hostname", json!("box"), "hostname", "needs a uts namespace"),
        ("/domainname", json!("box"), "domainname", "needs a uts namespace"),
        ("/annotations", json!({"": "x"}), "annotations", "a key is empty"),
        ("/annotations", json!({"a": 1}), "annotations.a", "expected a string"),
        ("/mounts", json!([{"type": "tmpfs"}]), "mounts[0].destination", "required, but missing"),
        (
            "/mounts",
            json!([{"destination": "/a", "type": "bind"}]),
            "mounts[0].source",
            "needs a source",
        ),
        (
            "/mounts",
            json!([{"destination": "/a", "type": "tmpfs", "uidMappings": range(0, 1, 1)}]),
            "mounts[0]",
            "go together",
        ),
        (
            "/hooks",
            json!({"prestart": [{"path": "x"}]}),
            "hooks.prestart[0].path",
            "not an absolute path",
        ),
        (
            "/hooks",
            json!({"poststop": [{"path": "/x", "timeout": 0}]}),
            "hooks.poststop[0].timeout",
            "greater than zero",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "mount"}]),
            "linux.namespaces[1].type",
            "given twice",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mnt"}]),
            "linux.namespaces[0].type",
            "unknown namespace type \"mnt\"",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "pid", "path": "ns/pid"}]),
            "linux.namespaces[0].path",
            "not an absolute path",
        ),
        ("/linux/namespaces", json!([{"type": "user"}]), "linux.uidMappings", "needs a mapping"),
        ("/linux/uidMappings", range(0, 1, 1), "linux.uidMappings", "needs a user namespace"),
        ("/linux/uidMappings", range(0, 1, 0), "linux.uidMappings[0].size", "is zero"),
        (
            "/linux/gidMappings",
            range(0, u32::MAX - 1, 2),
            "linux.gidMappings[0].hostID",
            "beyond the last id",
        ),
        (
            "/linux/devices",
            json!([{"type": "x", "path": "/dev/x"}]),
            "linux.devices[0].type",
            "unknown device type",
        ),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "major": 1}]),
            "linux.devices[0].minor",
            "required, but missing",
        ),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "major": 4096, "minor": 1}]),
            "linux.devices[0].major",
            "above",
        ),
        (
            "/linux/devices",
            json!([{"type": "p", "path": "dev/x"}]),
            "linux.devices[0].path",
            "not an absolute path",
        ),
        (
            "/linux/maskedPaths",
            json!(["/proc/kcore", "proc/keys"]),
            "linux.maskedPaths[1]",
            "not an absolute path",
        ),
        (
            "/linux/rootfsPropagation",
            json!("none"),
            "linux.rootfsPropagation",
            "unknown propagation",
        ),
        (
            "/linux/sysctl",
            json!({"kernel.core_pattern": "|/x"}),
            "linux.sysctl[\"kernel.core_pattern\"]",
            "would change the host",
        ),
        (
            "/linux/sysctl",
            json!({"net.core.somaxconn": "1"}),
            "linux.sysctl[\"net.core.somaxconn\"]",
            "needs a network namespace",
        ),
        (
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 1}}),
            "linux.timeOffsets",
            "needs a time namespace",
        ),
        ("/linux/netDevices", json!({"eth0": {}}), "linux.netDevices", "needs a network namespace"),
        ("/linux/cgroupsPath", json!("/a/../../b"), "linux.cgroupsPath", ".."),
        (
            "/linux/seccomp",
            json!({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}),
            "linux.seccomp.defaultAction",
            "required, but missing",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_NO"}),
            "linux.seccomp.defaultAction",
            "unknown seccomp action",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet",
            "SCMP_ACT_KILL returns no errno",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                   "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": 1}]}),
            "linux.seccomp.syscalls[0].errnoRet",
            "SCMP_ACT_LOG returns no errno",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG"}]}),
            "linux.seccomp.syscalls[0].names",
            "at least one",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            "linux.seccomp.listenerPath",
            "SCMP_ACT_NOTIFY needs a listener",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"}),
            "linux.seccomp.listenerMetadata",
            "needs listenerPath",
        ),
        (
            "/linux/resources",
            json!({"memory": {"limit": "1g"}}),
            "linux.resources.memory.limit",
            "invalid type",
        ),
    ];
    for (pointer, value, field, words) in rows {
        let text = with(pointer, value);
        let error = refusal(&text);
        assert_eq!(error.field(), Some(field), "{text}: {error}");
        assert!(error.to_string().contains(words), "{error}");
        let Position { line, column } =
            error.position().unwrap_or_else(|| panic!("{error}: no place"));
        let found = text.lines().nth(line - 1).and_then(|line| line.get(column - 1..));
        assert!(found.is_some_and(|rest| !rest.is_empty()), "{error}: nothing there in\n{text}");
    }
}

/// The place itself, where a person would look.
#[test]
fn the_place_is_exact() {
    let head = "{\n  \"ociVersion\": \"1.2.1\",\n  \"root\": {\"path\": \"r\"},\n  \"process\": {\"cwd\": \"/\", \"args\": [\"a\"]";
    let rows = [
        (", \"user\": {\"uid\": \"x\"}}}", Some("process.user.uid"), 4, 58),
        (", \"terminal\": 3}}", Some("process.terminal"), 4, 54),
        (
            "},\n \"mounts\": [{\"destination\": \"/a\"},\n {\"type\": \"b\"}]}",
            Some("mounts[1].destination"),
            6,
            2,
        ),
        (
            "},\n \"linux\": {\"namespaces\": [{\"type\": \"pid\"},\n   {\"type\": \"pid\"}]}}",
            Some("linux.namespaces[1].type"),
            6,
            13,
        ),
        (",}}", Some("process"), 4, 41),
        ("}", Some("process"), 4, 40),
        ("}}x", None, 4, 42),
        (", \"title\": \"a\\u0000b\"}}", Some("process.title"), 4, 51),
    ];
    for (tail, field, line, column) in rows {
        let text = format!("{head}{tail}");
        let error = refusal(&text);
        assert_eq!(error.field(), field, "{error}");
        assert_eq!(error.position(), Some(Position { line, column }), "{error}\n{text}");
    }
    let mut bytes = format!("{head}}}\n}}").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'r').expect("an r");
    bytes[at] = 0xff;
    let error = Spec::parse(&bytes).expect_err("invalid UTF-8");
    assert_eq!(error.position(), Some(Position { line: 2, column: 9 }), "{error}");
}

#[test]
fn names_of_network_devices_follow_the_kernels_rules() {
    let error = |devices: Value| {
        let namespaces = json!([{"type": "mount"}, {"type": "network"}]);
        let linux = json!({"namespaces": namespaces, "netDevices": devices});
        let loaded = Spec::parse(with("/linux", linux).as_bytes());
        loaded.err().and_then(|error| error.field().map(str::to_owned))
    };
    for name in ["fifteen-letters", "a", "...", "n%d", "%dx", "ä", ""] {
        assert_eq!(error(json!({"eth0": {"name": name}})), None, "{name:?}");
    }
    for name in ["sixteen-letters-", ".", "..", "a/b", "a:b", "a b", "a\u{b}b", "n%", "%s", "%d%d"]
    {
        let field = error(json!({"eth0": {"name": name}}));
        assert_eq!(field.as_deref(), Some("linux.netDevices.eth0.name"), "{name:?}");
        assert!(error(json!({name: {}})).is_some(), "{name:?}");
    }
    assert!(error(json!({"eth%d": {}})).is_some(), "a device of the host has a whole name");
    let twice = error(json!({"a": {"name": "c"}, "b-1": {"name": "c"}}));
    assert_eq!(twice.as_deref(), Some("linux.netDevices[\"b-1\"].name"));
    assert_eq!(error(json!({"a": {"name": "b"}, "b": {}})).as_deref(), Some("linux.netDevices.b"));
    assert_eq!(error(json!({"a": {"name": "n%d"}, "b": {"name": "n%d"}})), None);
}

#[test]
fn classes_of_service_and_schemas_have_a_form() {
    for (settings, field) in [
        (json!({"closID": "a/b"}), "closID"),
        (json!({"closID": "../a"}), "closID"),
        (json!({"closID": ".."}), "closID"),
        (json!({"closID": "//"}), "closID"),
        (json!({"closID": "info"}), "closID"),
        (json!({"closID": "mon_groups"}), "closID"),
        (json!({"closID": "a\nb"}), "closID"),
        (json!({"memBwSchema": "L3:0=f"}), "memBwSchema"),
        (json!({"memBwSchema": "MB:0=20\nMB:1=20"}), "memBwSchema"),
        (json!({"l3CacheSchema": "L3"}), "l3CacheSchema"),
        (json!({"schemata": ["L3:0=f", "L3:0"]}), "schemata[1]"),
    ] {
        let error = refusal(&with("/linux/intelRdt", settings.clone()));
        assert_eq!(error.field(), Some(&*format!("linux.intelRdt.{field}")), "{settings}");
    }
    for settings in [
        json!({}),
        json!({"closID": "/"}),
        json!({"closID": "gold", "l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20;1=70"}),
        json!({"closID": "", "memBwSchema": "", "schemata": ["L3CODE:0=f;1=f", "SMBA:0=5"]}),
    ] {
        Spec::parse(with("/linux/intelRdt", settings).as_bytes()).expect("accepted");
    }
}
