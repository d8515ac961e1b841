//! The five capability sets.

use serde_json::{Value, json};

use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::value::{equal, text};

/// Bits of linux/capability.h.
const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("caps/sets", "config.md#process: each set as given", |t| {
        let report = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({
                    "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
                    "permitted": ["CAP_CHOWN", "CAP_KILL"],
                    "effective": ["CAP_CHOWN"],
                }),
            )
            .ops(&["report"])
            .report()?;
        set(&report, "CapBnd", CHOWN | KILL | NET_BIND)?;
        set(&report, "CapInh", 0)?;
        set(&report, "CapAmb", 0)
    })
    .rows(&["process.capabilities"]),
    Case::new("caps/user", "an ordinary user keeps ambient capabilities only", |t| {
        let report = t
            .bundle()
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .set(
                "/process/capabilities",
                json!({
                    "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
                    "effective": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_KILL"],
                    "ambient": ["CAP_KILL"],
                }),
            )
            .report()?;
        set(&report, "CapAmb", KILL)?;
        set(&report, "CapInh", KILL)?;
        set(&report, "CapEff", KILL)?;
        set(&report, "CapPrm", KILL)?;
        set(&report, "CapBnd", CHOWN | KILL)
    })
    .rows(&["process.capabilities"])
    .needs(&[Need::Root]),
    Case::new("caps/ambient", "config.md#process: ambient", |t| {
        let list = json!(["CAP_KILL"]);
        let report = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({
                    "bounding": list, "permitted": list, "effective": list, "inheritable": list,
                    "ambient": list,
                }),
            )
            .report()?;
        for name in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            set(&report, name, KILL)?;
        }
        Ok(())
    })
    .rows(&["process.capabilities"]),
    Case::new("caps/empty", "empty sets are none", |t| {
        let report = t.bundle().set("/process/capabilities", json!({
            "bounding": [], "permitted": [], "effective": [], "inheritable": [], "ambient": [],
        })).report()?;
        for name in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            set(&report, name, 0)?;
        }
        Ok(())
    })
    .rows(&["process.capabilities"]),
    Case::new("caps/absent", "no capabilities object is no capability", |t| {
        let report = t.bundle().remove("/process/capabilities").report()?;
        set(&report, "CapInh", 0)?;
        set(&report, "CapAmb", 0)?;
        set(&report, "CapEff", 0)
    })
    .rows(&["process.capabilities"]),
    Case::new("caps/inheritable-clean", "CVE-2022-24769: inheritable is empty unless given", |t| {
        let report = t.bundle().report()?;
        set(&report, "CapInh", 0)
    }),
    Case::new("caps/unknown-name", "config.md#process: unknown names are warned about", |t| {
        let output = t
            .bundle()
            .set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_UNHEARD"]))
            .set("/process/capabilities/permitted", json!(["CAP_KILL"]))
            .set("/process/capabilities/effective", json!(["CAP_KILL"]))
            .run()?
            .ok()?;
        ensure(output.stderr.contains("CAP_UNHEARD"), format!("no warning: {:?}", output.stderr))
    })
    .rows(&["process.capabilities"]),
    Case::new("caps/effective-without-permitted", "capset(2) refuses it: an error or none", |t| {
        let output = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({
                    "bounding": ["CAP_KILL"], "permitted": [], "effective": ["CAP_KILL"],
                }),
            )
            .run()?;
        ensure(output.code != 0 || !output.stdout.is_empty(), "neither refused nor run")
    }),
    Case::new("caps/bounding-holds", "execve(2): the bounding set limits root", |t| {
        let list = json!(["CAP_KILL"]);
        let report = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({
                    "bounding": list, "permitted": list, "effective": list,
                }),
            )
            .report()?;
        set(&report, "CapEff", KILL)?;
        set(&report, "CapPrm", KILL)
    })
    .rows(&["process.capabilities"]),
    Case::new("caps/used", "without CAP_SYS_ADMIN no mount, without CAP_MKNOD no node", |t| {
        let answers = t.bundle().probe(&["mount=tmpfs,/tmp,tmpfs,0", "mknod=/tmp/n,c,1,3"])?;
        answers.fails("mount=tmpfs,/tmp,tmpfs,0", "EPERM")?;
        answers.fails("mknod=/tmp/n,c,1,3", "EPERM")
    }),
];

fn set(report: &Value, name: &str, wanted: u64) -> Check {
    let found = u64::from_str_radix(text(report, &format!("/status/{name}"))?, 16)?;
    equal(name, &format!("{found:#x}"), &format!("{wanted:#x}"))
}
