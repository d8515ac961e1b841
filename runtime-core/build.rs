//! Builds the init program (`init/`) with one call of the compiler; the library embeds the result.
//!
//! `CORACLE_INIT` may name a file to embed instead. What the build offers to the crate: the file
//! `OUT_DIR/coracle-init`, and its path as the compile-time variable `CORACLE_INIT_PATH`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["build.rs", "init", "src/program"] {
        println!("cargo:rerun-if-changed={input}");
    }
    for variable in ["CORACLE_INIT", "RUSTC"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let output = PathBuf::from(variable("OUT_DIR")?).join("coracle-init");
    if let Some(prebuilt) = env::var_os("CORACLE_INIT").filter(|path| !path.is_empty()) {
        println!("cargo:rerun-if-changed={}", Path::new(&prebuilt).display());
        fs::copy(&prebuilt, &output)?;
    } else {
        compile(&output)?;
        let mut bytes = fs::read(&output)?;
        trim(&mut bytes).ok_or("the linker has made no ELF file of 64 bits")?;
        fs::write(&output, bytes)?;
    }
    println!("cargo:rustc-env=CORACLE_INIT_PATH={}", output.display());
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// Compiles with the linker that comes with the compiler, so that no cross compiler is needed; where a
/// distribution's Rust lacks it, with the C compiler as linker.
fn compile(output: &Path) -> Result<(), Box<dyn Error>> {
    let Some(first) = link(output, Linker::Own)? else {
        return Ok(());
    };
    match link(output, Linker::System)? {
        None => Ok(()),
        Some(second) => Err(format!(
            "the init program does not compile; with rust-lld:\n{first}\nwith the C compiler as linker:\n{second}"
        )
        .into()),
    }
}

/// Who links.
#[derive(Clone, Copy)]
enum Linker {
    /// The linker that comes with the compiler.
    Own,
    /// The C compiler that is the target's default.
    System,
}

/// What the compiler is told, whichever linker it uses.
const OPTIONS: &[&str] = &[
    "--edition=2024",
    "--crate-name=coracle_init",
    "--crate-type=bin",
    "--cfg=coracle_init",
    "--check-cfg=cfg(coracle_init,test)",
    // Nothing to unwind, nothing to relocate.
    "-Cpanic=abort",
    "-Cforce-unwind-tables=no",
    "-Crelocation-model=static",
    // Size counts: a waiting container keeps the program in memory.
    "-Copt-level=z",
    "-Cllvm-args=-inline-threshold=35",
    "-Clto=fat",
    "-Ccodegen-units=1",
    "-Cdebuginfo=0",
    "-Cstrip=symbols",
    "-Cdefault-linker-libraries=no",
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=-static",
];

/// What the linker is told: one segment for code and constants and one for data, on pages of 4 KiB. The
/// fewer pages the program touches, the less memory a waiting container takes.
const LAYOUT: &[&str] =
    &["-z max-page-size=4096", "-z noseparate-code", "-z norelro", "--build-id=none"];

/// What only LLVM's linker knows.
const LLD_LAYOUT: &[&str] = &["--no-rosegment", "--icf=all", "--no-eh-frame-hdr"];

/// Compiles and links; the compiler's messages if that fails.
fn link(output: &Path, linker: Linker) -> Result<Option<String>, Box<dyn Error>> {
    let source = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("init");
    let mut command = Command::new(variable("RUSTC")?);
    command.args(OPTIONS);
    let layout = match linker {
        Linker::Own => {
            command.args([
                "-Clinker=rust-lld",
                "-Clinker-flavor=ld.lld",
                "-Clink-self-contained=no",
            ]);
            [LAYOUT, LLD_LAYOUT].concat()
        }
        Linker::System => {
            command.args(["-Clink-arg=-nostdlib", "-Clink-arg=-nostartfiles"]);
            LAYOUT.to_vec()
        }
    };
    let script = format!("-T {}", source.join("link.ld").display());
    for option in layout.into_iter().chain([script.as_str()]) {
        match linker {
            Linker::Own => {
                command.args(option.splitn(2, ' ').map(|part| format!("-Clink-arg={part}")));
            }
            Linker::System => {
                command.arg(format!("-Clink-arg=-Wl,{}", option.replacen(' ', ",", 1)));
            }
        }
    }
    command.arg(format!("--target={}", variable("TARGET")?));
    command.arg("-o").arg(output).arg(source.join("main.rs"));
    let ran = command.output()?;
    let messages = String::from_utf8_lossy(&ran.stderr).into_owned();
    if !ran.status.success() {
        return Ok(Some(messages));
    }
    for line in messages.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo:warning=init: {line}");
    }
    Ok(None)
}

/// Cuts what the kernel does not load off the end of the file: padding, names and section headers.
fn trim(bytes: &mut Vec<u8>) -> Option<()> {
    let number = |at: usize, length: usize| {
        let field = bytes.get(at..at.checked_add(length)?)?;
        let value = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        usize::try_from(field.iter().rev().fold(0, value)).ok()
    };
    // Elf64_Ehdr: e_phoff, e_phentsize, e_phnum; Elf64_Phdr: p_offset, p_filesz.
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut end = table + size * count;
    for index in 0..count {
        let header = table + size * index;
        let (offset, length) = (number(header + 8, 8)?, number(header + 32, 8)?);
        if length > 0 {
            end = end.max(offset + length);
        }
    }
    // e_shoff; then e_shentsize, e_shnum and e_shstrndx.
    for field in [40..48, 58..64] {
        bytes.get_mut(field)?.fill(0);
    }
    bytes.truncate(end);
    Some(())
}
