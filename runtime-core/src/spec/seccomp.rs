//! `linux.seccomp`.

use super::object::object;

object! {
    /// The system call filter.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Seccomp {
        /// What happens to a system call that no rule matches.
        pub default_action: String = required "defaultAction",
    }
}
