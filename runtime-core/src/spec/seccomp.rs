//! `linux.seccomp`.

use super::object::object;

object! {
    /// The system call filter.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Seccomp {}
}
