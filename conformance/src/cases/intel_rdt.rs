//! Intel RDT: what can be tested on a processor without it.

use std::fs;

use serde_json::{Value, json};

use super::control_files::cgroup_of;
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::skip;
use crate::trial::Trial;
use crate::value::equal;

const ROW: &[&str] = &["linux.intelRdt"];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("intel-rdt/not-mounted", "config-linux.md#intelrdt: no resctrl is an error", |t| {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        if table.contains(" - resctrl ") {
            return skip("resctrl is mounted");
        }
        for settings in [
            json!({}),
            json!({ "closID": "guaranteed" }),
            json!({ "closID": "/" }),
            json!({ "l3CacheSchema": "L3:0=f" }),
            json!({ "closID": "guaranteed", "memBwSchema": "MB:0=20" }),
        ] {
            with(t, &settings).refused("rdt|resctrl")?;
        }
        Ok(())
    })
    .rows(ROW),
    Case::new("intel-rdt/schemata-not-mounted", "config-linux.md#intelrdt: schemata", |t| {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        if table.contains(" - resctrl ") {
            return skip("resctrl is mounted");
        }
        with(t, &json!({ "schemata": ["L3:0=f"] })).refused("rdt|resctrl")?;
        with(t, &json!({ "enableMonitoring": true })).refused("rdt|resctrl").map(drop)
    })
    .rows(ROW),
    Case::new("intel-rdt/update-not-mounted", "convention: update cannot give shares", |t| {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        if table.contains(" - resctrl ") {
            return skip("resctrl is mounted");
        }
        let limit = json!({ "limit": 50 });
        let c = t.bundle().set("/linux/resources/pids", limit).ops(&["sleep"]).start()?;
        for option in ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=20"] {
            c.call(&["update", "--pids-limit", "60", option]).run()?.fails_with("rdt|resctrl")?;
        }
        // Nothing of it has happened.
        let file = t.host.cgroup_dir("pids", &cgroup_of(t, &c.id)).join("pids.max");
        equal("pids.max", fs::read_to_string(file)?.trim(), "50")
    })
    .needs(&[Need::Controller("pids"), Need::Command("update")]),
];

fn with<'t>(t: &'t Trial, settings: &Value) -> Bundle<'t> {
    t.bundle().set("/linux/intelRdt", settings.clone())
}
