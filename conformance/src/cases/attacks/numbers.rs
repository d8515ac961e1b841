//! Ids that are too big, negative, broken or names, and containers with names that are paths.

use std::fs;

use serde_json::{Value, json};

use super::Trap;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/uid-minus-one", "CVE-2024-40635: 2^32-1 means no change", |t| {
        number(t, "/process/user/uid", json!(4_294_967_295_u32))
    }),
    Case::new("attacks/gid-minus-one", "CVE-2024-40635: the same for groups", |t| {
        number(t, "/process/user/gid", json!(4_294_967_295_u32))
    }),
    Case::new("attacks/groups-minus-one", "CVE-2024-40635: the same for more groups", |t| {
        number(t, "/process/user/additionalGids", json!([4_294_967_295_u32]))
    }),
    Case::new("attacks/uid-overflow", "CVE-2024-40635: 2^32 wraps to root", |t| {
        number(t, "/process/user/uid", json!(4_294_967_296_u64))
    }),
    Case::new("attacks/uid-negative", "CVE-2024-40635: -1", |t| {
        number(t, "/process/user/uid", json!(-1))
    }),
    Case::new("attacks/uid-float", "CVE-2024-40635: 0.5 is not 0", |t| {
        number(t, "/process/user/uid", json!(0.5))
    }),
    Case::new("attacks/uid-text", "CVE-2024-40635: a number as text", |t| {
        number(t, "/process/user/uid", json!("0"))
    }),
    Case::new("attacks/exec-user-parse", "CVE-2016-3697, CVE-2026-30892: ids, not names", |t| {
        let users = "1:x:0:0::/:/bin/sh\n7:x:0:0::/:/bin/sh\n";
        let c = t.bundle().file("etc/passwd", users).ops(&["sleep"]).start()?;
        for user in ["1", "7:7"] {
            let report = c.exec_probe(&["--user", user], &["report"])?.value("report")?;
            let wanted = user.split(':').next().unwrap_or_default();
            equal("uid", &report["uid"][0].to_string(), wanted)?;
        }
        Ok(())
    })
    .needs(&[Need::Root]),
    Case::new("attacks/exec-user-wraps", "CVE-2026-30892: no number wraps to root", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for user in ["4294967296", "4294967295", "-1", "1:4294967296", "1:-1", "0x0", "1.0", ""] {
            let output = c.exec(&["--user", user], &["/probe", "report"])?;
            ensure(output.code != 0, format!("exec --user {user:?} runs: {}", output.stdout))?;
        }
        Ok(())
    }),
    Case::new("attacks/container-ids", "C8: an id is no path into another state root", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let other = t.path("other");
        let copied = std::process::Command::new("/bin/cp")
            .arg("-r")
            .arg(t.state_root())
            .arg(&other)
            .status()?;
        ensure(copied.success(), "the state could not be copied")?;
        for id in [format!("../other/{}", c.id), format!("{}/.", c.id), format!("./{}", c.id)] {
            t.run(&["state", &id])?.fails()?;
            t.run(&["kill", &id, "KILL"])?.fails()?;
        }
        c.is("running")
    }),
    Case::new("attacks/container-ids-new", "C8: no container is made at such an id", |t| {
        let trap = Trap::new(t)?;
        let up = format!("../{}/x", trap.dir.file_name().unwrap_or_default().to_string_lossy());
        for id in [up.as_str(), "..", ".", "a\nb", "a b", "*", "a/../b"] {
            t.bundle().with_id(id).refused("")?;
        }
        trap.holds()
    }),
    Case::new("attacks/delete-id-traversal", "C8: an id never leaves the state directory", |t| {
        let trap = Trap::new(t)?;
        let name = trap.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for id in [format!("../{name}"), format!("a/../../{name}"), trap.path("")] {
            t.run(&["delete", "--force", &id])?;
            t.run(&["state", &id])?.fails()?;
        }
        trap.holds()
    }),
    Case::new("attacks/cgroup-sub-escape", "C8: exec --cgroup leaves the container's", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let group = |pid: i64| fs::read_to_string(format!("/proc/{pid}/cgroup"));
        let own = group(c.pid()?)?;
        for sub in ["..", "/..", "../..", "a/../..", "/../../"] {
            let file = t.new_path("pid");
            let name = file.display().to_string();
            let options = ["--detach", "--pid-file", &name, "--cgroup", sub];
            let output = c.exec(&options, &["/probe", "sleep"])?;
            if output.code != 0 {
                continue;
            }
            let pid = fs::read_to_string(&file)?.trim().parse()?;
            equal(&format!("the cgroup of --cgroup {sub}"), &group(pid)?, &own)?;
        }
        Ok(())
    })
    .needs(&[Need::Root, Need::Cgroup]),
];

fn number(t: &Trial, pointer: &str, value: Value) -> Check {
    t.bundle().set(pointer, value).refused("").map(drop)
}
