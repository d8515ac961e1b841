//! What the fields of a seccomp profile may hold, and when it takes effect.

use serde_json::{Value, json};

use super::seccomp::{deny, errno_of};
use crate::bundle::Bundle;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, strings, text};

const CALL: &str = "syscall=getpriority,0,0";

/// getpid of x32, the calls of which have a bit of their own.
const X32_CALL: &str = "syscall=#1073741863";

/// The flags of the specification.
const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("seccomp/flag-tsync", "config-linux.md#seccomp: SECCOMP_FILTER_FLAG_TSYNC", |t| {
        flags(t, &["SECCOMP_FILTER_FLAG_TSYNC"])
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/flag-spec-allow", "config-linux.md#seccomp: SPEC_ALLOW", |t| {
        flags(t, &["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/flag-log", "config-linux.md#seccomp: SECCOMP_FILTER_FLAG_LOG", |t| {
        flags(t, &["SECCOMP_FILTER_FLAG_LOG"])
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/flag-wait-killable", "it concerns a listener: nothing without one", |t| {
        flags(t, &["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/flags-all", "config-linux.md#seccomp: all flags at once", |t| {
        flags(t, &FLAGS)
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/flags-none", "config-linux.md#seccomp: an empty list of flags", |t| {
        flags(t, &[])
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/features-flags", "features-linux.md: knownFlags and supportedFlags", |t| {
        let features = t.run(&["features"])?.ok()?.json()?;
        let known = strings(&features, "/linux/seccomp/knownFlags")?;
        let supported = strings(&features, "/linux/seccomp/supportedFlags")?;
        for flag in FLAGS {
            ensure(known.iter().any(|name| name == flag), format!("{flag} is not known"))?;
        }
        for flag in &supported {
            ensure(known.contains(flag), format!("{flag} is supported, but not known"))?;
        }
        // What this kernel can do, by its version.
        for (flag, least) in FLAGS.iter().zip([(3, 17), (4, 14), (4, 17), (5, 19)]) {
            let listed = supported.iter().any(|name| name == flag);
            equal(&format!("{flag} is supported"), &listed, &(t.host.kernel >= least))?;
        }
        Ok(())
    })
    .rows(&["features: seccomp flags"]),
    Case::new("seccomp/features-names", "features-linux.md: actions and operators", |t| {
        let features = t.run(&["features"])?.ok()?.json()?;
        for (list, count) in [("actions", 9), ("operators", 7)] {
            let names = strings(&features, &format!("/linux/seccomp/{list}"))?;
            ensure(names.len() >= count, format!("{list}: only {names:?}"))?;
        }
        equal("enabled", &features["linux"]["seccomp"]["enabled"], &json!(true))
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/architectures-all", "config-linux.md#seccomp: every architecture", |t| {
        let list: Vec<String> =
            ARCHITECTURES.split_whitespace().map(|name| format!("SCMP_ARCH_{name}")).collect();
        errno_of(
            deny(t, "getpriority", json!({})).set("/linux/seccomp/architectures", list),
            CALL,
            "EPERM",
        )
    })
    .rows(&["seccomp.architectures"]),
    Case::new("seccomp/architecture-foreign", "calls of one that is not listed kill", |t| {
        let bundle = deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64"]));
        bundle.ops(&[X32_CALL]).run()?.code(159).map(drop)
    })
    .rows(&["seccomp.architectures"]),
    Case::new("seccomp/architecture-listed", "calls of one that is listed get the rules", |t| {
        let bundle = deny(t, "getpid", json!({ "errnoRet": 42 }))
            .set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]));
        errno_of(bundle, X32_CALL, "ENOMSG")
    })
    .rows(&["seccomp.architectures"]),
    Case::new(
        "seccomp/default-missing",
        "config-linux.md#seccomp: defaultAction is required",
        |t| {
            deny(t, "getpriority", json!({}))
                .remove("/linux/seccomp/defaultAction")
                .refused("defaultaction|action")
                .map(drop)
        },
    )
    .rows(&["seccomp.defaultAction"]),
    Case::new("seccomp/errno-misplaced", "an errno for an action without one is an error", |t| {
        for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            let rule = json!({ "names": ["acct"], "action": action, "errnoRet": 5 });
            deny(t, "getpriority", json!({}))
                .set("/linux/seccomp/syscalls/-", rule)
                .refused("errno")?;
        }
        Ok(())
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/default-errno-misplaced", "as for the rules: an error", |t| {
        deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/defaultErrnoRet", 5)
            .refused("errno")
            .map(drop)
    })
    .rows(&["seccomp.defaultErrnoRet"]),
    Case::new("seccomp/errno-trace", "config-linux.md#seccomp: TRACE takes an errnoRet", |t| {
        let rule = json!({ "action": "SCMP_ACT_TRACE", "errnoRet": 65535 });
        errno_of(deny(t, "getpriority", rule), CALL, "ENOSYS")
    })
    .rows(&["seccomp.syscalls", "seccomp actions"]),
    Case::new("seccomp/names-empty", "config-linux.md#seccomp: at least one name", |t| {
        deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/syscalls/0/names", json!([]))
            .refused("names")
            .map(drop)
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/empty", "convention: an empty object is no profile", |t| {
        let report = t.bundle().set("/linux/seccomp", json!({})).report()?;
        equal("Seccomp", text(&report, "/status/Seccomp")?, "0")
    })
    .rows(&["seccomp.defaultAction"]),
    Case::new("seccomp/load-point", "with noNewPrivileges the set-up of ids is over", |t| {
        let answers = set_up_denied(t).set("/process/noNewPrivileges", true).probe(&["report"])?;
        let report = answers.value("report")?;
        equal("Uid", text(&report, "/status/Uid")?, "1000\t1000\t1000\t1000")?;
        equal("CapEff", text(&report, "/status/CapEff")?, "0000000000000000")?;
        equal("Seccomp", text(&report, "/status/Seccomp")?, "2")
    })
    .rows(&["seccomp: load point"])
    .needs(&[Need::Root]),
    Case::new("seccomp/load-point-exec", "exec: the same", |t| {
        let c = set_up_denied(t).set("/process/noNewPrivileges", true).ops(&["sleep"]).start()?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("Uid", text(&report, "/status/Uid")?, "1000\t1000\t1000\t1000")?;
        equal("CapEff", text(&report, "/status/CapEff")?, "0000000000000000")?;
        equal("Seccomp", text(&report, "/status/Seccomp")?, "2")
    })
    .rows(&["seccomp: load point", "seccomp: exec"])
    .needs(&[Need::Root]),
    Case::new(
        "seccomp/without-nnp-user",
        "a filter is loaded without privileges of the user",
        |t| {
            let c = deny(t, "getpriority", json!({}))
                .set("/process/noNewPrivileges", false)
                .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
                .remove("/process/capabilities")
                .ops(&["report", "sleep"])
                .start()?;
            let first = c.answers(1)?.value("report")?;
            let answers = c.exec_probe(&[], &["report", CALL])?;
            answers.fails(CALL, "EPERM")?;
            for report in [first, answers.value("report")?] {
                equal("NoNewPrivs", text(&report, "/status/NoNewPrivs")?, "0")?;
                equal("CapPrm", text(&report, "/status/CapPrm")?, "0000000000000000")?;
                equal("Seccomp", text(&report, "/status/Seccomp")?, "2")?;
            }
            Ok(())
        },
    )
    .rows(&["seccomp: load point", "seccomp: exec"])
    .needs(&[Need::Root]),
    Case::new("seccomp/exec-edited", "runtime.md: exec has the filter of create", |t| {
        let c = deny(t, "getpriority", json!({})).ops(&["sleep"]).start()?;
        let path = c.bundle.join("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        config["linux"]["seccomp"] = Value::Null;
        std::fs::write(&path, config.to_string())?;
        c.exec_probe(&[], &[CALL])?.fails(CALL, "EPERM")
    })
    .rows(&["seccomp: exec"]),
];

/// The names of the specification, without their prefix.
const ARCHITECTURES: &str = "\
    X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE \
    S390 S390X PARISC PARISC64 RISCV64";

/// The filter works, whatever the flags.
fn flags(t: &Trial, flags: &[&str]) -> Check {
    errno_of(
        deny(t, "getpriority", json!({})).set("/linux/seccomp/flags", json!(flags)),
        CALL,
        "EPERM",
    )
}

/// An ordinary user's process under a filter that kills at what sets ids and capabilities.
fn set_up_denied(t: &Trial) -> Bundle<'_> {
    t.bundle()
        .set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["setgroups", "setresuid", "setresgid", "setuid", "setgid", "capset"],
                    "action": "SCMP_ACT_KILL_PROCESS",
                }],
            }),
        )
        .set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [7] }))
        .remove("/process/capabilities")
}
