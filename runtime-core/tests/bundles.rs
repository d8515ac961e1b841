//! Every configuration in `tests/bundles` (as real engines wrote them) is understood.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use coracle::spec::{Process, Spec};

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("tests/bundles")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 125, "only {} files", files.len());
    files
}

fn is_process(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-process"))
}

#[test]
fn every_file_loads_without_a_warning() {
    for path in files() {
        let warnings = if is_process(&path) {
            Process::load(&path).map(|loaded| loaded.warnings)
        } else {
            Spec::load(&path).map(|loaded| loaded.warnings)
        };
        let warnings = warnings.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(warnings, Vec::<String>::new(), "{}", path.display());
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    for path in files().iter().filter(|path| !is_process(path)) {
        let spec = Spec::load(path).expect("loads").value;
        let text = serde_json::to_vec(&spec).expect("serializes");
        let again =
            Spec::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(again.value, spec, "{}", path.display());
    }
}

/// Nothing that the file says is lost: what is written again equals the file, but for values that
/// equal the default and for what the types spell differently.
#[test]
fn nothing_is_lost() {
    for path in files() {
        let text = fs::read(&path).expect("readable");
        let original: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let written = if is_process(&path) {
            serde_json::to_value(Process::parse(&text).expect("loads").value)
        } else {
            serde_json::to_value(Spec::parse(&text).expect("loads").value)
        };
        let mut lost = Vec::new();
        compare("", &original, &written.expect("serializes"), &mut lost);
        assert!(lost.is_empty(), "{}: {lost:?}", path.display());
    }
}

fn compare(
    field: &str,
    original: &serde_json::Value,
    written: &serde_json::Value,
    lost: &mut Vec<String>,
) {
    use serde_json::Value::{Array, Bool, Null, Object, String as Text};
    match (original, written) {
        (Object(members), Object(others)) => {
            for (key, value) in members {
                let other = others.get(key).unwrap_or(&Null);
                compare(&format!("{field}.{key}"), value, other, lost);
            }
        }
        (Object(members), Null) => {
            for (key, value) in members {
                compare(&format!("{field}.{key}"), value, &Null, lost);
            }
        }
        // Capabilities are sets.
        (Array(values), Array(others))
            if field.contains(".capabilities.") || field.starts_with(".capabilities") =>
        {
            let sorted = |list: &[serde_json::Value]| {
                let mut list: Vec<String> = list.iter().map(ToString::to_string).collect();
                list.sort();
                list
            };
            if sorted(values) != sorted(others) {
                lost.push(field.to_owned());
            }
        }
        (Array(values), Array(others)) if values.len() == others.len() => {
            for (index, (value, other)) in values.iter().zip(others).enumerate() {
                compare(&format!("{field}[{index}]"), value, other, lost);
            }
        }
        (Array(values), Null) if values.is_empty() => {}
        // Absent means all of them.
        (Text(access), Null) if access == "rwm" => {}
        (Bool(false), Null) => {}
        (Text(text), Null) if text.is_empty() => {}
        (serde_json::Value::Number(number), Null) if number.as_u64() == Some(0) => {}
        // As a device number, minus one means any, as does its absence.
        (serde_json::Value::Number(number), Null) if number.as_i64() == Some(-1) => {}
        _ if original == written => {}
        _ => lost.push(format!("{field}: {original} became {written}")),
    }
}

/// The `oci-spec` crate reads the same.
#[cfg(feature = "oci-spec")]
#[test]
fn the_oci_spec_crate_agrees() {
    let mut refused = Vec::new();
    for path in files().into_iter().filter(|path| !is_process(path)) {
        let text = fs::read(&path).expect("readable");
        let Ok(theirs) = serde_json::from_slice::<oci_spec::runtime::Spec>(&text) else {
            refused.push(path);
            continue;
        };
        let ours = Spec::parse(&text).expect("loads").value;
        let name = path.display();
        assert_eq!(theirs.version(), &ours.oci_version, "{name}");
        let mounts = theirs.mounts().as_deref().unwrap_or_default();
        assert_eq!(mounts.len(), ours.mounts.len(), "{name}");
        for (their, our) in mounts.iter().zip(&ours.mounts) {
            assert_eq!(their.destination(), &our.destination, "{name}");
            assert_eq!(their.typ(), &our.kind, "{name}");
            assert_eq!(their.source(), &our.source, "{name}");
            assert_eq!(their.options().as_deref().unwrap_or_default(), our.options, "{name}");
        }
        let (their, our) = (theirs.process().as_ref(), ours.process.as_ref());
        let (their, our) = (their.expect("a process"), our.expect("a process"));
        assert_eq!(their.args().as_deref().unwrap_or_default(), our.args, "{name}");
        assert_eq!(their.env().as_deref().unwrap_or_default(), our.env, "{name}");
        assert_eq!(their.cwd(), &our.cwd, "{name}");
        assert_eq!(their.user().uid(), our.user.uid, "{name}");
        assert_eq!(their.user().umask(), our.user.umask, "{name}");
        let rlimits: Vec<(u64, u64)> =
            their.rlimits().iter().flatten().map(|rlimit| (rlimit.soft(), rlimit.hard())).collect();
        let own: Vec<(u64, u64)> =
            our.rlimits.iter().map(|rlimit| (rlimit.soft, rlimit.hard)).collect();
        assert_eq!(rlimits, own, "{name}");
        assert_eq!(Spec::try_from(&theirs).expect("converts"), ours, "{name}");
    }
    println!("oci-spec refuses {} of the files: {refused:?}", refused.len());
}
