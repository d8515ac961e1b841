//! Why a command failed.

use crate::args::Usage;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(Usage),
    /// An option has a value that it cannot have; the exit status is the command's own.
    Option(Usage),
    /// The library, or an act of this program that is described the same way.
    Operation(coracle::Error),
}

impl From<Usage> for Failure {
    fn from(usage: Usage) -> Self {
        Self::Option(usage)
    }
}

impl From<coracle::Error> for Failure {
    fn from(error: coracle::Error) -> Self {
        Self::Operation(error)
    }
}

impl Failure {
    /// The whole text, hint included.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Usage(usage) | Self::Option(usage) => match &usage.hint {
                Some(hint) => format!("{} ({hint})", usage.message),
                None => usage.message.clone(),
            },
            Self::Operation(error) => error.to_string(),
        }
    }

    /// The exit status, given the one that the command's failures have.
    pub(crate) fn status(&self, command: u8) -> u8 {
        match self {
            Self::Usage(usage) => usage.status,
            Self::Option(_) | Self::Operation(_) => command,
        }
    }
}
