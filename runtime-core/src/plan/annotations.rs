//! Annotations by which crun is asked for more than the specification has.

use std::collections::BTreeMap;

use super::filesystem::LABELS;
use crate::error::{Error, ErrorKind, Result};

/// The payload keeps the supplementary groups of the caller (Podman's `--group-add keep-groups`).
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// Which option `linux.mountLabel` becomes.
pub(crate) const CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// Those that change how well a container is confined: to ignore them would be a lie.
const REFUSED: [&str; 4] = [
    "run.oci.handler",
    "run.oci.seccomp_bpf_data",
    "run.oci.seccomp.plugins",
    "run.oci.systemd.force_cgroup_v1",
];

/// What a configuration may hold besides its fields.
type Annotations = BTreeMap<String, String>;

/// Refuses what is not supported, and values that mean nothing.
pub(super) fn check(annotations: &Annotations) -> Result<()> {
    for name in REFUSED {
        if annotations.get(name).is_some_and(|value| !value.is_empty()) {
            let error =
                Error::new(ErrorKind::Unsupported, "this annotation of crun is not supported");
            return Err(error.with_field(format!("annotations.{name}")));
        }
    }
    match annotations.get(CONTEXT_TYPE) {
        Some(kind) if !LABELS.contains(&kind.as_str()) => {
            let error =
                Error::new(ErrorKind::InvalidSpec, format!("{kind:?} is no type of a context"));
            Err(error
                .with_field(format!("annotations.{CONTEXT_TYPE}"))
                .with_hint(LABELS.join(", ")))
        }
        _ => Ok(()),
    }
}

/// Whether the payload keeps the caller's groups.
pub(crate) fn keeps_groups(annotations: &Annotations) -> bool {
    annotations.get(KEEP_GROUPS).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The option that gives a file system the label of the mounts.
pub(super) fn context_option(annotations: &Annotations) -> &str {
    annotations.get(CONTEXT_TYPE).map_or("context", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Annotations {
        [(name.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn what_would_confine_less_or_otherwise_is_refused() {
        for name in REFUSED {
            let error = check(&of(name, "x")).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert_eq!(error.field(), Some(format!("annotations.{name}").as_str()));
            check(&of(name, "")).expect("nothing is asked for");
        }
        for name in ["run.oci.systemd.subgroup", "run.oci.unknown", "io.podman.annotations.x"] {
            check(&of(name, "x")).expect(name);
        }
    }

    #[test]
    fn the_type_of_a_context_is_one_of_the_kernels() {
        check(&of(CONTEXT_TYPE, "rootcontext")).expect("known");
        let error = check(&of(CONTEXT_TYPE, "subcontext")).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        assert_eq!(context_option(&of(CONTEXT_TYPE, "defcontext")), "defcontext");
        assert_eq!(context_option(&Annotations::new()), "context");
    }

    #[test]
    fn groups_are_kept_when_the_annotation_says_so() {
        for (value, kept) in
            [("1", true), ("true", true), ("0", false), ("false", false), ("", false)]
        {
            assert_eq!(keeps_groups(&of(KEEP_GROUPS, value)), kept, "{value:?}");
        }
        assert!(!keeps_groups(&Annotations::new()));
    }
}
