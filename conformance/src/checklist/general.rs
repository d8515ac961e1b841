//! What holds for every configuration and every operation.

use super::{Row, row};

pub(super) const ROWS: &[Row] = &[
    row('A', "unknown properties", "properties that the runtime does not know are ignored"),
    row('A', "unsupported values", "a valid value that the runtime cannot provide is an error"),
    row('A', "ociVersion", "required, SemVer, of a major version that the runtime knows"),
    row('A', "config edited", "edits of config.json after create have no effect"),
    row('A', "failed operation", "a failed operation leaves nothing behind"),
    row('A', "wrong state", "an operation in a state that does not allow it is an error"),
    row('A', "create", "the id is unique, no user program runs, errors come at create"),
    row('A', "start", "starts a created container and no other"),
    row('A', "kill", "reaches a created or running container and no other"),
    row('A', "delete", "of a stopped container; removes all that create made, nothing else"),
    row('A', "state", "the fields of the schema, with annotations and pid"),
    row('A', "state.status", "created, running, stopped; paused as an extension"),
    row('A', "root.path relative", "relative to the bundle; must be an existing directory"),
    row('A', "annotations", "keys are not empty; unknown keys are no error"),
];
