//! Where in the configuration a step comes from.

use std::fmt;

use crate::error::Error;

/// A field of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// None: the step is part of every container.
    None,
    /// A field with a fixed name.
    Field(&'static str),
    /// An element of a list: `mounts[3]`.
    Element(&'static str, usize),
    /// A field of an element of a list: `linux.namespaces[1].path`.
    Part(&'static str, usize, &'static str),
    /// An entry of a map: `linux.sysctl["net.core.somaxconn"]`.
    Entry(&'static str, String),
}

impl Origin {
    /// A field of this element, or of the one that this is a field of; else the same.
    pub(crate) fn part(&self, field: &'static str) -> Self {
        match self {
            Self::Element(name, index) | Self::Part(name, index, _) => {
                Self::Part(name, *index, field)
            }
            other => other.clone(),
        }
    }

    /// Names the field in an error.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match self {
            Self::None => error,
            field => error.with_field(field.to_string()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Field(name) => f.write_str(name),
            Self::Element(name, index) => write!(f, "{name}[{index}]"),
            Self::Part(name, index, field) => write!(f, "{name}[{index}].{field}"),
            Self::Entry(name, key) => write!(f, "{name}[\"{key}\"]"),
        }
    }
}
