//! What this machine and this user offer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, TMPFS_MAGIC, statfs};

/// Where the hierarchies are mounted.
pub(crate) const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Facts that decide which cases can run.
#[derive(Debug)]
pub(crate) struct Host {
    /// Running as user 0.
    pub(crate) root: bool,
    /// Only version 2 cgroups.
    pub(crate) v2: bool,
    /// Cgroups can be made at the base.
    pub(crate) cgroup_writable: bool,
    /// Where containers' cgroups go, as in /proc/self/cgroup; no slash at the end.
    pub(crate) cgroup_base: String,
    /// Where systemd's cgroups go, if it makes them: the manager's own, no slash at the end.
    pub(crate) systemd: Option<String>,
    /// User namespaces can be made.
    pub(crate) user_namespace: bool,
    /// The first ids that this user may map, of users and of groups, each with how many they are.
    pub(crate) subordinate: Option<[(u32, u32); 2]>,
    /// Time namespaces exist.
    pub(crate) time_namespace: bool,
    /// There is an RDMA device.
    pub(crate) rdma_device: bool,
    /// The file system with the temporary files can be mounted with other ids.
    pub(crate) mapped_mounts: bool,
    /// The static shell is there.
    pub(crate) busybox: bool,
    /// Major and minor version of the kernel.
    pub(crate) kernel: (u32, u32),
    controllers: Vec<String>,
}

impl Host {
    /// Looks at the machine; `base` is where containers' cgroups go, unless `systemd` makes them.
    pub(crate) fn detect(base: &str, systemd: bool) -> Self {
        let root = nix::unistd::geteuid().is_root();
        let v2 = is_v2();
        let dir = base_directory(v2, base);
        let writable = nix::unistd::access(&dir, nix::unistd::AccessFlags::W_OK).is_ok();
        Self {
            root,
            v2,
            cgroup_writable: writable && (root || v2),
            cgroup_base: base.to_owned(),
            systemd: systemd.then(|| manager_cgroup(root)),
            user_namespace: Path::new("/proc/self/ns/user").exists() && user_namespaces_allowed(),
            subordinate: subordinate_ids(),
            time_namespace: Path::new("/proc/self/ns/time").exists(),
            rdma_device: fs::read_dir("/sys/class/infiniband")
                .is_ok_and(|mut list| list.next().is_some()),
            mapped_mounts: kernel()
                >= if on_tmpfs(&std::env::temp_dir()) { (6, 3) } else { (5, 12) },
            busybox: Path::new("/bin/busybox").exists(),
            kernel: kernel(),
            controllers: controllers(root, v2, &dir),
        }
    }

    /// A usable controller has this name.
    pub(crate) fn has_controller(&self, name: &str) -> bool {
        self.cgroup_writable && self.controllers.iter().any(|found| found == name)
    }

    /// What a bundle's `linux.cgroupsPath` is by default.
    pub(crate) fn cgroups_path(&self, id: &str) -> String {
        match self.systemd {
            Some(_) => format!("{}:conformance:{id}", self.slice()),
            None => format!("{}/{id}", self.cgroup_base),
        }
    }

    /// The cgroup that comes of it, as in /proc/PID/cgroup.
    pub(crate) fn cgroup_of(&self, id: &str) -> String {
        match &self.systemd {
            Some(manager) => format!("{manager}/{}/conformance-{id}.scope", self.slice()),
            None => format!("{}/{id}", self.cgroup_base),
        }
    }

    fn slice(&self) -> &'static str {
        if self.root { "system.slice" } else { "user.slice" }
    }

    /// The directory of a cgroup in the hierarchy of one controller.
    pub(crate) fn cgroup_dir(&self, controller: &str, path: &str) -> PathBuf {
        let root = Path::new(CGROUP_ROOT);
        let root = if self.v2 { root.to_owned() } else { root.join(controller) };
        root.join(path.trim_start_matches('/'))
    }
}

/// The cgroup of the manager that serves this user: the root, or that of the user's own.
fn manager_cgroup(root: bool) -> String {
    let own = own_cgroup().filter(|_| !root).unwrap_or_default();
    let end = own.find(".service").map_or(0, |at| at + ".service".len());
    own.get(..end).unwrap_or_default().to_owned()
}

/// The mount at the usual place is version 2.
pub(crate) fn is_v2() -> bool {
    statfs(CGROUP_ROOT).is_ok_and(|info| info.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// The version 2 cgroup of this process.
pub(crate) fn own_cgroup() -> Option<String> {
    let content = fs::read_to_string("/proc/self/cgroup").ok()?;
    content.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn base_directory(v2: bool, base: &str) -> PathBuf {
    let root = Path::new(CGROUP_ROOT);
    if v2 { root.join(base.trim_start_matches('/')) } else { root.join("memory") }
}

fn controllers(root: bool, v2: bool, dir: &Path) -> Vec<String> {
    if v2 {
        // A runtime that runs as root hands controllers down itself.
        let file = if root { "cgroup.controllers" } else { "cgroup.subtree_control" };
        let content = fs::read_to_string(dir.join(file)).unwrap_or_default();
        return content.split_whitespace().map(str::to_owned).collect();
    }
    let Ok(list) = fs::read_dir(CGROUP_ROOT) else {
        return Vec::new();
    };
    list.flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "unified")
        .collect()
}

fn user_namespaces_allowed() -> bool {
    let number = |path: &str| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    number("/proc/sys/user/max_user_namespaces") != Some(0)
        && (nix::unistd::geteuid().is_root()
            || number("/proc/sys/kernel/unprivileged_userns_clone") != Some(0))
}

/// Where a program is.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The ranges of this user in /etc/subuid and /etc/subgid, where they can be used.
fn subordinate_ids() -> Option<[(u32, u32); 2]> {
    find_program("newuidmap").and(find_program("newgidmap"))?;
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
    let range = |path: &str| -> Option<(u32, u32)> {
        let content = fs::read_to_string(path).ok()?;
        content.lines().find_map(|line| {
            let mut words = line.split(':');
            (words.next() == Some(&user.name)).then_some(())?;
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
    };
    Some([range("/etc/subuid")?, range("/etc/subgid")?])
}

fn on_tmpfs(path: &Path) -> bool {
    statfs(path).is_ok_and(|info| info.filesystem_type() == TMPFS_MAGIC)
}

fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A program can be run with this policy, in chrt(1)'s words.
pub(crate) fn schedules(policy: &[&str]) -> bool {
    let mut command = Command::new("chrt");
    command.args(policy).arg("/bin/true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// AppArmor is on and profiles can be loaded.
pub(crate) fn apparmor() -> bool {
    let enabled = fs::read("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with(b"Y"))
        && Path::new("/sys/kernel/security/apparmor/profiles").exists()
}

/// SELinux is on.
pub(crate) fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// criu says that it can work here.
pub(crate) fn criu() -> bool {
    let mut command = Command::new("criu");
    command.arg("check").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
