//! The command `mounts`, and links that a container makes meanwhile.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Trap, mounts_of, point};
use crate::case::{Case, Need};
use crate::cases::mount_changes::{change, tmpfs};
use crate::container::Container;
use crate::failure::{Check, ensure};

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new(
        "attacks/mounts-command-symlink",
        "mounts add: a link of the container at the destination does not lead to the host",
        |t| {
            let trap = Trap::new(t)?;
            let outside = trap.path("");
            let c = t.bundle().ops(&["sleep"]).start()?;
            change(&c, "add", &json!([tmpfs("/plain", &[])]))?.ok()?;
            ensure(is_mounted(&c, "/plain")?, "a mount without links is not there")?;
            let root = c.bundle.join("rootfs");
            symlink(&outside, root.join("absolute"))?;
            symlink(format!("../../../../../../../..{outside}"), root.join("relative"))?;
            symlink("/proc/1/root", root.join("magic"))?;
            for place in ["/absolute/new", "/relative/new", "/magic/new", "/absolute", "/relative"]
            {
                // It may be followed inside, or refused.
                change(&c, "add", &json!([tmpfs(place, &[])]))?;
            }
            let host = fs::read_to_string("/proc/self/mountinfo")?;
            ensure(!host.contains(&*outside), "a mount is on the host")?;
            trap.holds()
        },
    )
    .needs(&[Need::Command("mounts")]),
    Case::new(
        "attacks/mounts-command-unmask",
        "mounts remove: a link of the container does not lead to what masks the host's /proc",
        |t| {
            let c = t.bundle().directory("data").ops(&["sleep"]);
            let c =
                c.set("/linux/maskedPaths", json!(["/proc/keys", "/proc/timer_list"])).start()?;
            let mounts = json!([tmpfs("/data/keys", &[]), tmpfs("/plain", &[])]);
            change(&c, "add", &mounts)?.ok()?;
            change(&c, "remove", &json!([{ "destination": "/plain" }]))?.ok()?;
            ensure(!is_mounted(&c, "/plain")?, "a mount without links is still there")?;
            let places = ["/proc/keys", "/proc/timer_list"];
            for place in places {
                ensure(is_mounted(&c, place)?, format!("{place} is not masked to begin with"))?;
            }
            let root = c.bundle.join("rootfs");
            fs::rename(root.join("data"), root.join("moved"))?;
            symlink("/proc", root.join("data"))?;
            symlink("/proc/timer_list", root.join("list"))?;
            for place in ["/data/keys", "/list"] {
                change(&c, "remove", &json!([{ "destination": place }]))?;
            }
            for place in places {
                ensure(is_mounted(&c, place)?, format!("{place} is unmasked"))?;
            }
            Ok(())
        },
    )
    .needs(&[Need::Command("mounts")]),
];

/// Whether something is mounted there, as the host sees it.
fn is_mounted(c: &Container<'_>, place: &str) -> Check<bool> {
    Ok(mounts_of(c)?.iter().any(|line| point(line) == place))
}
