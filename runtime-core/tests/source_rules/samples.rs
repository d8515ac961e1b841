//! Small bad samples, one or more for each rule: each must be found, and its good twin must not.

use crate::{Rule, Source};

/// The lines of a sample that break a rule.
fn lines_of(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    let source = Source { path: path.to_owned(), text: text.to_owned(), test: false };
    source.findings().iter().filter(|f| f.rule == rule).map(|f| f.line).collect()
}

#[test]
fn upward_and_sideward_imports_are_found() {
    let text = "use crate::spec::Spec;\nuse crate::{error::Error, container::Container};\n\
                fn f() { super::super::seccomp::compile(); }\n\
                fn g() { println!(\"{}\", crate::launch::NAME); }\n\
                use crate::Error;\n\
                mod inner { use super::super::super::netdev::X; use super::super::v1::Y; }\n\
                #[cfg(test)]\nmod tests { use crate::container::Container; }\n";
    let path = "runtime-core/src/cgroup/v2.rs";
    assert_eq!(lines_of(Rule::Level, path, text), [2, 3, 4, 5, 6]);
    assert_eq!(lines_of(Rule::Level, "runtime-core/src/lib.rs", text), []);
    assert_eq!(lines_of(Rule::Level, "runtime-core/src/novel.rs", "use crate::id::X;"), [1]);
}

#[test]
fn long_functions_are_found() {
    let body = "    work();\n".repeat(59);
    let path = "shim/src/task.rs";
    let long = format!("/// Doc.\nfn f() {{\n{body}}}\nimpl X {{ fn g() {{\n{body}}} }}\n");
    assert_eq!(lines_of(Rule::FunctionLength, path, &long), [2, 63]);
    let short = format!("fn f() {{\n{}}}\n", "    work();\n".repeat(58));
    assert_eq!(lines_of(Rule::FunctionLength, path, &short), []);
    let test = format!("#[test]\n{long}");
    assert_eq!(lines_of(Rule::FunctionLength, path, &test), [64]);
}

#[test]
fn long_files_are_found() {
    let path = "shim/src/task.rs";
    let long = "const A: u8 = 1;\n".repeat(501);
    assert_eq!(lines_of(Rule::FileLength, path, &long), [1]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 1;\n".repeat(501));
    assert_eq!(lines_of(Rule::FileLength, path, &tests), []);
}

#[test]
fn unsafe_in_other_places_is_found() {
    let text = "// SAFETY: none\nunsafe impl Send for X {}\n// SAFETY: none\nunsafe fn f() {}\n\
                #[unsafe(no_mangle)]\nextern \"C\" fn g() {}\n\
                macro_rules! m { () => { unsafe { call() } } }\n\
                // SAFETY: none\nunsafe extern \"C\" {}\n";
    let path = "runtime-core/src/state.rs";
    assert_eq!(lines_of(Rule::UnsafePlace, path, text), [2, 4, 5, 7, 9]);
    assert_eq!(lines_of(Rule::UnsafePlace, "runtime-core/src/sys/mount.rs", text), []);
}

#[test]
fn unsafe_without_a_reason_is_found() {
    let text = "fn f() {\n    let a = unsafe { g() };\n    // SAFETY: g has no conditions.\n\
                    let b =\n        unsafe { g() };\n    // A plain comment.\n    unsafe { g() };\n}\n\
                /// # Safety\n/// Call it once.\n#[inline]\nunsafe fn h() {}\n\
                unsafe impl Send for X {}\n\
                fn k() {\n    // SAFETY: none.\n    Ok(Y {\n        a: unsafe { g() },\n    })\n}\n\
                fn l() {\n    m!(unsafe { g() }, g as unsafe fn());\n}\n";
    assert_eq!(lines_of(Rule::UnsafeReason, "runtime-core/src/sys/x.rs", text), [2, 7, 13, 21]);
}

#[test]
fn empty_names_are_found() {
    let text = "mod common;\nfn path_util() {}\nstruct ProcessFactory;\nenum Misc {}\n\
                fn utility() {}\nfn commonly() {}\n";
    assert_eq!(lines_of(Rule::Name, "shim/src/x.rs", text), [1, 2, 3, 4]);
    assert_eq!(lines_of(Rule::Name, "shim/src/utils/x.rs", ""), [1]);
    assert_eq!(lines_of(Rule::Name, "shim/src/mount_helpers.rs", ""), [1]);
}

#[test]
fn panics_are_found() {
    let text = "fn f() {\n    x.unwrap();\n    x.expect(\"x\");\n    panic!(\"x\");\n    todo!();\n\
                    log!(x.unwrap());\n    x.unwrap_or(1);\n    unreachable!()\n}\n\
                #[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }\n\
                #[cfg(not(test))]\nfn g() { x.unwrap(); }\n\
                #[cfg(all(test, not(unix)))]\nmod more { fn f() { x.unwrap(); } }\n\
                #[cfg(any(test, unix))]\nfn h() { x.unwrap(); }\n";
    let path = "runtime-core/src/state.rs";
    assert_eq!(lines_of(Rule::Panic, path, text), [2, 3, 4, 5, 6, 8, 13, 17]);
    assert_eq!(lines_of(Rule::Panic, "benches/src/main.rs", text), []);
}
