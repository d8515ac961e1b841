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
    let own: &[&str] = &["-Clinker=rust-lld", "-Clinker-flavor=ld.lld"];
    let first = match link(output, own, "-", " ")? {
        None => return Ok(()),
        Some(message) => message,
    };
    match link(output, &["-Clink-arg=-nostdlib", "-Clink-arg=-nostartfiles"], "-Wl,-", ",")? {
        None => Ok(()),
        Some(second) => Err(format!(
            "the init program does not compile; with rust-lld:\n{first}\nwith the C compiler as linker:\n{second}"
        )
        .into()),
    }
}

/// Compiles and links; the compiler's messages if that fails. `prefix` and `glue` are how the
/// linker's own options are written.
fn link(
    output: &Path,
    linker: &[&str],
    prefix: &str,
    glue: &str,
) -> Result<Option<String>, Box<dyn Error>> {
    let mut command = Command::new(variable("RUSTC")?);
    command.args([
        "--edition=2024",
        "--crate-name=coracle_init",
        "--crate-type=bin",
    ]);
    command.args(["--cfg=coracle_init", "--check-cfg=cfg(coracle_init,test)"]);
    // No entry, no relocation, no table for unwinding.
    command.args([
        "-Cpanic=abort",
        "-Cforce-unwind-tables=no",
        "-Crelocation-model=static",
    ]);
    command.args([
        "-Copt-level=s",
        "-Clto=fat",
        "-Ccodegen-units=1",
        "-Cdebuginfo=0",
    ]);
    command.args([
        "-Cstrip=symbols",
        "-Cdefault-linker-libraries=no",
        "-Clink-self-contained=no",
    ]);
    command.args(["-Ctarget-feature=+crt-static", "-Clink-arg=-static"]);
    command.args(linker);
    // One segment for code and constants and one for data, on pages of 4 KiB: the fewer pages the
    // program touches, the less memory a waiting container takes.
    for option in [
        "z max-page-size=4096",
        "z noseparate-code",
        "z norelro",
        "-build-id=none",
    ] {
        let option = option.replace(' ', glue);
        for part in format!("{prefix}{option}").split(' ') {
            command.arg(format!("-Clink-arg={part}"));
        }
    }
    if prefix == "-" {
        command.args(["-Clink-arg=--no-rosegment", "-Clink-arg=--icf=all"]);
        command.args([
            "-Clink-arg=--no-eh-frame-hdr",
            "-Clink-arg=-z",
            "-Clink-arg=nosectionheader",
        ]);
    }
    command
        .arg(format!("--target={}", variable("TARGET")?))
        .arg("-o")
        .arg(output);
    let source = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("init");
    command.arg(
        format!("-Clink-arg={prefix}T{}", source.join("link.ld").display())
            .replace("Wl,-T", "Wl,-T,"),
    );
    command.arg(source.join("main.rs"));
    let ran = command.output()?;
    let messages = String::from_utf8_lossy(&ran.stderr).into_owned();
    if ran.status.success() {
        for line in messages.lines().filter(|line| line.starts_with("warning")) {
            println!("cargo:warning=init: {line}");
        }
        return Ok(None);
    }
    Ok(Some(messages))
}
