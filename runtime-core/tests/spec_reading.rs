//! How configurations are read: what is refused as a whole, what is lenient, and that nothing panics.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coracle::ErrorKind;
use coracle::error::Position;
use coracle::spec::{Process, Spec};
use proptest::prelude::*;
use serde_json::json;

mod configuration;

use configuration::{refusal, with};

#[test]
fn other_platforms_are_named() {
    let text = r#"{"ociVersion": "1.2.1", "process": {"cwd": "C:\\", "args": ["x"]}, "windows": {"layerFolders": ["a"]}}"#;
    let error = refusal(text);
    assert_eq!((error.kind(), error.field()), (ErrorKind::Unsupported, Some("windows")), "{error}");
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
    let capabilities = loaded.value.process.expect("a process").capabilities.expect("capabilities");
    assert_eq!((capabilities.bounding.bits, capabilities.effective.bits), (1 << 5, 0));

    let text = with("/mounts", json!([{"destination": "data", "type": "tmpfs", "source": ""}]));
    let loaded = Spec::parse(text.as_bytes()).expect("accepted");
    assert_eq!(loaded.value.mounts[0].destination, Path::new("/data"));
    assert_eq!(loaded.value.mounts[0].source, None);
    assert_eq!(loaded.warnings.len(), 1);

    let twice = r#"{"ociVersion": "1.0.0", "root": {"path": "a"}, "root": {"path": "b"}, "ROOT": {"path": "c"}}"#;
    assert_eq!(Spec::parse(twice.as_bytes()).expect("accepted").value.root.path, Path::new("c"));
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
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
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
