//! Why a case failed.

use std::fmt::Display;

/// The result of a step of a case.
pub(crate) type Check<T = ()> = Result<T, Failure>;

/// What was wrong, in one sentence or more.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The promise is not kept.
    Broken(String),
    /// The case found out that it cannot run here.
    Skipped(String),
}

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A failed check with this text.
pub(crate) fn broken<T>(text: impl Into<String>) -> Check<T> {
    Err(Failure::Broken(text.into()))
}

/// Ends the case as skipped.
pub(crate) fn skip<T>(why: impl Into<String>) -> Check<T> {
    Err(Failure::Skipped(why.into()))
}

/// Fails unless `condition` holds.
pub(crate) fn ensure(condition: bool, text: impl Into<String>) -> Check {
    if condition { Ok(()) } else { broken(text) }
}
