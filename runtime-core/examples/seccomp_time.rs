//! Measures how long it takes to compile the seccomp profile of a configuration:
//! `cargo run --release --example seccomp_time -- tests/bundles/docker-default.json`

#![allow(clippy::print_stdout, reason = "the measurement is its output")]

use std::error::Error;
use std::time::Instant;

use coracle::seccomp::compile;
use coracle::spec::seccomp::Seccomp;

const RUNS: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which configuration?")?;
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let profile = config.pointer("/linux/seccomp").ok_or("it has no seccomp profile")?;
    let profile: Seccomp = serde_json::from_value(profile.clone())?;
    let mut times = Vec::with_capacity(RUNS);
    let mut length = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        length = compile(&profile)?.len();
        times.push(start.elapsed());
    }
    let first = times.first().copied().unwrap_or_default();
    times.sort_unstable();
    let median = times.get(RUNS / 2).copied().unwrap_or_default();
    println!("{length} instructions; first {first:?}, median of {RUNS} {median:?}");
    Ok(())
}
