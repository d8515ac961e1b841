//! Work on the image's paths, as strings on the host.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;

use crate::Done;
use crate::life::told;
use crate::users::{cut, text, texts};

/// The folder of the test: nothing is made elsewhere, wherever a link leads.
pub(crate) struct Ground(pub(crate) PathBuf);

impl Ground {
    /// Refuses a path that leads out of the folder. This spares the machine; no container is any
    /// safer for it, because the folder holds the tests' traps.
    pub(crate) fn check(&self, path: &Path) -> Done {
        let place = place(path, 0);
        let own = self.0.canonicalize().unwrap_or_else(|_| self.0.clone());
        if place.starts_with(&own) {
            Ok(())
        } else {
            Err(format!("{} leads to {}, outside the test", path.display(), place.display()))
        }
    }

    /// Makes a file where none is.
    pub(crate) fn file(&self, path: &str) -> Done {
        self.check(Path::new(path))?;
        if Path::new(path).exists() {
            return Ok(());
        }
        if let Some(parent) = Path::new(path).parent() {
            fs::create_dir_all(parent).map_err(told(path))?;
        }
        File::create(path).map(drop).map_err(told(path))
    }

    /// Makes a directory and its parents, also what a link names.
    fn directory(&self, path: &str) -> Done {
        self.check(Path::new(path))?;
        fs::create_dir_all(place(Path::new(path), 0)).map_err(told(path))
    }
}

/// Where a path leads, also if the last part is not there.
fn place(path: &Path, depth: u32) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    match fs::read_link(path) {
        Ok(target) if depth < 40 => place(&parent.join(target), depth + 1),
        _ => place(parent, depth + 1).join(name),
    }
}

fn list<'v>(config: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    config.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Mounts in the order of the configuration.
pub(crate) fn mounts(ground: &Ground, rootfs: &str, config: &Value) -> Done {
    for item in list(config, "/mounts") {
        let kind = text(item.get("type"));
        if kind == "cgroup" {
            continue;
        }
        let source = text(item.get("source"));
        let target = format!("{rootfs}/{}", text(item.get("destination")).trim_start_matches('/'));
        let (flags, data) = options(&texts(item.get("options")));
        if flags.contains(MsFlags::MS_BIND) && Path::new(source).is_file() {
            ground.file(&target)?;
        } else {
            ground.directory(&target)?;
        }
        let data = (!flags.contains(MsFlags::MS_BIND)).then_some(data.as_str());
        mount(Some(source), target.as_str(), Some(kind), flags, data).map_err(told(&target))?;
        if flags.contains(MsFlags::MS_BIND) && flags.contains(MsFlags::MS_RDONLY) {
            remount(&target)?;
        }
    }
    Ok(())
}

fn remount(target: &str) -> Done {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(told(target))
}

fn options(words: &[&str]) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for word in words {
        match *word {
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            "ro" => flags |= MsFlags::MS_RDONLY,
            "nosuid" => flags |= MsFlags::MS_NOSUID,
            "nodev" => flags |= MsFlags::MS_NODEV,
            "noexec" => flags |= MsFlags::MS_NOEXEC,
            "strictatime" => flags |= MsFlags::MS_STRICTATIME,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// The default devices and links, and those of the configuration.
pub(crate) fn devices(ground: &Ground, rootfs: &str, config: &Value) -> Done {
    let dev = format!("{rootfs}/dev");
    ground.check(Path::new(&dev))?;
    let defaults = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)]
        .map(|(name, minor)| (format!("{dev}/{name}"), makedev(1, minor)));
    let more = list(config, "/linux/devices").map(|item| {
        let number = |name: &str| u64::from(item.get(name).map_or(0, cut));
        (format!("{rootfs}{}", text(item.get("path"))), makedev(number("major"), number("minor")))
    });
    for (path, device) in defaults.into_iter().chain(more) {
        ground.check(Path::new(&path))?;
        if let Some(parent) = Path::new(&path).parent() {
            let _ = fs::create_dir_all(parent);
        }
        // What is there already is taken as it is.
        let _ = mknod(path.as_str(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), device);
    }
    if fs::symlink_metadata(format!("{dev}/pts")).is_ok() {
        let _ = fs::remove_file(format!("{dev}/ptmx"));
    }
    for (name, target) in
        [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")]
    {
        let _ = symlink(target, format!("{dev}/{name}"));
    }
    Ok(())
}

/// Writes the kernel's parameters, wherever their names lead below the image's /proc/sys.
pub(crate) fn sysctls(ground: &Ground, rootfs: &str, config: &Value) -> Done {
    let map = config.pointer("/linux/sysctl").and_then(Value::as_object);
    for (name, value) in map.into_iter().flatten() {
        let path = format!("{rootfs}/proc/sys/{}", name.replace('.', "/").replace("///", "/../"));
        ground.check(Path::new(&path))?;
        fs::write(&path, text(Some(value))).map_err(told(&path))?;
    }
    Ok(())
}

/// Hides the masked paths behind the image's null device, and makes others read-only.
pub(crate) fn masks(rootfs: &str, config: &Value) -> Done {
    let null = format!("{rootfs}/dev/null");
    for item in list(config, "/linux/maskedPaths") {
        let path = format!("{rootfs}{}", text(Some(item)));
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() {
            let kind = Some("tmpfs");
            mount(kind, path.as_str(), kind, MsFlags::MS_RDONLY, None::<&str>)
                .map_err(told(&path))?;
        } else {
            let source = Some(null.as_str());
            mount(source, path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(told(&path))?;
        }
    }
    for item in list(config, "/linux/readonlyPaths") {
        let path = format!("{rootfs}{}", text(Some(item)));
        if fs::metadata(&path).is_err() {
            continue;
        }
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(path.as_str()), path.as_str(), None::<&str>, flags, None::<&str>)
            .map_err(told(&path))?;
        remount(&path)?;
    }
    Ok(())
}
