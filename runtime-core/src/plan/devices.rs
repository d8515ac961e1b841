//! Step 11: device nodes (config-linux.md, "Devices" and "Default Devices"; runtime-linux.md,
//! "Dev symbolic links").

use std::path::{Path, PathBuf};

use super::draft::{Draft, inner_path, text};
use super::mounts::{Action, Attachment, Planned, Setting, copy};
use super::{IdMaps, Node, Origin, ShownDevice, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::host::MKNOD;
use crate::spec::{Device, DeviceKind, IdMapping, Mount};

/// The devices that every container has: path, major and minor number.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// What is behind the links, for a container whose procfs is not one of the configuration's mounts.
const OPEN_FILES: &str = "/proc/self/fd";

/// Links and their targets. The last one is a custom of runc and of udev, not of the specification.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

const MODE: u32 = 0o666;

/// Plans the devices. Nothing is made in a /dev that is a bind mount: it is somebody else's, and is
/// expected to have them.
pub(super) fn gather(setting: Setting<'_>, draft: &mut Draft<'_>) -> Result<Vec<Planned>> {
    let dev = Path::new("/dev");
    let devices = &setting.spec.linux.devices;
    let mut planned = Vec::new();
    if setting.spec.mounts.iter().any(|mount| mount.is_bind() && mount.destination == dev) {
        for (index, device) in devices.iter().enumerate() {
            let path: PathBuf = device.path.components().collect();
            if !path.starts_with(dev) {
                planned.push(plan(
                    setting,
                    draft,
                    device,
                    Origin::Element("linux.devices", index),
                )?);
            }
        }
        return Ok(planned);
    }
    for (path, major, minor) in DEFAULT {
        if devices.iter().any(|device| device.path == Path::new(path)) {
            // The configuration may want another mode or owner.
            continue;
        }
        let device = Device {
            kind: DeviceKind::Char,
            path: path.into(),
            major: Some(major),
            minor: Some(minor),
            file_mode: None,
            uid: None,
            gid: None,
        };
        planned.push(plan(setting, draft, &device, Origin::None)?);
    }
    for (index, device) in devices.iter().enumerate() {
        // The container's own pseudoterminals are behind it, and the link to them is made below.
        if device.path != Path::new("/dev/ptmx") {
            planned.push(plan(setting, draft, device, Origin::Element("linux.devices", index))?);
        }
    }
    planned.extend(links(setting)?);
    Ok(planned)
}

/// The links, those into procfs where there is one when all mounts are there.
fn links(setting: Setting<'_>) -> Result<Vec<Planned>> {
    let link = |target: &str, path: &str| -> Result<_> {
        Ok((text(target, &Origin::None)?, text(path, &Origin::None)?))
    };
    let (target, path) = link("pts/ptmx", "/dev/ptmx")?;
    let mut planned = vec![(Action::ReplaceBySymlink { target, path }, Origin::None)];
    let is_proc = |mount: &Mount| {
        mount.kind.as_deref() == Some("proc") && mount.destination == Path::new("/proc")
    };
    // The usual case costs no look: a new procfs has them all.
    let certain = setting.spec.mounts.iter().any(|mount| is_proc(mount) && !mount.is_bind());
    for (path, target) in LINKS {
        let (target, path) = link(target, path)?;
        let action = if certain {
            Action::Symlink { target, path }
        } else {
            let needs = if path.as_c_str() == c"/dev/core" {
                target.clone()
            } else {
                text(OPEN_FILES, &Origin::None)?
            };
            Action::SymlinkIfThere { needs, target, path }
        };
        planned.push((action, Origin::None));
    }
    Ok(planned)
}

/// The kind and the mode of a node, as mknod(2) takes them.
fn mode(device: &Device) -> u32 {
    let kind = match device.kind {
        DeviceKind::Char | DeviceKind::Unbuffered => libc::S_IFCHR,
        DeviceKind::Block => libc::S_IFBLK,
        DeviceKind::Fifo => libc::S_IFIFO,
    };
    kind | device.file_mode.unwrap_or(MODE) & 0o7777
}

/// The node for a container in a user namespace, where none can be made: the caller makes it on the
/// host, with the owner that the container's ids stand for. `None` if the caller cannot do that either.
fn node(
    setting: Setting<'_>,
    draft: &Draft<'_>,
    device: &Device,
    origin: &Origin,
) -> Result<Option<Node>> {
    let host = draft.host;
    let may_make = host.is_privileged() && host.has(MKNOD) && !host.user_namespace;
    let Some(maps) = setting.namespaces.maps().filter(|_| may_make && *origin != Origin::None)
    else {
        return Ok(None);
    };
    let outside = |map: &[IdMapping], id: Option<u32>, name: &str| {
        let id = id.unwrap_or(0);
        IdMaps::outside(map, id).ok_or_else(|| {
            Error::new(ErrorKind::InvalidSpec, format!("id {id} is not mapped"))
                .with_field(format!("{origin}.{name}"))
        })
    };
    Ok(Some(Node {
        mode: mode(device),
        major: device.major.unwrap_or(0),
        minor: device.minor.unwrap_or(0),
        uid: outside(&maps.uid, device.uid, "uid")?,
        gid: outside(&maps.gid, device.gid, "gid")?,
    }))
}

/// A node is made where that is allowed; elsewhere the host's node of this path is shown, with the mode
/// and owner that it has.
fn plan(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    device: &Device,
    origin: Origin,
) -> Result<Planned> {
    let may_make = !setting.is_confined(draft) && draft.host.has(MKNOD);
    if may_make || device.kind == DeviceKind::Fifo {
        let action = Action::Device {
            path: inner_path(&device.path, &origin)?,
            mode: mode(device),
            major: device.major.unwrap_or(0),
            minor: device.minor.unwrap_or(0),
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
        };
        return Ok((action, origin));
    }
    let (tree, make) = match node(setting, draft, device, &origin)? {
        Some(node) => (draft.receive(Source::Node(node), origin.clone()), None),
        None => {
            if origin != Origin::None {
                let (major, minor) = (device.major.unwrap_or(0), device.minor.unwrap_or(0));
                let shown = ShownDevice {
                    path: device.path.clone(),
                    kind: mode(device) & libc::S_IFMT,
                    number: (major, minor),
                };
                draft.shown_devices.push((shown, origin.clone()));
            }
            copy(draft, &device.path, false, &origin)?
        }
    };
    let attachment = Attachment {
        tree,
        make,
        target: inner_path(&device.path, &origin)?,
        set: 0,
        clear: 0,
        set_recursive: 0,
        clear_recursive: 0,
        propagation: (libc::MS_PRIVATE, false),
        over_proc: false,
        no_symlink: false,
        sealed: false,
        keep_mode: false,
        copy: false,
    };
    Ok((Action::Attach(Box::new(attachment)), origin))
}
