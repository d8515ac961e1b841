//! The state as the type of the `oci-spec` crate.

use oci_spec::runtime::ContainerState;

use super::{State, Status};

impl From<Status> for ContainerState {
    /// The specification has no `paused`: such a container is running.
    fn from(status: Status) -> Self {
        match status {
            Status::Creating => Self::Creating,
            Status::Created => Self::Created,
            Status::Running | Status::Paused => Self::Running,
            Status::Stopped => Self::Stopped,
        }
    }
}

impl From<&State> for oci_spec::runtime::State {
    /// What the specification defines; the fields that runc adds are left out.
    fn from(state: &State) -> Self {
        let mut converted = Self::default();
        converted
            .set_version(state.oci_version.clone())
            .set_id(state.id.clone())
            .set_status(state.status.into())
            .set_pid((state.pid != 0).then_some(state.pid))
            .set_bundle(state.bundle.clone());
        if !state.annotations.is_empty() {
            converted.set_annotations(Some(state.annotations.clone().into_iter().collect()));
        }
        converted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_specification_are_carried_over() {
        let state = State {
            oci_version: "1.2.0".to_owned(),
            id: "c1".to_owned(),
            pid: 7,
            status: Status::Paused,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: String::new(),
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            owner: "root".to_owned(),
        };
        let converted = serde_json::to_value(oci_spec::runtime::State::from(&state)).expect("JSON");
        assert_eq!(
            converted,
            serde_json::json!({"ociVersion": "1.2.0", "id": "c1", "status": "running", "pid": 7,
                               "bundle": "/b", "annotations": {"a": "b"}})
        );
        let stopped = State { status: Status::Stopped, pid: 0, ..state };
        assert_eq!(*oci_spec::runtime::State::from(&stopped).pid(), None);
    }
}
