//! `linux.resources.cpu` beyond shares, quota and period together.

use serde_json::json;

use super::control_files::{files, offers, only_v1};
use crate::case::{Case, Need};
use crate::failure::skip;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("cpu/period-alone", "config-linux.md#cpu: period without quota", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "period": 50_000 }));
        files(t, b, "cpu", &[("cpu.cfs_period_us", "cpu.max", "50000")])
    })
    .rows(&["cpu.quota"])
    .needs(&[Need::Controller("cpu")]),
    Case::new("cpu/quota-unlimited", "config-linux.md#cpu: quota -1 is none", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "quota": -1, "period": 50_000 }));
        let wanted = if t.host.v2 { "max" } else { "-1" };
        files(t, b, "cpu", &[("cpu.cfs_quota_us", "cpu.max", wanted)])
    })
    .rows(&["cpu.quota"])
    .needs(&[Need::Controller("cpu")]),
    Case::new("cpu/burst", "config-linux.md#cpu: burst", |t| {
        let cpu = json!({ "quota": 50_000, "period": 100_000, "burst": 20_000 });
        let b = t.bundle().set("/linux/resources/cpu", cpu);
        files(t, b, "cpu", &[("cpu.cfs_burst_us", "cpu.max.burst", "20000")])
    })
    .rows(&["cpu.burst"])
    .needs(&[Need::Controller("cpu"), Need::Kernel(5, 14)]),
    Case::new("cpu/burst-above-quota", "config-linux.md#cpu: burst is at most quota", |t| {
        let cpu = json!({ "quota": 50_000, "period": 100_000, "burst": 60_000 });
        t.bundle().set("/linux/resources/cpu", cpu).refused("burst").map(drop)
    })
    .rows(&["cpu.burst"])
    .needs(&[Need::Controller("cpu"), Need::Kernel(5, 14)]),
    Case::new("cpu/idle", "config-linux.md#cpu: idle 1 is SCHED_IDLE", |t| {
        let b = t.bundle().set("/linux/resources/cpu", json!({ "idle": 1 }));
        files(t, b, "cpu", &[("cpu.idle", "cpu.idle", "1")])
    })
    .rows(&["cpu.idle"])
    .needs(&[Need::Controller("cpu"), Need::Kernel(5, 15)]),
    Case::new("cpu/idle-bad", "config-linux.md#cpu: 0 or 1", |t| {
        t.bundle().set("/linux/resources/cpu", json!({ "idle": 7 })).refused("idle").map(drop)
    })
    .rows(&["cpu.idle"])
    .needs(&[Need::Controller("cpu"), Need::Kernel(5, 15)]),
    Case::new("cpu/realtime", "config-linux.md#cpu: realtimeRuntime", |t| {
        if !t.host.v2 && !offers(t, "cpu", "cpu.rt_runtime_us") {
            return skip("this kernel does not share real-time out");
        }
        only_v1(t, ("cpu/realtimeRuntime", 5_000), ("cpu", "cpu.rt_runtime_us", "5000"))
    })
    .rows(&["cpu.realtimeRuntime"])
    .needs(&[Need::Root, Need::Controller("cpu")]),
    Case::new("cpu/realtime-period", "config-linux.md#cpu: realtimePeriod", |t| {
        if !t.host.v2 && !offers(t, "cpu", "cpu.rt_period_us") {
            return skip("this kernel does not share real-time out");
        }
        let period = ("cpu/realtimePeriod", 500_000);
        only_v1(t, period, ("cpu", "cpu.rt_period_us", "500000"))
    })
    .rows(&["cpu.realtimeRuntime"])
    .needs(&[Need::Root, Need::Controller("cpu")]),
    Case::new("cpu/set-missing", "config-linux.md#cpu: a processor that is not there", |t| {
        t.bundle()
            .set("/linux/resources/cpu", json!({ "cpus": "8000" }))
            .refused("cpuset|cpus")
            .map(drop)
    })
    .rows(&["cpu.cpus"])
    .needs(&[Need::Controller("cpuset")]),
];
