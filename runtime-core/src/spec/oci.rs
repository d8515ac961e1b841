//! From and to the types of the `oci-spec` crate.

use super::Spec;
use crate::error::{Error, ErrorKind, Result};

impl TryFrom<&oci_spec::runtime::Spec> for Spec {
    type Error = Error;

    /// Converts and validates.
    fn try_from(spec: &oci_spec::runtime::Spec) -> Result<Self> {
        let text = serde_json::to_vec(spec)
            .map_err(|error| Error::new(ErrorKind::InvalidSpec, error.to_string()))?;
        Ok(Self::parse(&text)?.value)
    }
}

impl TryFrom<&Spec> for oci_spec::runtime::Spec {
    type Error = Error;

    /// Converts; what the crate does not know is refused.
    fn try_from(spec: &Spec) -> Result<Self> {
        serde_json::to_value(spec)
            .and_then(serde_json::from_value)
            .map_err(|error| Error::new(ErrorKind::InvalidSpec, error.to_string()))
    }
}
