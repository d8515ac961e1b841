//! Builds the payloads that run inside the measured containers: static, without libc or std,
//! whatever target the package itself is built for.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

const PAYLOADS: [&str; 4] = ["true", "pause", "family", "flood"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let (rustc, target) = (env::var("RUSTC")?, env::var("TARGET")?);
    write(&["rerun-if-changed=payload"]);
    for name in PAYLOADS {
        let status = Command::new(&rustc)
            .args(["--edition=2024", "--target", &target, "--crate-type=bin", "-Copt-level=s"])
            .args(["-Cpanic=abort", "-Crelocation-model=static", "-Cstrip=symbols"])
            .args(["-Clinker=rust-lld", "-Clinker-flavor=ld.lld", "-Clink-self-contained=no"])
            .args(["-Ctarget-feature=+crt-static", "-Cdefault-linker-libraries=no"])
            .args(["-Clink-arg=-static", "-Clink-arg=-znognustack", "-o"])
            .arg(out.join(name))
            .arg(format!("payload/{name}.rs"))
            .status()?;
        if !status.success() {
            return Err(format!("{rustc} could not build payload/{name}.rs: {status}").into());
        }
    }
    Ok(())
}

fn write(instructions: &[&str]) {
    for instruction in instructions {
        println!("cargo:{instruction}");
    }
}
