//! The library by itself: inside a small and inside a large process, between which its cost must not
//! differ, and its seccomp compiler.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::arguments::beside;
use crate::bench::Bench;
use crate::bundle::Payload;
use crate::host::check_interrupt;
use crate::runtime::Runtime;

/// Name, mebibytes of touched memory, threads.
const CALLERS: [(&str, &str, &str); 2] =
    [("empty process", "0", "0"), ("512 MiB, 8 threads", "512", "8")];
/// Containers that each process makes; the first warms up.
const CONTAINERS: usize = 6;

/// A configuration of Docker with its default seccomp profile.
const DOCKER: &[u8] = include_bytes!("../../../runtime-core/tests/bundles/docker-default.json");

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let Some(program) = beside("embed") else {
        bench.notes.push("embed: left out, the program `embed` is not beside this one".into());
        return Ok(());
    };
    if let Err(error) = filter(bench, &program) {
        bench.notes.push(format!("embed: the seccomp filter failed: {error}"));
    }
    let rounds = (bench.options.rounds / 4).max(3);
    for _ in 0..rounds {
        for caller in CALLERS {
            check_interrupt()?;
            if let Err(error) = once(bench, &program, caller) {
                check_interrupt()?;
                bench.notes.push(format!("embed: {} failed: {error}", caller.0));
                return Ok(());
            }
        }
    }
    Ok(())
}

fn once(
    bench: &mut Bench,
    program: &Path,
    (name, memory, threads): (&str, &str, &str),
) -> Outcome<()> {
    let root = bench.workspace.directory.join("state").join("embed");
    let runtime = Runtime { name: "embed".into(), path: program.to_owned(), root };
    let bundle = bench.bundle(&runtime, "embed", Payload::True, None)?;
    let mut command = Command::new(program);
    command.arg(&bundle.directory).arg(&runtime.root).arg(&bundle.id);
    command.args([&CONTAINERS.to_string(), memory, threads]).stdin(Stdio::null());
    let output = command.output()?;
    if !output.status.success() {
        bench.workspace.clear(&[&bundle.id]);
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", output.status, text.trim()).into());
    }
    for line in String::from_utf8(output.stdout)?.lines().skip(1) {
        let times = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [create, start, delete] = times[..] else {
            return Err("not three times".into());
        };
        for (metric, time) in [("create", create), ("start and wait", start), ("delete", delete)] {
            bench.record("embedded", name, (metric, "ms", time));
        }
    }
    Ok(())
}

fn filter(bench: &mut Bench, program: &Path) -> Outcome<()> {
    let directory = bench.workspace.directory.join("bundles").join("docker");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("config.json"), DOCKER)?;
    let rounds = bench.options.rounds.to_string();
    let output = Command::new(program).arg("filter").arg(&directory).arg(rounds).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        let reading = ("compile Docker's default profile", "ms", line.parse()?);
        bench.record("seccomp filter", "coracle", reading);
    }
    Ok(())
}
