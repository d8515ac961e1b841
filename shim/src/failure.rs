//! Failures of a request, as containerd tells them apart.

use std::fmt;

use containerd_shim_protos::ttrpc::Code;
use coracle::ErrorKind;

/// Why a request fails: a code that containerd maps to its kinds of errors, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The gRPC code.
    pub(crate) code: Code,
    /// What failed.
    pub(crate) message: String,
}

impl Failure {
    /// With this code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What is named does not exist (any more).
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NOT_FOUND, message)
    }

    /// The state does not allow it.
    pub(crate) fn precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FAILED_PRECONDITION, message)
    }

    /// The request is at fault.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, message)
    }

    /// Anything else.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(Code::UNKNOWN, message)
    }

    /// The same with words before the sentence.
    pub(crate) fn context(self, what: &str) -> Self {
        Self { code: self.code, message: format!("{what}: {}", self.message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<coracle::Error> for Failure {
    fn from(error: coracle::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NOT_FOUND,
            ErrorKind::AlreadyExists => Code::ALREADY_EXISTS,
            ErrorKind::InvalidId | ErrorKind::InvalidSpec => Code::INVALID_ARGUMENT,
            ErrorKind::WrongStatus => Code::FAILED_PRECONDITION,
            ErrorKind::Unsupported => Code::UNIMPLEMENTED,
            _ => Code::UNKNOWN,
        };
        Self::new(code, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::unknown(error.to_string())
    }
}
