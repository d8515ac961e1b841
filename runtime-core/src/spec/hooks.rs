//! `hooks`: programs to run at points of a container's life (config.md, "POSIX-platform Hooks").

use std::path::PathBuf;

use super::object::object;

object! {
    /// The hooks by the point at which they run, each list in its order.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Hooks {
        /// During create, in the runtime's namespaces, before the root is changed (deprecated).
        pub prestart: Vec<Hook> = "prestart",
        /// During create, in the runtime's namespaces, before the root is changed.
        pub create_runtime: Vec<Hook> = "createRuntime",
        /// During create, in the container's namespaces, before the root is changed.
        pub create_container: Vec<Hook> = "createContainer",
        /// During start, in the container, before the program.
        pub start_container: Vec<Hook> = "startContainer",
        /// After the program has started, in the runtime's namespaces.
        pub poststart: Vec<Hook> = "poststart",
        /// After the container has been deleted, in the runtime's namespaces.
        pub poststop: Vec<Hook> = "poststop",
    }

    /// One program to run.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Hook {
        /// The program, absolute, in the runtime's file system (`startContainer`: the container's).
        pub path: PathBuf = required "path",
        /// Its arguments, `argv[0]` included; empty means the path alone.
        pub args: Vec<String> = "args",
        /// Its environment; absent leaves the choice to the runtime.
        pub env: Option<Vec<String>> = "env",
        /// After how many seconds it is killed; absent means never.
        pub timeout: Option<u32> = "timeout",
    }
}

impl Hooks {
    /// Each list with the name of its field.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}
