//! What `--version` says.

use std::ffi::OsStr;
use std::path::Path;

/// The version of the runtime specification that this program implements.
pub(crate) const SPEC: &str = "1.3.0";

/// The text of `--version`.
///
/// go-runc reads the words `runc version ` in the first line, and the lines `commit: ` and
/// `spec: `; so a program that is installed under the name `runc` says that name. runc has more
/// lines after these, and so nobody minds them. Where runc has `libseccomp: `, there is a line about
/// the compiler of filters that is used instead.
pub(crate) fn text(program: Option<&OsStr>) -> String {
    let name = match program.and_then(|path| Path::new(path).file_name()) {
        Some(name) if name == "runc" => "runc",
        _ => "coracle",
    };
    let mut out = format!("{name} version {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(commit) = option_env!("CORACLE_COMMIT") {
        out.push_str(&format!("commit: {commit}\n"));
    }
    let (target, compiler) = (env!("CORACLE_TARGET"), env!("CORACLE_RUSTC"));
    out.push_str(&format!("spec: {SPEC}\ntarget: {target}\nrustc: {compiler}\n"));
    out.push_str("seccomp: built in\n");
    out
}

/// Version and commit in one line.
pub(crate) fn line() -> String {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), option_env!("CORACLE_COMMIT"));
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("coracle {version}{commit} for {}, specification {SPEC}", env!("CORACLE_TARGET"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_follows_the_name_of_the_program() {
        for (program, start) in [
            (Some("/usr/bin/runc"), "runc version 0"),
            (Some("runc"), "runc version 0"),
            (Some("/usr/bin/coracle"), "coracle version 0"),
            (Some("runc/coracle"), "coracle version 0"),
            (None, "coracle version 0"),
        ] {
            let text = text(program.map(OsStr::new));
            assert!(text.starts_with(start), "{text}");
            assert!(text.contains("\nspec: 1.3.0\ntarget: "), "{text}");
            assert!(text.lines().all(|line| line.contains(": ") != line.contains(" version ")));
            assert!(
                text.contains("\nrustc: 1.") && text.ends_with("\nseccomp: built in\n"),
                "{text}"
            );
        }
    }
}
