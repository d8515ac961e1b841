//! Mounts of a container that exists.

use std::fs::{self, File};

use nix::mount::umount;
use nix::sched::{CloneFlags, setns};
use nix::unistd::chroot;
use serde_json::{Value, json};

use crate::image::{self, Ground};
use crate::life::{pid, record, told};
use crate::users::text;
use crate::{Done, Line};

/// `mounts add`: by the paths of the host, in the container's mount namespace.
pub(crate) fn add(line: &Line) -> Done<u8> {
    let (record, config) = enter(line)?;
    image::mounts(&Ground(line.ground()), text(record.get("rootfs")), &config)?;
    Ok(0)
}

/// `mounts remove`: by the paths of the container, wherever they lead.
pub(crate) fn remove(line: &Line) -> Done<u8> {
    let (record, config) = enter(line)?;
    chroot(format!("/proc/{}/root", pid(&record)).as_str()).map_err(told("chroot"))?;
    for item in config.get("mounts").and_then(Value::as_array).into_iter().flatten() {
        let place = text(item.get("destination"));
        umount(place).map_err(told(place))?;
    }
    Ok(0)
}

fn enter(line: &Line) -> Done<(Value, Value)> {
    let record = record(line)?;
    let content = fs::read(line.word(1)).map_err(told("the mounts"))?;
    let mounts: Value = serde_json::from_slice(&content).map_err(told("the mounts"))?;
    let config = if mounts.is_array() { json!({ "mounts": mounts }) } else { mounts };
    let path = format!("/proc/{}/ns/mnt", pid(&record));
    let space = File::open(path).map_err(told("mount namespace"))?;
    setns(space, CloneFlags::CLONE_NEWNS).map_err(told("mount namespace"))?;
    Ok((record, config))
}
