//! What the specification knows and this version does not do yet.

use super::{Linux, Spec};
use crate::error::{Error, ErrorKind};

/// Whether somebody asks for it, and the field to name.
type Row<T> = (fn(&T) -> bool, &'static str);

/// What is missing for a container, one row for each.
const LINUX: &[Row<Linux>] = &[
];

fn missing(field: String) -> Error {
    Error::new(ErrorKind::Unsupported, "is not supported by this version").with_field(field)
}

fn first<T>(rows: &[Row<T>], value: &T) -> Option<&'static str> {
    rows.iter().find(|(asks, _)| asks(value)).map(|(_, field)| *field)
}

/// The first thing in a configuration that this version cannot do, as an error of the kind
/// [`ErrorKind::Unsupported`] that names the field.
#[must_use]
pub fn unsupported(spec: &Spec) -> Option<Error> {
    first(LINUX, &spec.linux).map(|field| missing(field.to_owned()))
}
