//! Where systemd puts a container: the unit's name and its slice (systemd.slice(5)).

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;

/// In front of the name of a container whose configuration names no unit.
const PREFIX: &str = "coracle";

/// The unit of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cgroup) struct Unit {
    /// `PREFIX-ID.scope`, or the name of a slice.
    pub(super) name: String,
    /// The slice it is in, or wants to be in.
    pub(super) slice: String,
    /// Whether the user's manager has it, and not the system's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) user: bool,
}

impl Unit {
    /// Reads `linux.cgroupsPath` in the form that engines use with systemd, `SLICE:PREFIX:NAME`;
    /// nothing stands for the default slice and the container's name. `-` is the root slice.
    ///
    /// # Errors
    /// When the path has another form, or its slice is no slice.
    pub(super) fn parse(asked: Option<&str>, id: &ContainerId, user: bool) -> Result<Self> {
        let default = if user { "user.slice" } else { "system.slice" };
        let asked = asked.unwrap_or_default();
        let (slice, prefix, name) = if asked.is_empty() {
            (default, PREFIX, id.as_str())
        } else {
            let mut parts = asked.split(':');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(slice), Some(prefix), Some(name), None) if !name.is_empty() => {
                    (slice, prefix, name)
                }
                _ => return Err(refused(asked, "is not of the form slice:prefix:name")),
            }
        };
        let slice = match slice {
            "" => default,
            "-" => "-.slice",
            slice => slice,
        };
        if expand(slice).is_none() {
            return Err(refused(asked, "does not begin with the name of a slice"));
        }
        let name = match (name.ends_with(".slice"), prefix) {
            (true, _) if expand(name).is_none() => {
                return Err(refused(asked, "does not end in the name of a slice"));
            }
            (true, _) => name.to_owned(),
            // Without a prefix as well: other runtimes name it so, and engines look for it there.
            (false, prefix) => format!("{}-{}.scope", escaped(prefix), escaped(name)),
        };
        if name.len() > 255 {
            return Err(refused(asked, "makes the name of a unit longer than 255 bytes"));
        }
        Ok(Self { name, slice: slice.to_owned(), user })
    }

    /// Whether the unit is a slice itself, which systemd makes without a process.
    pub(super) fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Its directory below the manager's own cgroup.
    pub(super) fn directory(&self) -> String {
        if self.is_slice() {
            return expand(&self.name).unwrap_or_default();
        }
        match expand(&self.slice).unwrap_or_default() {
            slice if slice.is_empty() => self.name.clone(),
            slice => format!("{slice}/{}", self.name),
        }
    }
}

fn refused(asked: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidSpec, format!("{asked:?} {why}"))
        .with_field("linux.cgroupsPath")
        .with_hint(
            "with the systemd cgroup driver it is slice:prefix:name, as in system.slice:docker:ID",
        )
}

/// The directory of a slice: `a-b.slice` is `a.slice/a-b.slice`. `None`: no name of a slice.
fn expand(slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(".slice")?;
    if stem == "-" {
        return Some(String::new());
    }
    let plain = stem.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@\\".contains(c));
    if !plain || slice.len() > 255 || stem.split('-').any(str::is_empty) {
        return None;
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    let parts: Vec<String> =
        ends.map(|end| format!("{}.slice", stem.get(..end).unwrap_or_default())).collect();
    Some(parts.join("/"))
}

/// Characters that no unit's name may have, as systemd-escape(1) writes them.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.:@\\".contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(asked: &str) -> Result<Unit> {
        Unit::parse(Some(asked), &"c+1".parse().expect("id"), false)
    }

    #[test]
    fn engines_forms() {
        let docker = unit("system.slice:docker:abc").expect("valid");
        assert_eq!((&*docker.name, &*docker.slice), ("docker-abc.scope", "system.slice"));
        assert_eq!(docker.directory(), "system.slice/docker-abc.scope");
        let pod = unit("kubepods-besteffort-pod1.slice:cri-containerd:x").expect("valid");
        assert_eq!(
            pod.directory(),
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-x.scope"
        );
        assert_eq!(unit("").expect("valid").name, "coracle-c\\x2b1.scope");
        assert_eq!(unit("::x").expect("valid").directory(), "system.slice/-x.scope");
        assert_eq!(unit("-:p:x").expect("valid").directory(), "p-x.scope");
        let slice = unit("machine.slice:libpod:machine-pod.slice").expect("valid");
        assert_eq!(slice.directory(), "machine.slice/machine-pod.slice");
        assert!(slice.is_slice());
    }

    #[test]
    fn other_forms_are_refused_by_field() {
        for bad in [
            "/a/b",
            "a",
            "a:b",
            "a.slice:b:",
            "a.slice:b:c:d",
            "a:b:c",
            "..:b:c",
            "a/b.slice:x:y",
            "a--b.slice:x:y",
            "-a.slice:x:y",
            "a.slice:x:b--c.slice",
        ] {
            let error = unit(bad).expect_err(bad);
            assert_eq!(error.field(), Some("linux.cgroupsPath"), "{bad}");
        }
    }
}
