//! System call filters that compare arguments.

use serde_json::json;

use super::seccomp::{deny, errno_of};
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::trial::Trial;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("seccomp/arg-eq", "config-linux.md#seccomp: SCMP_CMP_EQ", |t| {
        compare(t, "SCMP_CMP_EQ", [2, 0], &[2])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-ne", "config-linux.md#seccomp: SCMP_CMP_NE", |t| {
        compare(t, "SCMP_CMP_NE", [2, 0], &[0, 1])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-lt", "config-linux.md#seccomp: SCMP_CMP_LT", |t| {
        compare(t, "SCMP_CMP_LT", [2, 0], &[0, 1])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-le", "config-linux.md#seccomp: SCMP_CMP_LE", |t| {
        compare(t, "SCMP_CMP_LE", [1, 0], &[0, 1])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-gt", "config-linux.md#seccomp: SCMP_CMP_GT", |t| {
        compare(t, "SCMP_CMP_GT", [1, 0], &[2])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-ge", "config-linux.md#seccomp: SCMP_CMP_GE", |t| {
        compare(t, "SCMP_CMP_GE", [1, 0], &[1, 2])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-masked", "config-linux.md#seccomp: value is the mask", |t| {
        compare(t, "SCMP_CMP_MASKED_EQ", [2, 2], &[2])
    })
    .rows(&["seccomp.syscalls"]),
    Case::new(
        "seccomp/arg-incomplete",
        "config-linux.md#seccomp: index, value and op required",
        |t| {
            let whole = json!({ "index": 0, "value": 0, "op": "SCMP_CMP_EQ" });
            for missing in ["index", "value", "op"] {
                let mut argument = whole.clone();
                if let Some(argument) = argument.as_object_mut() {
                    argument.remove(missing);
                }
                deny(t, "personality", json!({ "args": [argument] })).refused(missing)?;
            }
            deny(t, "personality", json!({ "args": [whole] }))
                .ops(&["exit=0"])
                .run()?
                .ok()
                .map(drop)
        },
    )
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/arg-64-bit", "a value above 32 bits counts whole", |t| {
        let op = "syscall=personality,0x1ffffffff";
        let rule =
            |value: u64| json!({ "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }] });
        errno_of(deny(t, "personality", rule(0x1_ffff_ffff)), op, "EPERM")?;
        // The same low half alone must not match.
        deny(t, "personality", rule(0xffff_ffff)).probe(&[op])?.value(op).map(drop)
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/args-and", "config-linux.md#seccomp: different arguments are ANDed", |t| {
        let both = json!({ "args": [
            { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" },
            { "index": 1, "value": 0, "op": "SCMP_CMP_EQ" },
        ] });
        let answers = deny(t, "getpriority", both)
            .probe(&["syscall=getpriority,1,0", "syscall=getpriority,0,0"])?;
        answers.fails("syscall=getpriority,1,0", "EPERM")?;
        answers.value("syscall=getpriority,0,0").map(drop)
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/args-same-index-or", "convention: one argument twice is ORed", |t| {
        let either = json!({ "args": [
            { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" },
            { "index": 0, "value": 2, "op": "SCMP_CMP_EQ" },
        ] });
        let answers = deny(t, "getpriority", either).probe(&[
            "syscall=getpriority,1,0",
            "syscall=getpriority,2,0",
            "syscall=getpriority,0,0",
        ])?;
        answers.fails("syscall=getpriority,1,0", "EPERM")?;
        answers.fails("syscall=getpriority,2,0", "EPERM")?;
        answers.value("syscall=getpriority,0,0").map(drop)
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/unknown-operator", "config-linux.md#seccomp: an unknown operator", |t| {
        let rule = json!({ "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_XX" }] });
        deny(t, "getpriority", rule).refused("scmp_cmp_xx|operator").map(drop)
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/bad-index", "seccomp(2): six arguments", |t| {
        let rule = json!({ "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }] });
        deny(t, "getpriority", rule).refused("index|seccomp").map(drop)
    })
    .rows(&["seccomp.syscalls"]),
];

/// getpriority with its first argument compared with a value and a second one:
/// PRIO_PROCESS 0, PRIO_PGRP 1, PRIO_USER 2. The calls with the listed values are denied.
fn compare(t: &Trial, op: &str, values: [u64; 2], denied: &[u64]) -> Check {
    let [value, two] = values;
    let rule = json!({ "args": [{ "index": 0, "value": value, "valueTwo": two, "op": op }] });
    let calls = [0, 1, 2].map(|which| format!("syscall=getpriority,{which},0"));
    let answers = deny(t, "getpriority", rule).probe(&calls.each_ref().map(String::as_str))?;
    for (which, call) in (0..).zip(&calls) {
        let refused = answers.errno(call).is_ok_and(|errno| errno == "EPERM");
        ensure(refused == denied.contains(&which), format!("{call}: refused is {refused}"))?;
    }
    Ok(())
}
