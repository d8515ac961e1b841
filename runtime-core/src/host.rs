//! What this machine and the calling process can do, as far as a plan depends on it.
//!
//! A [`Host`] is a plain value: it can be recorded, compared and made up, so that a plan for another
//! machine can be looked at on this one. Reading it costs a handful of system calls; what only few
//! configurations need (security modules, cgroup hierarchies) is read only for those.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::{NamespaceKind, Process, Spec, sysctl};
use crate::sys::file::read_text;

/// Number of `CAP_NET_ADMIN`.
pub(crate) const NET_ADMIN: u32 = 12;
/// Number of `CAP_SYS_ADMIN`.
pub(crate) const SYS_ADMIN: u32 = 21;
/// Number of `CAP_MKNOD`.
pub(crate) const MKNOD: u32 = 27;

/// The number of the last capability of Linux 5.9, `CAP_CHECKPOINT_RESTORE`.
const CHECKPOINT_RESTORE: u32 = 40;
/// The inode of the first user namespace (`PROC_USER_INIT_INO` of the kernel).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Host {
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The caller's effective user id.
    pub uid: u32,
    /// The caller's effective group id.
    pub gid: u32,
    /// Whether the caller is in a user namespace other than the first.
    pub user_namespace: bool,
    /// Whether the user namespace that the configuration names by its path is the caller's own.
    #[serde(default)]
    pub names_own_user_namespace: bool,
    /// Of the kinds that the configuration has kernel parameters for: those whose namespace it names
    /// by its path, and that is the caller's own.
    #[serde(default)]
    pub names_own_namespaces: Vec<NamespaceKind>,
    /// The ids that the caller may map beside its own, where the configuration leaves the maps to us.
    #[serde(default)]
    pub subordinate: Subordinate,
    /// The caller's effective capabilities; bit *n* is capability number *n*.
    pub effective: u64,
    /// The caller's capability bounding set.
    pub bounding: u64,
    /// The number of the last capability that the kernel knows.
    pub last_capability: u32,
    /// What the sources are that a configuration has copied instead of mounted (`copy-symlink`), if they are
    /// symbolic links.
    #[serde(default)]
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Security modules; all off if the configuration names no label.
    pub labels: Labels,
    /// Cgroup hierarchies; absent if the configuration has no cgroup mount, or the host no cgroups.
    pub cgroups: Option<Cgroups>,
}

/// Ranges of ids that somebody may map (subuid(5), subgid(5)): the first id and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subordinate {
    /// Of user ids.
    pub uid: Option<(u32, u32)>,
    /// Of group ids.
    pub gid: Option<(u32, u32)>,
}

impl Subordinate {
    /// The first range of the caller in each file; none where a file is missing.
    fn read() -> Self {
        let uid = nix::unistd::getuid().as_raw();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let passwd = text("/etc/passwd");
        let name = user_name(&passwd, uid);
        let range = |path| granted(&text(path), uid, name);
        Self { uid: range("/etc/subuid"), gid: range("/etc/subgid") }
    }
}

/// The name of a user in the text of passwd(5).
fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    let is = |line: &&str| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid);
    passwd.lines().find(is)?.split(':').next()
}

/// The first range that belongs to a user, by name or by number.
fn granted(text: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let owner = parts.next()?;
        let (first, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (count > 0 && (Some(owner) == name || owner.parse() == Ok(uid))).then_some((first, count))
    })
}

/// Which security modules can label a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
}

/// The cgroup hierarchies, as a mount of type `cgroup` shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroups {
    /// Version 1, also where a version 2 hierarchy without the controllers is beside it: the
    /// hierarchies as `/proc/self/cgroup` names them (`cpu,cpuacct`, `name=systemd`).
    V1(Vec<String>),
    /// One hierarchy of version 2.
    V2,
}

impl Default for Host {
    /// A host with everything that a plan can use: root outside any container, Linux 5.12,
    /// cgroup version 2.
    fn default() -> Self {
        let all = (1 << (CHECKPOINT_RESTORE + 1)) - 1;
        Self {
            kernel: (5, 12),
            uid: 0,
            gid: 0,
            user_namespace: false,
            names_own_user_namespace: false,
            names_own_namespaces: Vec::new(),
            subordinate: Subordinate::default(),
            effective: all,
            bounding: all,
            last_capability: CHECKPOINT_RESTORE,
            links: BTreeMap::new(),
            labels: Labels::default(),
            cgroups: Some(Cgroups::V2),
        }
    }
}

/// The links among the sources of mounts that ask for it; of a relative source the bundle is not known.
fn links(spec: &Spec) -> BTreeMap<PathBuf, PathBuf> {
    let asked = spec
        .mounts
        .iter()
        .filter(|mount| mount.options.iter().any(|option| option == "copy-symlink"));
    let sources = asked.filter_map(|mount| mount.source.clone());
    let absolute = sources.filter(|source| source.is_absolute());
    absolute.filter_map(|source| Some((source.clone(), fs::read_link(&source).ok()?))).collect()
}

impl Host {
    /// Looks at this machine, as far as the configuration needs it.
    ///
    /// # Errors
    /// When /proc is not readable.
    pub fn read(spec: &Spec) -> Result<Self> {
        let mut host = match &spec.process {
            Some(process) => Self::read_for(process)?,
            None => Self::basics()?,
        };
        let user = spec.linux.namespace(NamespaceKind::User);
        if let Some(path) = user.and_then(|user| user.path.as_ref()) {
            host.names_own_user_namespace = is_own_namespace(path, "user");
        }
        host.names_own_namespaces = names_own_namespaces(spec);
        if user.is_none() && !host.is_privileged() {
            host.subordinate = Subordinate::read();
        }
        if spec.linux.mount_label.is_some() {
            host.labels = read_labels();
        }
        host.links = links(spec);
        if spec
            .mounts
            .iter()
            .any(|mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")))
        {
            host.cgroups = read_cgroups()?;
        }
        Ok(host)
    }

    /// The same for a process that joins a container.
    ///
    /// # Errors
    /// When /proc is not readable.
    pub fn read_for(process: &Process) -> Result<Self> {
        let mut host = Self::basics()?;
        if process.apparmor_profile.is_some() || process.selinux_label.is_some() {
            host.labels = read_labels();
        }
        Ok(host)
    }

    fn basics() -> Result<Self> {
        let (effective, bounding) = read_capabilities()?;
        Ok(Self {
            kernel: read_kernel()?,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            user_namespace: in_user_namespace(),
            names_own_user_namespace: false,
            names_own_namespaces: Vec::new(),
            subordinate: Subordinate::default(),
            effective,
            bounding,
            last_capability: last_capability(bounding)?,
            links: BTreeMap::new(),
            labels: Labels::default(),
            cgroups: None,
        })
    }

    /// Whether the caller has a capability in its own user namespace.
    #[must_use]
    pub fn has(&self, capability: u32) -> bool {
        self.effective >> capability & 1 == 1
    }

    /// Whether the caller can mount on its own.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.has(SYS_ADMIN)
    }
}

fn read_kernel() -> Result<(u32, u32)> {
    let name = nix::sys::utsname::uname().attempt("uname")?;
    let release = name.release().to_string_lossy().into_owned();
    parse_release(&release).ok_or_else(|| {
        Error::new(ErrorKind::System, format!("the kernel's version {release:?} is not understood"))
    })
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The effective and the bounding set, of this thread: the sets of threads may differ.
fn read_capabilities() -> Result<(u64, u64)> {
    let path = Path::new("/proc/thread-self/status");
    let status = read_text(path).attempt_on("read", path)?;
    let set = |name| {
        status_line(&status, name).and_then(|value| u64::from_str_radix(value, 16).ok()).ok_or_else(
            || Error::new(ErrorKind::System, format!("{name} is missing in")).with_path(path),
        )
    };
    Ok((set("CapEff:")?, set("CapBnd:")?))
}

fn status_line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn last_capability(bounding: u64) -> Result<u32> {
    // A process that still has the last known one need not ask.
    if let Some(highest) = bounding.checked_ilog2()
        && highest >= CHECKPOINT_RESTORE
    {
        return Ok(highest);
    }
    let path = Path::new("/proc/sys/kernel/cap_last_cap");
    let text = read_text(path).attempt_on("read", path)?;
    text.trim().parse().map_err(|_| Error::new(ErrorKind::System, "not a number:").with_path(path))
}

/// The namespace of the thread, which is the process's: user namespaces cannot differ between threads.
const OWN_USER_NAMESPACE: &str = "/proc/self/ns/user";
/// The namespaces of the thread: what is started from it inherits them.
const OWN_NAMESPACES: &str = "/proc/thread-self/ns";

fn in_user_namespace() -> bool {
    // A kernel without user namespaces has no such file.
    fs::metadata(OWN_USER_NAMESPACE).is_ok_and(|metadata| metadata.ino() != FIRST_USER_NAMESPACE)
}

/// [`Host::names_own_namespaces`].
fn names_own_namespaces(spec: &Spec) -> Vec<NamespaceKind> {
    let mut own = Vec::new();
    for kind in spec.linux.sysctl.keys().filter_map(|name| sysctl::kind(name)) {
        let file = match kind {
            NamespaceKind::Network => "net",
            other => other.name(),
        };
        let path = spec.linux.namespace(kind).and_then(|namespace| namespace.path.as_ref());
        if path.is_some_and(|path| !own.contains(&kind) && is_own_namespace(path, file)) {
            own.push(kind);
        }
    }
    own
}

/// Whether the path is that of the caller's own namespace; `file` is its name in `/proc/self/ns`.
fn is_own_namespace(path: &Path, file: &str) -> bool {
    // What cannot be seen is an error later, when it is opened.
    let (Ok(given), Ok(own)) =
        (fs::metadata(path), fs::metadata(Path::new(OWN_NAMESPACES).join(file)))
    else {
        return false;
    };
    (given.dev(), given.ino()) == (own.dev(), own.ino())
}

fn read_labels() -> Labels {
    let enabled = fs::read("/sys/module/apparmor/parameters/enabled");
    Labels {
        apparmor: enabled.is_ok_and(|text| text.starts_with(b"Y")),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

fn read_cgroups() -> Result<Option<Cgroups>> {
    if statfs("/sys/fs/cgroup").is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Ok(Some(Cgroups::V2));
    }
    let path = Path::new("/proc/self/cgroup");
    let text = read_text(path).attempt_on("read", path)?;
    let hierarchies = parse_hierarchies(&text);
    Ok((!hierarchies.is_empty()).then_some(Cgroups::V1(hierarchies)))
}

/// The names of the version 1 hierarchies (cgroups(7): `ID:CONTROLLERS:PATH`).
fn parse_hierarchies(text: &str) -> Vec<String> {
    let name =
        |line: &str| line.split(':').nth(1).filter(|name| !name.is_empty()).map(str::to_owned);
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(parse_release("6.18.5-generic"), Some((6, 18)));
        assert_eq!(parse_release("5.4"), Some((5, 4)));
        assert_eq!(parse_release("linux"), None);
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\n";
        assert_eq!(status_line(status, "CapEff:"), Some("000001ffffffffff"));
        let text = "9:name=systemd:/\n5:cpu,cpuacct:/a:b\n0::/x\n";
        assert_eq!(parse_hierarchies(text), ["name=systemd", "cpu,cpuacct"]);
    }

    #[test]
    fn subordinate_ids_are_granted_by_name_or_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000), Some("ada"));
        assert_eq!(user_name(passwd, 1), None);
        let ranges = "# comment\nbob:1:2\nada:100000:65536\n1001:5:6\nada:7:8\nada:9:0\n";
        assert_eq!(granted(ranges, 1000, Some("ada")), Some((100_000, 65_536)));
        assert_eq!(granted(ranges, 1001, None), Some((5, 6)));
        assert_eq!(granted(ranges, 1002, Some("eve")), None);
        assert_eq!(granted("ada:9:0", 1000, Some("ada")), None);
    }

    #[test]
    fn this_host_agrees_with_other_readers() {
        let host = Host::basics().expect("readable");
        let set = |kind| {
            caps::read(None, kind)
                .expect("readable")
                .iter()
                .fold(0, |bits, cap| bits | cap.bitmask())
        };
        assert_eq!(host.effective, set(caps::CapSet::Effective));
        assert_eq!(host.bounding, set(caps::CapSet::Bounding));
        let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("readable");
        assert_eq!(host.last_capability.to_string(), last.trim());
        let kernel = procfs_version();
        assert_eq!(host.kernel, kernel);
    }

    fn procfs_version() -> (u32, u32) {
        let version = procfs::sys::kernel::Version::current().expect("readable");
        (version.major.into(), version.minor.into())
    }

    #[test]
    fn a_host_survives_json() {
        let host =
            Host { cgroups: Some(Cgroups::V1(vec!["memory".to_owned()])), ..Host::default() };
        let text = serde_json::to_string(&host).expect("serializes");
        assert_eq!(serde_json::from_str::<Host>(&text).expect("parses"), host);
    }
}
