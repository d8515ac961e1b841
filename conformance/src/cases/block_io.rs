//! `linux.resources.blockIO`.

use std::fs;

use serde_json::{Value, json};

use super::control_files::{cgroup_of, files, offers};
use crate::case::{Case, Need};
use crate::failure::{ensure, skip};
use crate::trial::Trial;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("io/weight", "config-linux.md#block-io: weight, or an error", |t| {
        let b = t.bundle().set("/linux/resources/blockIO", json!({ "weight": 500 }));
        match weight_file(t) {
            // The weights of the io.cost model go to 10000 instead of 1000.
            Some("io.weight") => files(t, b, controller(t), &[("", "io.weight", "4950")]),
            Some(file) => files(t, b, controller(t), &[(file, file, "500")]),
            None => b.refused("weight").map(drop),
        }
    })
    .rows(&["blockIO.weight"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("io/leaf-weight", "config-linux.md#block-io: leafWeight, or an error", |t| {
        let b = t.bundle().set("/linux/resources/blockIO", json!({ "leafWeight": 500 }));
        if !t.host.v2 && offers(t, "blkio", "blkio.leaf_weight") {
            return files(t, b, "blkio", &[("blkio.leaf_weight", "", "500")]);
        }
        b.refused("leaf").map(drop)
    })
    .rows(&["blockIO.weight"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("io/weight-device", "config-linux.md#block-io: weightDevice, or an error", |t| {
        let (disk, weighable) = match (weighed_disk(), any_disk()) {
            (Some(disk), _) => (disk, true),
            (None, Some(disk)) => (disk, false),
            (None, None) => return skip("there is no block device"),
        };
        let weights = json!([{ "major": disk.0, "minor": disk.1, "weight": 300 }]);
        let b = t.bundle().set("/linux/resources/blockIO/weightDevice", weights);
        let file = if t.host.v2 { "io.bfq.weight" } else { "blkio.bfq.weight_device" };
        if !weighable || !offers(t, controller(t), file) {
            return b.refused("weight").map(drop);
        }
        let c = b.ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir(controller(t), &cgroup_of(t, &c.id));
        let text = fs::read_to_string(dir.join(file))?;
        let wanted = format!("{}:{} 300", disk.0, disk.1);
        ensure(text.lines().any(|line| line == wanted), format!("{file}: {text:?}"))
    })
    .rows(&["blockIO.weightDevice"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("io/weight-device-missing", "config-linux.md#block-io: no such device", |t| {
        let weights = json!([{ "major": 4000, "minor": 1, "weight": 300 }]);
        let b = t.bundle().set("/linux/resources/blockIO/weightDevice", weights);
        b.refused("weight").map(drop)
    })
    .rows(&["blockIO.weightDevice"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("io/throttle", "config-linux.md#block-io: the four throttles", |t| {
        let Some(disk) = any_disk() else { return skip("there is no block device") };
        let rate = |rate: u32| json!([{ "major": disk.0, "minor": disk.1, "rate": rate }]);
        let b = t.bundle().set(
            "/linux/resources/blockIO",
            json!({
                "throttleReadBpsDevice": rate(1_048_576),
                "throttleWriteBpsDevice": rate(2_097_152),
                "throttleReadIOPSDevice": rate(300),
                "throttleWriteIOPSDevice": rate(400),
            }),
        );
        let c = b.ops(&["sleep"]).start()?;
        let dir = t.host.cgroup_dir(controller(t), &cgroup_of(t, &c.id));
        let number = format!("{}:{}", disk.0, disk.1);
        if t.host.v2 {
            let text = fs::read_to_string(dir.join("io.max"))?;
            let wanted = format!("{number} rbps=1048576 wbps=2097152 riops=300 wiops=400");
            return ensure(text.lines().any(|line| line == wanted), text);
        }
        for (file, rate) in [
            ("read_bps", "1048576"),
            ("write_bps", "2097152"),
            ("read_iops", "300"),
            ("write_iops", "400"),
        ] {
            let text = fs::read_to_string(dir.join(format!("blkio.throttle.{file}_device")))?;
            let wanted = format!("{number} {rate}");
            ensure(text.lines().any(|line| line == wanted), format!("{file}: {text:?}"))?;
        }
        Ok(())
    })
    .rows(&["blockIO.throttle"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("io/throttle-missing", "config-linux.md#block-io: no such device", |t| {
        let rates = json!([{ "major": 4000, "minor": 1, "rate": 1_048_576 }]);
        let b = t.bundle().set("/linux/resources/blockIO/throttleReadBpsDevice", rates);
        b.refused("throttle|io.max").map(drop)
    })
    .rows(&["blockIO.throttle"])
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("io/empty", "engines write an empty object", |t| {
        let b = t.bundle().set("/linux/resources/blockIO", Value::Object(Default::default()));
        b.ops(&["exit=7"]).run()?.code(7).map(drop)
    }),
];

fn controller(t: &Trial) -> &'static str {
    if t.host.v2 { "io" } else { "blkio" }
}

/// The file for the weight of a cgroup, which only some schedulers of the kernel bring.
fn weight_file(t: &Trial) -> Option<&'static str> {
    let files: &[&str] = if t.host.v2 {
        &["io.bfq.weight", "io.weight"]
    } else {
        &["blkio.weight", "blkio.bfq.weight"]
    };
    files.iter().copied().find(|file| offers(t, controller(t), file))
}

/// Major and minor number of a disk, rather one with a driver than a loop device.
fn any_disk() -> Option<(u32, u32)> {
    let names = disks();
    let real = names.iter().find(|name| !name.starts_with("loop") && !name.starts_with("zram"));
    number(real.or(names.first())?)
}

/// A disk whose scheduler weighs cgroups.
fn weighed_disk() -> Option<(u32, u32)> {
    let weighs = |name: &&String| -> bool {
        fs::read_to_string(format!("/sys/block/{name}/queue/scheduler"))
            .is_ok_and(|text| text.contains("[bfq]"))
    };
    number(disks().iter().find(weighs)?)
}

fn disks() -> Vec<String> {
    let list = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    list.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn number(name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string(format!("/sys/block/{name}/dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
