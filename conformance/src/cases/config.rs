//! config.json itself: versions, types, strange bytes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::case::{Case, Need};
use crate::failure::{Check, ensure, skip};
use crate::value::contains;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("config/unknown-properties", "config.md#extensibility: unknown is ignored", |t| {
        t.bundle()
            .set("/newThing", json!({ "a": [1] }))
            .set("/process/newThing", 1)
            .set("/linux/newThing", "x")
            .ops(&["exit=3"])
            .run()?
            .code(3)
            .map(drop)
    })
    .rows(&["unknown properties"]),
    Case::new("config/missing", "create: config.json must exist", |t| {
        let mut bundle = t.bundle();
        let call = bundle.call("create", &[])?;
        fs::remove_file(bundle.dir.join("config.json"))?;
        call.run()?.code(1)?.fails_with("config.json").map(drop)
    })
    .rows(&["create"]),
    Case::new("config/empty", "an empty file is an error", |t| {
        t.bundle().raw("").refused("").map(drop)
    }),
    Case::new("config/not-json", "wrong JSON is an error", |t| {
        t.bundle().raw("{ \"ociVersion\": ").refused("").map(drop)
    }),
    Case::new("config/null", "null is no configuration", |t| {
        t.bundle().raw("null").refused("").map(drop)
    }),
    Case::new("config/process-missing", "config.md#process: needed to start", |t| {
        t.bundle().remove("/process").refused("process").map(drop)
    }),
    Case::new("config/root-missing", "config.md#root: needed on Linux", |t| {
        t.bundle().remove("/root").refused("root").map(drop)
    })
    .rows(&["root"]),
    Case::new("config/linux-missing", "config.md: the linux object may be absent", |t| {
        no_crash(t.bundle().remove("/linux").remove("/hostname").remove("/mounts").ops(&["exit=0"]))
    })
    .needs(&[Need::Root]),
    Case::new("config/fifo", "a fifo in place of config.json does not block", |t| {
        let mut bundle = t.bundle();
        let call = bundle.call("create", &[])?;
        let path = bundle.dir.join("config.json");
        fs::remove_file(&path)?;
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644))?;
        call.limit(Duration::from_secs(4)).run()?.fails().map(drop)
    }),
    Case::new("config/directory", "a directory in place of config.json is an error", |t| {
        let mut bundle = t.bundle();
        let call = bundle.call("create", &[])?;
        let path = bundle.dir.join("config.json");
        fs::remove_file(&path)?;
        fs::create_dir(&path)?;
        call.run()?.fails().map(drop)
    }),
    Case::new("config/large", "ten megabytes of annotations", |t| {
        t.bundle()
            .set("/annotations", json!({ "big": "x".repeat(10_000_000) }))
            .ops(&["exit=3"])
            .run()?
            .code(3)
            .map(drop)
    }),
    Case::new("config/deep", "deep nesting is an error, not a crash", |t| {
        let deep = format!("{{\"x\": {}1{} }}", "[".repeat(200_000), "]".repeat(200_000));
        let output = t.bundle().raw(deep).refused("")?;
        ensure(output.code < 128, format!("a crash: {}", output.code))
    }),
    Case::new("config/truncated", "a file cut at any place is an error, not a crash", |t| {
        let text = t.bundle().config.to_string();
        for part in 1..8 {
            let cut = text.get(..text.len() * part / 8).unwrap_or_default().to_owned();
            t.bundle().raw(cut).refused("")?;
        }
        Ok(())
    }),
    Case::new("config/invalid-utf-8", "bytes that are no UTF-8: refused or taken, no crash", |t| {
        let text = t.bundle().ops(&["echo=alive"]).config.to_string().into_bytes();
        let mut bytes = b"{\"annotations\":{\"k\":\"\xff\xfe\"},".to_vec();
        bytes.extend_from_slice(text.get(1..).unwrap_or_default());
        no_crash(t.bundle().raw(bytes))
    }),
    Case::new("config/uid-string", "a string is no uid", |t| {
        t.bundle().set("/process/user/uid", "root").refused("").map(drop)
    }),
    Case::new("config/args-string", "a string is no list", |t| {
        t.bundle().set("/process/args", "sh").refused("args").map(drop)
    }),
    Case::new("config/env-without-equals", "an entry of env without `=`: no crash", |t| {
        no_crash(t.bundle().set("/process/env", json!(["NOTHING"])).ops(&["exit=0"]))
    }),
    Case::new(
        "config/annotation-key-empty",
        "config.md#annotations: an empty key: no crash",
        |t| no_crash(t.bundle().set("/annotations", json!({ "": "x" })).ops(&["exit=0"])),
    )
    .rows(&["annotations"]),
    Case::new("config/unsupported-apparmor", "config.md: a profile that cannot be had", |t| {
        if Path::new("/sys/kernel/security/apparmor").exists() {
            return skip("AppArmor is there");
        }
        t.bundle().set("/process/apparmorProfile", "no-such-profile").refused("apparmor").map(drop)
    })
    .rows(&["unsupported values", "process.apparmorProfile"]),
    Case::new("config/unsupported-selinux", "config.md: a label that cannot be had", |t| {
        if Path::new("/sys/fs/selinux").exists() {
            return skip("SELinux is there");
        }
        t.bundle()
            .set("/process/selinuxLabel", "system_u:system_r:x_t:s0")
            .refused("selinux")
            .map(drop)
    })
    .rows(&["unsupported values", "process.selinuxLabel"]),
    Case::new("strict/version-missing", "config.md#specification-version: required", |t| {
        t.bundle().remove("/ociVersion").refused("ociVersion").map(drop)
    })
    .rows(&["ociVersion"]),
    Case::new("strict/version-major", "config.md#specification-version: another major", |t| {
        t.bundle().set("/ociVersion", "9.0.0").refused("9.0.0").map(drop)
    })
    .rows(&["ociVersion"]),
    Case::new("strict/version-words", "config.md#specification-version: SemVer", |t| {
        t.bundle().set("/ociVersion", "one").refused("ociVersion").map(drop)
    })
    .rows(&["ociVersion"]),
    Case::new("strict/version-minor", "a newer minor version is accepted", |t| {
        t.bundle().set("/ociVersion", "1.2.0").ops(&["exit=3"]).run()?.code(3).map(drop)
    })
    .rows(&["ociVersion"]),
    Case::new("strict/error-names-field", "a wrong type names the field", |t| {
        t.bundle().set("/process/user/uid", "root").refused("uid").map(drop)
    }),
    Case::new("strict/error-names-line", "wrong JSON names the line", |t| {
        let output =
            t.bundle().raw("{\n\"ociVersion\": \"1.0.2\",\n\"process\": ]\n}").refused("")?;
        contains(
            "error",
            &output.stderr.to_lowercase().replace("config.json:3", "line 3"),
            "line 3",
        )
    }),
    Case::new("strict/error-names-mount", "a failed mount names its destination", |t| {
        t.bundle()
            .mount("/some/place", "tmpfs", "tmpfs", &["size=many"])
            .refused("/some/place")
            .map(drop)
    }),
    Case::new("strict/duplicate-key", "a key that repeats: the last counts, or an error", |t| {
        let text = t.bundle().ops(&["exit=4"]).config.to_string();
        let text = text.replacen('{', "{\"hostname\":\"first\",", 1);
        let output = t.bundle().raw(text).run()?;
        ensure(output.code == 4 || output.code == 1, format!("exit status {}", output.code))
    }),
];

/// The bundle runs or is refused.
fn no_crash(bundle: crate::bundle::Bundle<'_>) -> Check {
    bundle.ran_or_refused()
}
