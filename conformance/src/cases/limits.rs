//! Resource limits, scheduling, and other settings of the process that the kernel keeps.

use serde_json::{Value, json};

use crate::case::Case;
use crate::value::{equal, number, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("process/oom-score-adj", "config.md#process: oomScoreAdj", |t| {
        let report = t.bundle().set("/process/oomScoreAdj", 321).report()?;
        equal("oom_score_adj", text(&report, "/oom_score_adj")?, "321")
    })
    .rows(&["process.oomScoreAdj"]),
    Case::new("process/oom-score-adj-unset", "config.md#process: unchanged when unset", |t| {
        std::fs::write("/proc/self/oom_score_adj", "77")?;
        let report = t.bundle().report()?;
        equal("oom_score_adj", text(&report, "/oom_score_adj")?, "77")
    })
    .rows(&["process.oomScoreAdj"]),
    Case::new("process/rlimits", "config.md#process: soft and hard limits", |t| {
        let limits = json!([
            { "type": "RLIMIT_NOFILE", "soft": 512, "hard": 1000 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608 },
        ]);
        let report = t.bundle().set("/process/rlimits", limits).report()?;
        equal("NOFILE", &report["rlimits"]["RLIMIT_NOFILE"], &json!([512, 1000]))?;
        equal("CORE", &report["rlimits"]["RLIMIT_CORE"], &json!([0, 0]))?;
        equal("STACK", &report["rlimits"]["RLIMIT_STACK"], &json!([4_194_304, 8_388_608]))
    })
    .rows(&["process.rlimits"]),
    Case::new("process/rlimits-all-types", "config.md#process: every type of getrlimit(2)", |t| {
        let (hard, list) = all_limits(&t.bundle().report()?);
        let report = t.bundle().set("/process/rlimits", list).report()?;
        for (name, hard) in hard {
            equal(&name, &report["rlimits"][&name][1], &hard)?;
        }
        Ok(())
    })
    .rows(&["process.rlimits"]),
    Case::new("process/rlimits-duplicate", "config.md#process: a type must not repeat", |t| {
        let limit = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
        t.bundle().set("/process/rlimits", json!([limit, limit])).refused("RLIMIT_CORE").map(drop)
    })
    .rows(&["process.rlimits"]),
    Case::new("process/rlimits-unknown", "config.md#process: unknown types are refused", |t| {
        let limit = json!({ "type": "RLIMIT_WRONG", "soft": 0, "hard": 0 });
        t.bundle().set("/process/rlimits", json!([limit])).refused("RLIMIT_WRONG").map(drop)
    })
    .rows(&["process.rlimits"]),
    Case::new("process/rlimits-soft-above-hard", "setrlimit(2): soft may not be above hard", |t| {
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 600, "hard": 500 });
        t.bundle()
            .set("/process/rlimits", json!([limit]))
            .refused("rlimit|invalid argument")
            .map(drop)
    })
    .rows(&["process.rlimits"]),
    Case::new("process/scheduler", "config.md#scheduler: policy and nice", |t| {
        let bundle =
            t.bundle().set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 7 }));
        let report = bundle.report()?;
        equal("policy and nice", &report["scheduler"], &json!([3, 7]))
    })
    .rows(&["process.scheduler"]),
    Case::new("process/io-priority", "config.md#io-priority: class and priority", |t| {
        let report = t
            .bundle()
            .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }))
            .report()?;
        equal("ioprio", &number(&report, "/ioprio")?, &((2 << 13) | 6))
    })
    .rows(&["process.ioPriority"]),
    Case::new("process/personality", "config-linux.md#personality: LINUX32", |t| {
        let report =
            t.bundle().set("/linux/personality", json!({ "domain": "LINUX32" })).report()?;
        equal("personality", text(&report, "/personality")?, "00000008")
    })
    .rows(&["linux.personality"]),
];

/// Every limit lowered a little, so that it needs no privilege.
fn all_limits(report: &Value) -> (Vec<(String, Value)>, Value) {
    let mut hard = Vec::new();
    let mut list = Vec::new();
    for (name, pair) in report["rlimits"].as_object().into_iter().flatten() {
        let top = pair[1].as_u64().unwrap_or(0);
        let wanted = match name.as_str() {
            "RLIMIT_AS" | "RLIMIT_DATA" | "RLIMIT_STACK" => top.min(1 << 40),
            _ => top.saturating_sub(1).min(1 << 40),
        };
        hard.push((name.clone(), json!(wanted)));
        list.push(json!({ "type": name, "soft": wanted, "hard": wanted }));
    }
    (hard, Value::from(list))
}
