//! update on real containers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use bundle::{Bundle, stderr};
use serde_json::json;

const WAIT: &str = "while :; do sleep 1; done";

/// What a controller's file says about a container, by its name in cgroup v1 and in v2.
fn limit(bundle: &Bundle, controller: &str, v1: &str, v2: &str) -> String {
    let pid = bundle.state()["pid"].to_string();
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let path = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        if names.split(',').any(|name| name == controller) {
            return Some(format!("/sys/fs/cgroup/{controller}{path}/{v1}"));
        }
        None
    });
    let unified = || {
        let path = cgroups.lines().find_map(|line| line.strip_prefix("0::")).expect("a v2 cgroup");
        format!("/sys/fs/cgroup{path}/{v2}")
    };
    let path = path.unwrap_or_else(unified);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
}

fn pids(bundle: &Bundle) -> String {
    limit(bundle, "pids", "pids.max", "pids.max")
}

fn memory(bundle: &Bundle) -> String {
    limit(bundle, "memory", "memory.limit_in_bytes", "memory.max")
}

#[test]
fn limits_by_option_and_by_file() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.edit(|config| config["linux"]["resources"] = json!({"pids": {"limit": 40}}));
    bundle.start_waiting();
    bundle.succeed(&["update", "--pids-limit", "50", "--memory=64m", &bundle.id]);
    assert_eq!((pids(&bundle), memory(&bundle)), ("50".to_owned(), "67108864".to_owned()));

    let mut command = bundle.command(&["update", "-r", "-", &bundle.id]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("update");
    let text = br#"{"pids":{"limit":-1},"memory":{"limit":33554432}}"#;
    child.stdin.take().expect("a pipe").write_all(text).expect("written");
    assert!(child.wait().expect("an end").success());
    assert_eq!((pids(&bundle), memory(&bundle)), ("max".to_owned(), "33554432".to_owned()));
}

#[test]
fn a_refused_limit_changes_nothing() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.edit(|config| {
        config["linux"]["resources"] =
            json!({"pids": {"limit": 40}, "memory": {"limit": 67108864}});
    });
    bundle.start_waiting();
    // The limits are written in this order; there is no such device.
    bundle.edit(|config| {
        config["limits"] = json!({
            "memory": {"limit": 134_217_728}, "pids": {"limit": 50},
            "blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 77, "rate": 1000}]}
        });
        let text = config["limits"].to_string();
        fs::write(bundle.path("limits.json"), text).expect("a file");
    });
    let error = bundle.fail(1, &["update", "--resources", &bundle.path("limits.json"), &bundle.id]);
    assert!(error.contains("linux.resources.blockIO.throttleReadBpsDevice[0]"), "{error}");
    assert_eq!((pids(&bundle), memory(&bundle)), ("40".to_owned(), "67108864".to_owned()));
}

#[test]
fn device_rules_are_replaced() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.edit(|config| {
        config["linux"]["devices"] =
            json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    });
    bundle.start_waiting();
    let fuse = ["exec", &bundle.id, "sh", "-c", ": </dev/fuse"];
    let denied = bundle.coracle(&fuse);
    assert!(stderr(&denied).contains("Operation not permitted"), "{}", stderr(&denied));
    let rules = json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    ]});
    fs::write(bundle.path("rules.json"), rules.to_string()).expect("a file");
    bundle.succeed(&["update", "-r", &bundle.path("rules.json"), &bundle.id]);
    let now = bundle.coracle(&fuse);
    // No driver may be there, but that is another answer.
    assert!(!stderr(&now).contains("Operation not permitted"), "{}", stderr(&now));
    bundle.succeed(&["exec", &bundle.id, "sh", "-c", ": </dev/null"]);
}

#[test]
fn what_cannot_be_updated_says_why() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    let error = bundle.fail(1, &["update", "--pids-limit", "5", &bundle.id]);
    assert!(error.contains("does not exist"), "{error}");
    bundle.start_waiting();
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    bundle.await_status("stopped");
    let error = bundle.fail(1, &["update", "--pids-limit", "5", &bundle.id]);
    assert!(error.contains("container not running"), "{error}");
    let error = bundle.fail(1, &["update", &bundle.id]);
    assert!(error.contains("no limit is given"), "{error}");
    let error = bundle.fail(1, &["update", "--memory", "5x", &bundle.id]);
    assert!(error.contains("is not a size"), "{error}");
}

#[test]
fn shares_of_a_class_of_service_and_what_is_used_of_them() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    // No machine of the tests has the hardware: an ordinary directory imitates the file system.
    let root = std::path::PathBuf::from(bundle.path("resctrl"));
    fs::create_dir_all(root.join("info/L3")).expect("a directory");
    fs::write(root.join("info/L3/cbm_mask"), "ff\n").expect("a mask");
    bundle.edit(|config| config["linux"]["intelRdt"] = json!({}));
    let mut options = coracle::CreateOptions::default();
    options.resctrl_imitation = Some(root.clone());
    let loaded = coracle::Bundle::load(bundle.path("")).expect("a bundle");
    let runtime = coracle::Runtime::new(bundle.path("state"));
    runtime.create(&bundle.id.parse().expect("an id"), &loaded, &options).expect("created");
    let class = root.join(&bundle.id);
    fs::write(class.join("schemata"), "L3:0=ff\nMB:0=100\n").expect("what the kernel puts there");
    fs::create_dir_all(class.join("mon_data/mon_L3_00")).expect("counters");
    fs::write(class.join("mon_data/mon_L3_00/llc_occupancy"), "4096\n").expect("a counter");

    let (cache, bandwidth) = ("--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=20");
    bundle.succeed(&["update", cache, &bundle.id]);
    fs::write(bundle.path("limits.json"), r#"{"pids":{"limit":44}}"#).expect("limits");
    bundle.succeed(&["update", "-r", &bundle.path("limits.json"), bandwidth, &bundle.id]);
    let written = fs::read_to_string(class.join("schemata")).expect("schemata");
    assert_eq!(written, "L3:0=ff\nMB:0=100\nL3:0=f\nMB:0=20\n");
    assert_eq!(pids(&bundle), "44");
    let error = bundle.fail(1, &["update", "--l3-cache-schema=L3:9=f", &bundle.id]);
    assert!(error.contains("domain 9 of L3"), "{error}");

    let line = bundle.succeed(&["events", "--stats", &bundle.id]);
    let data: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let shares = &data["data"]["intel_rdt"];
    assert_eq!(shares["l3_cache_info"]["cbm_mask"], "ff", "{shares}");
    assert_eq!(shares["cmt_stats"], json!([{"domain": 0, "llc_occupancy": 4096}]));
    let text = bundle.succeed(&["events", "--format", "prometheus", &bundle.id]);
    let metric = format!("coracle_llc_occupancy_bytes{{id=\"{}\",domain=\"0\"}} 4096", bundle.id);
    assert!(text.lines().any(|line| line == metric), "{text}");
    fs::remove_dir_all(class.join("mon_data")).expect("removed");
}

#[test]
fn a_processor_that_is_not_there_is_told_with_those_that_are() {
    let Some(bundle) = Bundle::new(WAIT) else {
        return;
    };
    bundle.start_waiting();
    let there = limit(&bundle, "cpuset", "cpuset.cpus", "cpuset.cpus.effective");
    let error = bundle.fail(1, &["update", "--cpuset-cpus", "8191", &bundle.id]);
    let words = format!("of the processors {there}, which are all");
    assert!(error.contains("linux.resources.cpu.cpus") && error.contains(&words), "{error}");
}
