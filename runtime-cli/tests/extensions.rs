//! What crun understands beyond the specification, on real containers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use bundle::Bundle;
use serde_json::json;

#[test]
fn the_groups_of_the_caller_are_kept_when_asked_for() {
    let Some(bundle) = Bundle::new("id -G; sleep 60") else {
        return;
    };
    if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: needs setpriv");
        return;
    }
    let with_groups = |words: &[&str]| {
        let command = bundle.command(words);
        let output = Command::new("setpriv")
            .args(["--groups", "4242,4343"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(bundle.path(""))
            .output()
            .expect("setpriv runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    bundle.edit(|config| config["process"]["args"] = json!(["/bin/sh", "-c", "id -G"]));
    assert_eq!(with_groups(&["run", &bundle.id]), "0\n");
    bundle.edit(|config| {
        config["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    });
    assert_eq!(with_groups(&["run", &bundle.id]), "0 4242 4343\n");
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "60"]));
    let mut run = bundle.command(&["run", "--detach", &bundle.id]);
    assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("runs").success());
    assert_eq!(with_groups(&["exec", &bundle.id, "id", "-G"]), "0 4242 4343\n");
}

#[test]
fn a_link_is_copied_as_a_link_when_asked_for() {
    let Some(bundle) = Bundle::new("ls -l /copied /mounted; cat /mounted") else {
        return;
    };
    let link = bundle.path("link");
    std::fs::write(bundle.path("content"), "content\n").expect("a file");
    symlink(bundle.path("content"), &link).expect("a link");
    let mount = |destination: &str, source: &str| json!({"destination": destination, "source": source, "options": ["bind", "copy-symlink"]});
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(mount("/copied", &link));
        // What is no link is mounted.
        mounts.push(mount("/mounted", &bundle.path("content")));
    });
    let said = bundle.succeed(&["run", &bundle.id]);
    assert!(said.contains(&format!("/copied -> {}\n", bundle.path("content"))), "{said}");
    assert!(said.ends_with("content\n"), "{said}");
}

#[test]
fn what_would_confine_less_is_refused_by_name() {
    let Some(bundle) = Bundle::new("true") else {
        return;
    };
    for name in ["run.oci.handler", "run.oci.seccomp_bpf_data", "run.oci.seccomp.plugins"] {
        bundle.edit(|config| config["annotations"] = json!({name: "x"}));
        let error = bundle.fail(1, &["run", &bundle.id]);
        assert!(error.contains(&format!("annotations.{name}")), "{error}");
    }
    bundle.edit(|config| config["annotations"] = json!({"run.oci.systemd.subgroup": "x"}));
    bundle.succeed(&["run", &bundle.id]);
}
