//! Shares and use, as the kernel's files have them.

use std::fs;

use serde_json::{Value, json};

use crate::scene::Scene;

impl Scene {
    /// Files as the kernel makes them.
    fn files(&self, directory: &str, files: &[(&str, &str)]) {
        fs::create_dir_all(self.path(directory)).expect(directory);
        for (name, text) in files {
            fs::write(self.path(directory).join(name), format!("{text}\n")).expect(name);
        }
    }

    fn statistics(&self, settings: &Value) -> Value {
        let container = self.create(settings).expect("created");
        let stats = container.rdt_stats().expect("a state").expect("a class");
        serde_json::to_value(stats).expect("JSON")
    }
}

#[test]
fn shares_and_what_there_is_to_share() {
    let Some(scene) = Scene::new("shares") else { return };
    scene.class("gold");
    assert_eq!(scene.statistics(&json!({"closID": "gold"})), json!({}), "no such processor");
    scene.delete();
    scene.files("info/L3", &[("cbm_mask", "7ff"), ("min_cbm_bits", "1"), ("num_closids", "16")]);
    scene.files(
        "info/MB",
        &[
            ("bandwidth_gran", "10"),
            ("delay_linear", "1"),
            ("min_bandwidth", "20"),
            ("num_closids", "8"),
        ],
    );
    fs::write(scene.path("gold/schemata"), "    MB:0= 20\n    L3:0=00f\n").expect("schemata");
    // These are the keys and the forms of runc.
    let expected = json!({
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=0ff;1=7ff",
        "l3_cache_schema": "L3:0=00f",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 20,
                        "num_closids": 8},
        "mem_bw_schema_root": "MB:0= 100;1= 100",
        "mem_bw_schema": "MB:0= 20",
    });
    assert_eq!(scene.statistics(&json!({"closID": "gold"})), expected);
    scene.delete();
}

#[test]
fn counters_are_those_of_the_container_alone() {
    let Some(scene) = Scene::new("count") else { return };
    scene.class("gold");
    let group = format!("gold/mon_groups/{}", scene.id);
    let full = [("llc_occupancy", "4096"), ("mbm_total_bytes", "9"), ("mbm_local_bytes", "5")];
    // The class counts for others too, the group for the container.
    scene.files("gold/mon_data/mon_L3_00", &full);
    assert_eq!(scene.statistics(&json!({"closID": "gold"})), json!({}));
    scene.delete();
    let container =
        scene.create(&json!({"closID": "gold", "enableMonitoring": true})).expect("created");
    scene.files(&format!("{group}/mon_data/mon_L3_01"), &[("llc_occupancy", "Unavailable")]);
    scene.files(&format!("{group}/mon_data/mon_L3_10"), &[("mbm_total_bytes", "7")]);
    scene.files(&format!("{group}/mon_data/mon_L3_02"), &full);
    let stats = container.rdt_stats().expect("a state").expect("a class");
    let expected = json!({
        "mbm_stats": [{"domain": 2, "mbm_total_bytes": 9, "mbm_local_bytes": 5},
                      {"domain": 10, "mbm_total_bytes": 7, "mbm_local_bytes": 0}],
        "cmt_stats": [{"domain": 2, "llc_occupancy": 4096}],
    });
    assert_eq!(serde_json::to_value(stats).expect("JSON"), expected);
    fs::remove_dir_all(scene.path(&group).join("mon_data")).expect("removed");
    scene.delete();
}
