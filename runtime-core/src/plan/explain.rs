//! A plan as text and as JSON.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::describe::kinds;
use super::{IdMaps, MountIds, Node, Origin, Plan, Source, describe};
use crate::spec::IdMapping;

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree { path, recursive: true } => {
                write!(f, "the mount at {} and what is below", path.display())
            }
            Self::Tree { path, recursive: false } => write!(f, "the mount at {}", path.display()),
            Self::MappedTree { path, recursive, ids, whole } => {
                let below = if *recursive { " and what is below" } else { "" };
                let reach = if *whole { ", all" } else { "" };
                write!(f, "the mount at {}{below}{reach} with ids ", path.display())?;
                ids.fmt(f)
            }
            Self::MappedFilesystem { kind, ids, .. } => {
                write!(f, "a new {} with ids {ids}", kind.to_string_lossy())
            }
            Self::Node(Node { mode, major, minor, uid, gid }) => {
                let kind = if mode & libc::S_IFMT == libc::S_IFBLK { "block" } else { "character" };
                let mode = mode & 0o7777;
                write!(f, "a {kind} device {major}:{minor} with mode {mode:04o} of {uid}:{gid}")
            }
            Self::Namespace { path, kind } => {
                write!(f, "the {} namespace {}", kind.name(), path.display())
            }
            Self::Cgroup { hierarchy } => write!(f, "the container's cgroup in {hierarchy}"),
            Self::StartSocket => f.write_str("the socket for the start"),
            Self::Stream(number) => write!(f, "the standard stream {number}"),
            Self::InitRoot => f.write_str("the root of the container's init process"),
            Self::InitPidfd => f.write_str("the container's init process"),
        }
    }
}

impl fmt::Display for MountIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maps(maps) => write!(f, "{} and {}", ranges(&maps.uid), ranges(&maps.gid)),
            Self::Namespace(path) => write!(f, "of {}", path.display()),
        }
    }
}

fn ranges(maps: &[IdMapping]) -> String {
    let range = |map: &IdMapping| format!("{}={}+{}", map.container_id, map.host_id, map.size);
    maps.iter().map(range).collect::<Vec<_>>().join(" ")
}

/// The number of a mask, of which only the lower half is used.
fn mask(kinds: u64) -> u32 {
    u32::try_from(kinds).unwrap_or(0)
}

impl Plan {
    /// The settings that are not steps, as names and values.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("namespaces", kinds(mask(self.namespaces))),
            ("made at spawn", kinds(mask(self.clone_flags))),
        ];
        if let Some(IdMaps { uid, gid }) = &self.id_maps {
            settings.push(("user ids", ranges(uid)));
            settings.push(("group ids", ranges(gid)));
        }
        if !self.privileged {
            settings.push(("privilege", "none on the host".to_owned()));
        }
        if let Some(path) = &self.cgroups_path {
            settings.push(("cgroup", path.clone()));
        }
        if let Some((user, group)) = self.cgroup_owner {
            settings.push(("cgroup owner", format!("{user}:{group}")));
        }
        if let Some(resources) = &self.resources {
            settings.push(("limits", serde_json::to_string(resources).unwrap_or_default()));
        }
        if let Some(rdt) = &self.intel_rdt {
            settings.push(("resctrl", serde_json::to_string(rdt).unwrap_or_default()));
        }
        for (host, device) in &self.net_devices {
            let name = device.name.as_deref().unwrap_or(host);
            settings.push(("network device", format!("{host} moves in as {name}")));
        }
        if let Some(score) = self.oom_score_adj {
            settings.push(("OOM score", score.to_string()));
        }
        if let Some(process) = &self.process {
            let json = |value| serde_json::to_string(value).unwrap_or_default();
            settings.extend(process.scheduler.as_ref().map(|one| ("scheduling", json(one))));
            let io = process.io_priority.as_ref();
            settings.extend(io.map(|one| {
                ("I/O priority", one.class.name().to_owned() + " " + &one.priority.to_string())
            }));
        }
        if let Some(profile) = &self.seccomp {
            let action = profile.default_action.map_or("none", |action| action.name());
            let rules = profile.syscalls.len();
            settings.push(("filter", format!("{rules} rules, by default {action}")));
        }
        for (name, list) in self.hooks.lists() {
            if !list.is_empty() && !matches!(name, "createContainer" | "startContainer") {
                let paths = list.iter().map(|hook| hook.path.display().to_string());
                settings.push((name, paths.collect::<Vec<_>>().join(" ")));
            }
        }
        if self.keep_fds != 0 {
            settings.push(("descriptors kept", self.keep_fds.to_string()));
        }
        settings
    }
}

/// ` <mounts[3]>`, or nothing.
struct From<'a>(&'a Origin);

impl fmt::Display for From<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::None => Ok(()),
            origin => write!(f, "  <{origin}>"),
        }
    }
}

impl fmt::Display for Plan {
    /// For people: the settings, what is opened on the host, and the numbered steps, each with the
    /// field of the configuration that it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.settings() {
            writeln!(f, "{name}: {value}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        writeln!(f, "opened on the host:")?;
        for (slot, (source, origin)) in self.sources.iter().enumerate() {
            writeln!(f, "{slot:>4}  {source}{}", From(origin))?;
        }
        writeln!(f, "steps:")?;
        for (index, (step, origin)) in self.steps().enumerate() {
            writeln!(f, "{index:>4}  {}{}", describe(&step), From(origin))?;
        }
        Ok(())
    }
}

impl Serialize for Plan {
    /// For programs: the same as the text. The wording of `text` may change between versions.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let field = |origin: &Origin| match origin {
            Origin::None => None,
            origin => Some(origin.to_string()),
        };
        let names = |kinds_mask: u64| -> Vec<String> {
            let names = kinds(mask(kinds_mask));
            names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let sources: Vec<_> = self
            .sources
            .iter()
            .map(|(source, origin)| json!({"text": source.to_string(), "field": field(origin)}))
            .collect();
        let steps: Vec<_> = self
            .steps()
            .map(|(step, origin)| {
                json!({"step": step.name(), "text": describe(&step), "field": field(origin)})
            })
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("namespaces", &names(self.namespaces))?;
        map.serialize_entry("madeAtSpawn", &names(self.clone_flags))?;
        if let Some(IdMaps { uid, gid }) = &self.id_maps {
            map.serialize_entry("uidMappings", uid)?;
            map.serialize_entry("gidMappings", gid)?;
        }
        map.serialize_entry("privileged", &self.privileged)?;
        map.serialize_entry("cgroupsPath", &self.cgroups_path)?;
        if let Some(owner) = self.cgroup_owner {
            map.serialize_entry("cgroupOwner", &owner)?;
        }
        map.serialize_entry("resources", &self.resources)?;
        if self.intel_rdt.is_some() {
            map.serialize_entry("intelRdt", &self.intel_rdt)?;
        }
        if !self.net_devices.is_empty() {
            map.serialize_entry("netDevices", &self.net_devices)?;
        }
        map.serialize_entry("oomScoreAdj", &self.oom_score_adj)?;
        map.serialize_entry("seccomp", &self.seccomp)?;
        map.serialize_entry("hooks", &self.hooks)?;
        map.serialize_entry("process", &self.process)?;
        map.serialize_entry("keptDescriptors", &self.keep_fds)?;
        map.serialize_entry("warnings", &self.warnings)?;
        map.serialize_entry("sources", &sources)?;
        map.serialize_entry("steps", &steps)?;
        map.end()
    }
}
