//! The one error type of the library.
//!
//! An [`Error`] is opaque: it answers what kind of failure it was, which step of the set-up, which
//! field of the configuration, which path and which `errno`, and what can be done about it. It is
//! made where the failure is seen, completed on the way up, and logged by nobody but the caller.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of every fallible operation of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The container does not exist.
    NotFound,
    /// A container of that name exists already.
    AlreadyExists,
    /// The container's name breaks the rules of [`ContainerId`](crate::ContainerId).
    InvalidId,
    /// The configuration (or a process file) is malformed or contradicts itself.
    InvalidSpec,
    /// The operation does not fit the container's status.
    WrongStatus,
    /// The configuration asks for something that this version or this host cannot do.
    Unsupported,
    /// The kernel refused for lack of privilege.
    Denied,
    /// A hook failed, was killed or ran out of time.
    Hook,
    /// The program to run is missing or cannot be executed.
    Executable,
    /// A wait ran out of time.
    TimedOut,
    /// A system call failed.
    System,
}

impl ErrorKind {
    /// The kind's stable name, as the machine-readable log spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::InvalidId => "invalid-id",
            Self::InvalidSpec => "invalid-spec",
            Self::WrongStatus => "wrong-status",
            Self::Unsupported => "unsupported",
            Self::Denied => "denied",
            Self::Hook => "hook",
            Self::Executable => "executable",
            Self::TimedOut => "timed-out",
            Self::System => "system",
        }
    }
}

/// A failure of the library. See the [module](self) for what it carries.
#[allow(clippy::error_impl_error, reason = "it is the one error of the crate: coracle::Error")]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    contexts: Vec<String>,
    step: Option<String>,
    field: Option<String>,
    path: Option<PathBuf>,
    position: Option<Position>,
    errno: Option<i32>,
    hint: Option<String>,
}

/// A place in a configuration file; both numbers count from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
}

impl Error {
    /// An error of this kind; `message` says what failed, in lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            contexts: Vec::new(),
            step: None,
            field: None,
            path: None,
            position: None,
            errno: None,
            hint: None,
        }))
    }

    /// A failed system call; `message` says what was attempted (`"open the state directory"`).
    /// `EPERM` and `EACCES` make it [`ErrorKind::Denied`]; with `ENOSYS` goes what kernel is needed.
    pub fn system(message: impl Into<String>, errno: i32) -> Self {
        let kind = match errno {
            libc::EPERM | libc::EACCES => ErrorKind::Denied,
            _ => ErrorKind::System,
        };
        let error = Self::new(kind, message).with_errno(errno);
        match errno {
            libc::ENOSYS => {
                error.with_hint("Linux 5.12 or newer is needed, with all its system calls")
            }
            _ => error,
        }
    }

    /// [`Error::system`] from a [`std::io::Error`]; one without an errno keeps its text.
    pub fn io(message: impl Into<String>, source: &std::io::Error) -> Self {
        match source.raw_os_error() {
            Some(errno) => Self::system(message, errno),
            None => Self::new(ErrorKind::System, format!("{}: {source}", message.into())),
        }
    }

    /// Names the set-up step that failed.
    #[must_use]
    pub fn with_step(mut self, step: impl Into<String>) -> Self {
        self.0.step = Some(step.into());
        self
    }

    /// Names the field of the configuration at fault, as in `mounts[3].destination`.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Names the file or directory concerned.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Says where in the configuration file the fault lies.
    #[must_use]
    pub fn with_position(mut self, position: Position) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Attaches the `errno`; its text is added to the message by `Display`.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts what was being done in front of the message.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.contexts.push(context.into());
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The set-up step that failed, if it was one.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// The field of the configuration at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The file or directory concerned.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Where in the configuration file the fault lies.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// The `errno` of the failed system call.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// The kernel's words for an `errno`, in the lower case that engines match on.
#[must_use]
pub fn errno_text(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("errno {errno}"),
        known => known.desc().to_lowercase(),
    }
}

/// Attaches a context to the error of a result.
pub(crate) trait Context<T> {
    /// Puts what was being done in front of the message.
    fn context(self, context: impl Into<String>) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, context: impl Into<String>) -> Self {
        self.map_err(|error| error.context(context))
    }
}

/// Makes an [`Error`] out of the error of a system call.
pub(crate) trait Attempt<T> {
    /// Says what was attempted: `openat(..).attempt("open the state directory")?`.
    fn attempt(self, what: &str) -> Result<T>;
    /// The same, with the file concerned.
    fn attempt_on(self, what: &str, path: &Path) -> Result<T>;
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt(self, what: &str) -> Result<T> {
        self.map_err(|source| Error::io(what, &source))
    }
    fn attempt_on(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(what, &source).with_path(path))
    }
}

impl<T> Attempt<T> for nix::Result<T> {
    fn attempt(self, what: &str) -> Result<T> {
        self.map_err(|errno| Error::system(what, errno as i32))
    }
    fn attempt_on(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|errno| Error::system(what, errno as i32).with_path(path))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        for context in inner.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        if let Some(step) = &inner.step {
            write!(f, "{step}: ")?;
        }
        if let Some(field) = &inner.field {
            write!(f, "{field}: ")?;
        }
        write!(f, "{}", inner.message)?;
        if let Some(path) = &inner.path {
            write!(f, " {}", path.display())?;
        }
        if let Some(Position { line, column }) = inner.position {
            write!(f, " (line {line}, column {column})")?;
        }
        if let Some(errno) = inner.errno {
            write!(f, ": {}", errno_text(errno))?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_everything_once() {
        let error = Error::system("mount", libc::ENODEV)
            .with_field("mounts[2].type")
            .with_path("/data")
            .with_hint("is the module loaded?")
            .context("create c1");
        assert_eq!(
            error.to_string(),
            "create c1: mounts[2].type: mount /data: no such device (is the module loaded?)"
        );
        assert_eq!(error.errno(), Some(libc::ENODEV));
        assert_eq!(error.kind(), ErrorKind::System);
    }

    #[test]
    fn lack_of_privilege_is_a_kind_of_its_own() {
        assert_eq!(Error::system("x", libc::EPERM).kind(), ErrorKind::Denied);
    }
}
