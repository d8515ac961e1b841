//! What the types alone cannot rule out: ranges, contradictions, paths (config.md, config-linux.md).

mod intel_rdt;
mod linux;
mod mappings;
mod net_devices;
mod scheduling;
mod seccomp;

use std::path::{Component, Path, PathBuf};

pub(crate) use net_devices::field as net_device_field;

use super::{Capabilities, Hooks, Mount, OCI_MAJOR_VERSION, Process, Spec, User};
use crate::error::{Error, ErrorKind, Result};

/// The id that means "no change" to the kernel, and so is nobody's.
const NO_ID: u32 = u32::MAX;

fn invalid(field: impl Into<String>, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidSpec, message).with_field(field)
}

impl Spec {
    /// Checks a configuration for contradictions, as [`Spec::load`] does.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] with the field at fault; [`ErrorKind::Unsupported`] for a version
    /// of the specification that is not understood.
    pub fn validate(&self) -> Result<()> {
        check_version(&self.oci_version)?;
        if self.root.path.as_os_str().is_empty() {
            return Err(invalid("root.path", "is empty"));
        }
        check_mounts(&self.mounts)?;
        if let Some(process) = &self.process {
            process.validate("process")?;
        }
        check_hooks(&self.hooks)?;
        if self.annotations.contains_key("") {
            return Err(invalid("annotations", "a key is empty"));
        }
        self.check_linux()
    }

    /// Takes what older or careless programs write for what they mean, and says so.
    pub(super) fn normalize(&mut self, warnings: &mut Vec<String>) {
        drop_empty(&mut self.hostname);
        drop_empty(&mut self.domainname);
        drop_empty(&mut self.linux.cgroups_path);
        drop_empty(&mut self.linux.mount_label);
        if let Some(profile) = &mut self.linux.seccomp {
            drop_empty(&mut profile.listener_path);
            drop_empty(&mut profile.listener_metadata);
            if profile.listener_path.is_none() && profile.asks_a_listener() {
                profile.listener_path = self.annotations.get(super::seccomp::RECEIVER).cloned();
                drop_empty(&mut profile.listener_path);
            }
        }
        for device in self.linux.net_devices.values_mut() {
            drop_empty(&mut device.name);
        }
        if let Some(settings) = &mut self.linux.intel_rdt {
            drop_empty(&mut settings.clos_id);
            drop_empty(&mut settings.l3_cache_schema);
            drop_empty(&mut settings.mem_bw_schema);
        }
        for namespace in &mut self.linux.namespaces {
            drop_empty_path(&mut namespace.path);
        }
        normalize_mounts(&mut self.mounts, warnings);
        self.linux.sysctl = std::mem::take(&mut self.linux.sysctl)
            .into_iter()
            .map(|(name, value)| (super::sysctl::dotted(&name), value))
            .collect();
        if let Some(process) = &mut self.process {
            process.normalize(warnings);
        }
    }
}

impl Process {
    /// Checks a process for contradictions; `field` is where it stands in its file (`"process"`,
    /// or empty for a process file).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`] with the field at fault.
    pub fn validate(&self, field: &str) -> Result<()> {
        let at = |name: &str| join(field, name);
        check_absolute(&self.cwd, at("cwd"))?;
        match self.args.first() {
            None => return Err(invalid(at("args"), "needs at least one entry")),
            Some(program) if program.is_empty() => {
                return Err(invalid(at("args[0]"), "is empty"));
            }
            Some(_) => {}
        }
        check_user(&self.user, &at("user"))?;
        for (index, rlimit) in self.rlimits.iter().enumerate() {
            let name = rlimit.resource.name();
            if rlimit.soft > rlimit.hard {
                return Err(invalid(
                    at(&format!("rlimits[{index}].soft")),
                    format!("the soft limit of {name} is above the hard limit"),
                ));
            }
            let earlier = self.rlimits.iter().take(index);
            if earlier.into_iter().any(|other| other.resource == rlimit.resource) {
                return Err(invalid(
                    at(&format!("rlimits[{index}].type")),
                    format!("{name} is given twice"),
                ));
            }
        }
        if self.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
            return Err(invalid(at("oomScoreAdj"), "is outside -1000 to 1000"));
        }
        scheduling::check_process(self, &at)
    }

    pub(super) fn normalize(&mut self, warnings: &mut Vec<String>) {
        drop_empty(&mut self.apparmor_profile);
        drop_empty(&mut self.selinux_label);
        warnings.extend(self.scheduler.as_ref().and_then(scheduling::unused));
        let unknown = self.capabilities.as_ref().map(Capabilities::unknown).unwrap_or_default();
        if !unknown.is_empty() {
            warnings.push(format!(
                "ignoring unknown or unavailable capabilities: [{}]",
                unknown.join(" ")
            ));
        }
    }
}

fn join(field: &str, name: &str) -> String {
    if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") }
}

fn drop_empty(text: &mut Option<String>) {
    if text.as_ref().is_some_and(String::is_empty) {
        *text = None;
    }
}

fn drop_empty_path(path: &mut Option<PathBuf>) {
    if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        *path = None;
    }
}

/// The path with each `..` and the name before it left out; there is nothing above the root.
fn without_parents(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut all, part| {
        if part == Component::ParentDir {
            all.pop();
        } else {
            all.push(part);
        }
        all
    })
}

fn check_absolute(path: &Path, field: impl Into<String>) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    let message = if path.as_os_str().is_empty() {
        "is empty".to_owned()
    } else {
        format!("{path:?} is not an absolute path")
    };
    Err(invalid(field, message))
}

/// Accepts SemVer 2.0.0 with the major version that is understood.
fn check_version(version: &str) -> Result<()> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<u64> = core
        .split('.')
        .filter(|part| *part == "0" || !part.starts_with(['0', '+']))
        .filter_map(|part| part.parse().ok())
        .collect();
    let tail = version.get(core.len()..).unwrap_or_default();
    let (before, build) = tail.split_once('+').unwrap_or((tail, "build"));
    let identifiers = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let tail_fits = (before.is_empty() || identifiers(before.get(1..).unwrap_or_default()))
        && identifiers(build);
    let [major, _, _] = numbers[..] else {
        return Err(not_a_version(version));
    };
    if core.split('.').count() != 3 || !tail_fits {
        return Err(not_a_version(version));
    }
    if major != OCI_MAJOR_VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("version {version} of the specification is not supported"),
        )
        .with_field("ociVersion")
        .with_hint("versions 1.x.y are"));
    }
    Ok(())
}

fn not_a_version(version: &str) -> Error {
    invalid("ociVersion", format!("{version:?} is not a semantic version"))
        .with_hint("such as 1.2.1")
}

pub(super) fn normalize_mounts(mounts: &mut [Mount], warnings: &mut Vec<String>) {
    for (index, mount) in mounts.iter_mut().enumerate() {
        drop_empty(&mut mount.kind);
        drop_empty_path(&mut mount.source);
        if mount.destination.is_relative() && !mount.destination.as_os_str().is_empty() {
            warnings.push(format!(
                "mounts[{index}].destination: {:?} is relative, taken from /",
                mount.destination
            ));
            mount.destination = Path::new("/").join(&mount.destination);
        }
        if mount.destination.components().any(|part| part == Component::ParentDir) {
            mount.destination = without_parents(&mount.destination);
        }
    }
}

pub(crate) fn check_mounts(mounts: &[Mount]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        check_mount(mount, &format!("mounts[{index}]"))?;
    }
    Ok(())
}

fn check_mount(mount: &Mount, field: &str) -> Result<()> {
    check_absolute(&mount.destination, join(field, "destination"))?;
    let remount = mount.options.iter().any(|option| option == "remount");
    if mount.is_bind() && mount.source.is_none() && !remount {
        return Err(invalid(join(field, "source"), "a bind mount needs a source"));
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        return Err(invalid(field, "uidMappings and gidMappings go together"));
    }
    mappings::check(&mount.uid_mappings, &join(field, "uidMappings"))?;
    mappings::check(&mount.gid_mappings, &join(field, "gidMappings"))
}

fn check_id(id: u32, field: impl Into<String>) -> Result<()> {
    if id == NO_ID {
        return Err(invalid(field, format!("{NO_ID} is not a valid id")));
    }
    Ok(())
}

fn check_user(user: &User, field: &str) -> Result<()> {
    check_id(user.uid, join(field, "uid"))?;
    check_id(user.gid, join(field, "gid"))?;
    for (index, gid) in user.additional_gids.iter().enumerate() {
        check_id(*gid, format!("{field}.additionalGids[{index}]").trim_start_matches('.'))?;
    }
    // NGROUPS_MAX of the kernel.
    if user.additional_gids.len() > 65536 {
        return Err(invalid(join(field, "additionalGids"), "has more than 65536 entries"));
    }
    if user.umask.is_some_and(|umask| umask > 0o777) {
        return Err(invalid(join(field, "umask"), "is above 0777 (511)"));
    }
    Ok(())
}

fn check_hooks(hooks: &Hooks) -> Result<()> {
    for (name, list) in hooks.lists() {
        for (index, hook) in list.iter().enumerate() {
            let field = format!("hooks.{name}[{index}]");
            check_absolute(&hook.path, join(&field, "path"))?;
            let nul = |texts: &[String]| texts.iter().any(|text| text.contains('\0'));
            for (name, bad) in [
                ("path", hook.path.as_os_str().as_encoded_bytes().contains(&0)),
                ("args", nul(&hook.args)),
                ("env", nul(hook.env.as_deref().unwrap_or_default())),
            ] {
                if bad {
                    return Err(invalid(join(&field, name), "contains a NUL character"));
                }
            }
            if hook.timeout == Some(0) {
                return Err(invalid(join(&field, "timeout"), "must be greater than zero"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.0.2-dev", "1.3.0+dev", "1.2.1-rc.1+a.b", "1.0.0-x-y"] {
            check_version(good).expect(good);
        }
        for bad in
            ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.x", "1.00.0", "1.0.0-", "1.0.0+", "1.+2.0"]
        {
            assert_eq!(check_version(bad).expect_err(bad).kind(), ErrorKind::InvalidSpec, "{bad}");
        }
        for other in ["0.9.0", "2.0.0", "9.0.0-rc1"] {
            assert_eq!(check_version(other).expect_err(other).kind(), ErrorKind::Unsupported);
        }
    }
}
