//! Where a container's cgroup lies: `linux.cgroupsPath` and its default.

use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;

/// `linux.cgroupsPath` after its checks; neither form starts or ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// Below the root of the hierarchy.
    Root(String),
    /// Below the caller's own cgroup.
    Own(String),
}

impl Location {
    /// Checks the path that the configuration asks for, or takes the container's name below the
    /// caller's own cgroup, as runc's cgroupfs driver does.
    ///
    /// Without systemd the form `slice:prefix:name` is an ordinary relative path, as in runc.
    pub(super) fn parse(asked: Option<&str>, id: &ContainerId) -> Result<Self> {
        let Some(asked) = asked.filter(|path| !path.is_empty()) else {
            return Ok(Self::Own(id.as_str().to_owned()));
        };
        let parts = checked(asked).map_err(|error| error.with_field("linux.cgroupsPath"))?;
        Ok(if asked.starts_with('/') { Self::Root(parts) } else { Self::Own(parts) })
    }

    /// The path below a hierarchy's root, given the caller's own cgroup there (`/a/b` or `/`).
    pub(super) fn below(&self, own: &str) -> String {
        match (self, own.trim_matches('/')) {
            (Self::Root(path), _) | (Self::Own(path), "") => path.clone(),
            (Self::Own(path), own) => format!("{own}/{path}"),
        }
    }
}

/// The path without needless slashes and dots.
pub(super) fn checked(path: &str) -> Result<String> {
    match components(path) {
        Ok(parts) => Ok(parts.join("/")),
        Err(fault) => Err(Error::new(ErrorKind::InvalidSpec, format!("{path:?} {fault}"))),
    }
}

fn components(path: &str) -> Result<Vec<&str>, &'static str> {
    // /proc/PID/cgroup is a file of lines: a line break in a name would forge one.
    if path.chars().any(char::is_control) {
        return Err("has control characters");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("leaves its directory by \"..\"");
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err("has a component longer than 255 bytes");
    }
    if parts.is_empty() {
        return Err("names the root cgroup");
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(asked: Option<&str>) -> Result<Location> {
        Location::parse(asked, &"c1".parse().expect("id"))
    }

    #[test]
    fn absolute_relative_and_default() {
        let root = parse(Some("//docker/./c1/")).expect("valid");
        assert_eq!(root, Location::Root("docker/c1".into()));
        assert_eq!(root.below("/own"), "docker/c1");
        let own = parse(Some("system.slice:docker:c1")).expect("valid");
        assert_eq!(own.below("/own/deep"), "own/deep/system.slice:docker:c1");
        assert_eq!(parse(None).expect("valid").below("/"), "c1");
        assert_eq!(parse(Some("")).expect("valid"), Location::Own("c1".into()));
    }

    #[test]
    fn escapes_are_refused() {
        for bad in ["/", "..", "/a/../b", "a/..", "/a\nb", "./", &"x".repeat(256)] {
            let error = parse(Some(bad)).expect_err(bad);
            assert_eq!(error.field(), Some("linux.cgroupsPath"), "{bad}");
        }
    }
}
