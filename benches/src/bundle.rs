//! The bundles under test: a root file system of two static programs and the default configuration
//! that `runc spec` writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Outcome;

const TRUE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/true"));
const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));
const FLOOD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flood"));

/// What runs in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Exits with 0 at once.
    True,
    /// Waits until it is killed.
    Pause,
    /// Writes a gibibyte to standard output.
    Flood,
}

impl Payload {
    /// The path inside the container.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::True => "/bin/true",
            Self::Pause => "/bin/pause",
            Self::Flood => "/bin/flood",
        }
    }
}

/// One bundle for one container.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) directory: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) id: String,
    /// The parent of the container's cgroup, absolute below each hierarchy.
    pub(crate) cgroup_parent: String,
    pub(crate) payload: Payload,
    /// Memory limit in bytes.
    pub(crate) memory: Option<u64>,
}

impl Bundle {
    /// Writes config.json.
    pub(crate) fn write(&self) -> Outcome<()> {
        fs::create_dir_all(&self.directory)?;
        let text = serde_json::to_vec_pretty(&self.configuration())?;
        Ok(fs::write(self.directory.join("config.json"), text)?)
    }

    fn configuration(&self) -> Value {
        let mut linux = json!({
            "cgroupsPath": format!("{}/{}", self.cgroup_parent, self.id),
            "namespaces": namespaces(),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        });
        let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
        if let (Some(limit), Some(fields)) = (self.memory, resources.as_object_mut()) {
            fields.insert("memory".into(), json!({"limit": limit}));
        }
        if let Some(fields) = linux.as_object_mut() {
            fields.insert("resources".into(), resources);
        }
        json!({
            "ociVersion": "1.0.2",
            "process": process(self.payload),
            "root": {"path": self.rootfs, "readonly": true},
            "hostname": "bench",
            "mounts": mounts(),
            "linux": linux,
        })
    }
}

fn process(payload: Payload) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": false,
        "user": {"uid": 0, "gid": 0},
        "args": [payload.path()],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": true,
    })
}

/// As `runc spec` does: a cgroup namespace only where cgroup v2 is all there is.
fn namespaces() -> Value {
    let mut names = vec!["pid", "network", "ipc", "uts", "mount"];
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        names.push("cgroup");
    }
    names.into_iter().map(|name| json!({"type": name})).collect()
}

fn mounts() -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        if options.is_empty() {
            json!({"destination": destination, "type": kind, "source": source})
        } else {
            json!({"destination": destination, "type": kind, "source": source, "options": options})
        }
    };
    let quiet = ["nosuid", "noexec", "nodev"];
    json!([
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", "shm", &[&quiet[..], &["mode=1777", "size=65536k"]].concat()),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
        mount("/sys", "sysfs", "sysfs", &[&quiet[..], &["ro"]].concat()),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[&quiet[..], &["relatime", "ro"]].concat()),
    ])
}

/// Makes the root file system that all bundles share.
pub(crate) fn make_rootfs(rootfs: &Path) -> Outcome<()> {
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    for (name, program) in [("true", TRUE), ("pause", PAUSE), ("flood", FLOOD)] {
        write_program(&rootfs.join("bin").join(name), program)?;
    }
    Ok(())
}

fn write_program(path: &Path, program: &[u8]) -> Outcome<()> {
    fs::write(path, program)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
