//! Runs the configurations that engines have really written: paths of the machine where they were
//! taken are replaced, nothing else.
#![allow(clippy::expect_used, reason = "a test fails where it expects in vain")]
#![allow(clippy::indexing_slicing, reason = "an absent key of a JSON value is null")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What must run, whatever else is refused with a clear word.
const DEFAULTS: &[&str] = &[
    "docker-default",
    "docker-limits",
    "docker-privileged",
    "docker-user",
    "docker-volumes",
    "podman-default",
    "podman-limits",
    "podman-privileged",
    "podman-user-groups",
    "ctr-default",
    "ctr-mounts-user",
    "cri-default-sandbox",
    "cri-default-container",
    "buildah-run",
];

struct Ground {
    directory: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let rootfs = directory.path().join("bundle/rootfs");
        for part in
            ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr/bin", "var"]
        {
            fs::create_dir_all(rootfs.join(part)).expect("rootfs");
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("busybox");
        for applet in ["sh", "true"] {
            symlink("busybox", rootfs.join("bin").join(applet)).expect("link");
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("passwd");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A source that exists here, of the kind that the destination suggests.
    fn source(&self, original: &Path, destination: &str) -> PathBuf {
        if original.exists() {
            return original.to_owned();
        }
        let stand_in = self.path("sources").join(original.to_string_lossy().replace('/', "_"));
        let file = destination.starts_with("/etc/")
            || destination.ends_with("init")
            || destination.ends_with(".containerenv")
            || destination.ends_with("termination-log")
            || destination.starts_with("/run/secrets/");
        if file {
            fs::create_dir_all(self.path("sources")).expect("sources");
            fs::copy("/bin/busybox", &stand_in).expect("source");
        } else {
            fs::create_dir_all(&stand_in).expect("source");
        }
        stand_in
    }

    /// Takes the machine out of a configuration.
    fn adapt(&self, name: &str, config: &mut Value) {
        config["root"]["path"] = "rootfs".into();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        config["process"]["terminal"] = false.into();
        config["linux"]["cgroupsPath"] =
            format!("/engine-bundles-{}-{name}", std::process::id()).into();
        if let Some(object) = config.as_object_mut() {
            object.remove("hooks");
        }
        for namespace in config["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
            if let Some(object) = namespace.as_object_mut() {
                object.remove("path");
            }
        }
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            let options = mount["options"].as_array().cloned().unwrap_or_default();
            let bind = mount["type"] == "bind"
                || options.iter().any(|option| option == "bind" || option == "rbind");
            if bind {
                let destination = mount["destination"].as_str().unwrap_or_default().to_owned();
                let source = PathBuf::from(mount["source"].as_str().unwrap_or_default());
                mount["source"] = self.source(&source, &destination).to_string_lossy().into();
            }
        }
    }

    /// Runs the adapted configuration; the error record of a failure.
    fn run(&self, name: &str, config: &Value) -> Result<(), Value> {
        let bundle = self.path("bundle");
        fs::write(bundle.join("config.json"), config.to_string()).expect("config");
        let log = self.path("log.json");
        let _old = fs::remove_file(&log);
        let status = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .arg("--root")
            .arg(self.path("state"))
            .args(["--log-format", "json", "--log"])
            .arg(&log)
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(format!("engine-{name}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("coracle");
        if status.success() {
            return Ok(());
        }
        let text = fs::read_to_string(&log).unwrap_or_default();
        let mut record = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Err(record.rfind(|record| record["level"] == "error").unwrap_or_default())
    }
}

fn configurations() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-core/tests/bundles");
    let mut found: Vec<_> = fs::read_dir(directory)
        .expect("bundles")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().expect("name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("configuration");
            (name, serde_json::from_str::<Value>(&text).expect("JSON"))
        })
        .filter(|(_, config)| config.get("process").is_some())
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

#[test]
fn what_engines_write_runs_or_is_refused_by_the_name_of_a_field() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        println!("skipped: needs root and /bin/busybox (Debian package busybox-static)");
        return;
    }
    let ground = Ground::new();
    let mut bad = Vec::new();
    let mut ran = 0;
    for (name, mut config) in configurations() {
        ground.adapt(&name, &mut config);
        match ground.run(&name, &config) {
            Ok(()) => ran += 1,
            Err(record)
                if record["code"] == "unsupported" && !DEFAULTS.contains(&name.as_str()) =>
            {
                if record["field"].as_str().is_none_or(str::is_empty) {
                    bad.push(format!("{name}: no field is named: {record}"));
                }
            }
            Err(record) => bad.push(format!("{name}: {record}")),
        }
    }
    println!("{ran} configurations ran");
    let left = fs::read_dir(ground.path("state")).expect("state").count();
    assert_eq!(left, 0, "containers are left");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(ran >= 90, "only {ran} ran");
}
