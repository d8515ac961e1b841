//! What is wrong with a configuration is said with its field, line and column.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coracle::error::Position;
use coracle::spec::{Process, Spec};
use coracle::{Error, ErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};

fn minimal() -> Value {
    json!({
        "ociVersion": "1.2.1",
        "root": {"path": "rootfs"},
        "process": {"args": ["true"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    })
}

/// The minimal configuration with the value at a JSON pointer replaced.
fn with(pointer: &str, value: Value) -> String {
    let mut config = minimal();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = config.pointer_mut(parent).expect("the parent exists");
    parent[key] = value;
    serde_json::to_string_pretty(&config).expect("serializes")
}

fn refusal(text: &str) -> Error {
    Spec::parse(text.as_bytes()).expect_err(text)
}

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
        (
            "/ociVersion",
            json!(1),
            "ociVersion",
            "invalid type: integer `1`, expected a string",
        ),
        (
            "/ociVersion",
            json!("1.0"),
            "ociVersion",
            "not a semantic version",
        ),
        ("/ociVersion", json!("9.0.0"), "ociVersion", "version 9.0.0"),
        ("/root", json!({}), "root.path", "required, but missing"),
        ("/root", json!([]), "root", "expected an object"),
        ("/root/path", json!(""), "root.path", "is empty"),
        (
            "/root/readonly",
            json!("yes"),
            "root.readonly",
            "expected a boolean",
        ),
        (
            "/process/cwd",
            json!("tmp"),
            "process.cwd",
            "\"tmp\" is not an absolute path",
        ),
        (
            "/process/cwd",
            json!(null),
            "process.cwd",
            "required, but missing",
        ),
        ("/process/args", json!([]), "process.args", "at least one"),
        (
            "/process/args",
            json!([1]),
            "process.args[0]",
            "expected a string",
        ),
        ("/process/args", json!([""]), "process.args[0]", "is empty"),
        (
            "/process/user",
            json!({"uid": u32::MAX}),
            "process.user.uid",
            "not a valid id",
        ),
        (
            "/process/user",
            json!({"uid": -1}),
            "process.user.uid",
            "invalid value: integer `-1`",
        ),
        (
            "/process/user",
            json!({"gid": 1.5}),
            "process.user.gid",
            "floating point",
        ),
        (
            "/process/user",
            json!({"additionalGids": [1, u32::MAX]}),
            "process.user.additionalGids[1]",
            "not a valid id",
        ),
        (
            "/process/user",
            json!({"umask": 512}),
            "process.user.umask",
            "above 0777",
        ),
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
        (
            "/process/oomScoreAdj",
            json!(1001),
            "process.oomScoreAdj",
            "outside",
        ),
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
        (
            "/hostname",
            json!("box"),
            "hostname",
            "needs a uts namespace",
        ),
        (
            "/domainname",
            json!("box"),
            "domainname",
            "needs a uts namespace",
        ),
        (
            "/annotations",
            json!({"": "x"}),
            "annotations",
            "a key is empty",
        ),
        (
            "/annotations",
            json!({"a": 1}),
            "annotations.a",
            "expected a string",
        ),
        (
            "/mounts",
            json!([{"type": "tmpfs"}]),
            "mounts[0].destination",
            "required, but missing",
        ),
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
        (
            "/linux/namespaces",
            json!([{"type": "user"}]),
            "linux.uidMappings",
            "needs a mapping",
        ),
        (
            "/linux/uidMappings",
            range(0, 1, 1),
            "linux.uidMappings",
            "needs a user namespace",
        ),
        (
            "/linux/uidMappings",
            range(0, 1, 0),
            "linux.uidMappings[0].size",
            "is zero",
        ),
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
        (
            "/linux/netDevices",
            json!({"eth0": {}}),
            "linux.netDevices",
            "needs a network namespace",
        ),
        (
            "/linux/cgroupsPath",
            json!("/a/../../b"),
            "linux.cgroupsPath",
            "..",
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
        let Position { line, column } = error
            .position()
            .unwrap_or_else(|| panic!("{error}: no place"));
        let found = text
            .lines()
            .nth(line - 1)
            .and_then(|line| line.get(column - 1..));
        assert!(
            found.is_some_and(|rest| !rest.is_empty()),
            "{error}: nothing there in\n{text}"
        );
    }
}

/// The place itself, where a person would look.
#[test]
fn the_place_is_exact() {
    let head = "{\n  \"ociVersion\": \"1.2.1\",\n  \"root\": {\"path\": \"r\"},\n  \"process\": {\"cwd\": \"/\", \"args\": [\"a\"]";
    let rows = [
        (
            ", \"user\": {\"uid\": \"x\"}}}",
            Some("process.user.uid"),
            4,
            58,
        ),
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
        assert_eq!(
            error.position(),
            Some(Position { line, column }),
            "{error}\n{text}"
        );
    }
    let mut bytes = format!("{head}}}\n}}").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'r').expect("an r");
    bytes[at] = 0xff;
    let error = Spec::parse(&bytes).expect_err("invalid UTF-8");
    assert_eq!(
        error.position(),
        Some(Position { line: 2, column: 9 }),
        "{error}"
    );
}

#[test]
fn other_platforms_are_named() {
    let text = r#"{"ociVersion": "1.2.1", "process": {"cwd": "C:\\", "args": ["x"]}, "windows": {"layerFolders": ["a"]}}"#;
    let error = refusal(text);
    assert_eq!(
        (error.kind(), error.field()),
        (ErrorKind::Unsupported, Some("windows")),
        "{error}"
    );
    let text = with("/vm", json!({"kernel": {"path": "/k"}}));
    Spec::parse(text.as_bytes()).expect("a linux section is there as well");
}

#[test]
fn what_is_lenient() {
    let text = with(
        "/process",
        json!({
            "Args": ["true"], "CWD": "/", "unknown": {"deep": [1, null]}, "env": null,
            "capabilities": {"bounding": ["CAP_KILL", "CAP_NEW", "cap_kill"], "effective": ["CAP_NEW"]}
        }),
    );
    let loaded = Spec::parse(text.as_bytes()).expect("accepted");
    let warning = "ignoring unknown or unavailable capabilities: [CAP_NEW cap_kill]";
    assert_eq!(loaded.warnings, [warning]);
    let capabilities = loaded
        .value
        .process
        .expect("a process")
        .capabilities
        .expect("capabilities");
    assert_eq!(
        (capabilities.bounding.bits, capabilities.effective.bits),
        (1 << 5, 0)
    );

    let text = with(
        "/mounts",
        json!([{"destination": "data", "type": "tmpfs", "source": ""}]),
    );
    let loaded = Spec::parse(text.as_bytes()).expect("accepted");
    assert_eq!(loaded.value.mounts[0].destination, Path::new("/data"));
    assert_eq!(loaded.value.mounts[0].source, None);
    assert_eq!(loaded.warnings.len(), 1);

    let twice = r#"{"ociVersion": "1.0.0", "root": {"path": "a"}, "root": {"path": "b"}, "ROOT": {"path": "c"}}"#;
    assert_eq!(
        Spec::parse(twice.as_bytes())
            .expect("accepted")
            .value
            .root
            .path,
        Path::new("c")
    );
}

#[test]
fn a_process_file_without_a_user_is_root() {
    let loaded = Process::parse(br#"{"args": ["x"], "cwd": "/"}"#).expect("accepted");
    assert_eq!((loaded.value.user.uid, loaded.value.user.gid), (0, 0));
    let error = Process::parse(b"{\"args\": [\"x\"],\n\"cwd\": \"a\"}").expect_err("relative");
    assert_eq!(error.field(), Some("cwd"));
    assert_eq!(error.position(), Some(Position { line: 2, column: 8 }));
}

#[test]
fn only_regular_files_are_read_and_nothing_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let fifo = CString::new(at("fifo").as_os_str().as_bytes()).expect("no NUL");
    assert_eq!(make_fifo(&fifo), Ok(()));
    std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    let sparse = std::fs::File::create(at("large")).expect("a file");
    sparse.set_len((64 << 20) + 1).expect("sparse");
    let rows = [
        (at("fifo"), "is a FIFO"),
        (directory.path().to_owned(), "is a directory"),
        ("/dev/null".into(), "is a character device"),
        (at("socket"), "no such device"),
        (at("large"), "larger than 64 MiB"),
        (at("missing"), "no such file"),
    ];
    for (path, words) in rows {
        let error = Spec::load(&path).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

fn make_fifo(path: &CString) -> nix::Result<()> {
    nix::unistd::mkfifo(path.as_c_str(), nix::sys::stat::Mode::S_IRUSR)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Spec::parse(&bytes), Process::parse(&bytes));
    }

    #[test]
    fn mutated_configurations_never_panic(
        at in any::<prop::sample::Index>(),
        length in 0..40usize,
        insert in "[\\[\\]{}:,\"\\\\0-9a-zA-Z. \\x00-]{0,12}",
    ) {
        let text = include_str!("bundles/docker-limits.json");
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        let mutated = [&text.as_bytes()[..start], insert.as_bytes(), &text.as_bytes()[end..]].concat();
        if let Err(error) = Spec::parse(&mutated) {
            prop_assert!(error.position().is_some() || error.field().is_some(), "{error}");
        }
    }
}
