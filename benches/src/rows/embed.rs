//! The library inside a small and inside a large process: its cost must not depend on its caller.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::arguments::beside;
use crate::bench::Bench;
use crate::bundle::Payload;
use crate::host::check_interrupt;
use crate::runtime::Runtime;

/// Name, mebibytes of touched memory, threads.
const CALLERS: [(&str, &str, &str); 2] = [
    ("empty process", "0", "0"),
    ("512 MiB, 8 threads", "512", "8"),
];
/// Containers that each process makes; the first warms up.
const CONTAINERS: usize = 6;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    let Some(program) = beside("embed") else {
        bench
            .notes
            .push("embed: left out, the program `embed` is not beside this one".into());
        return Ok(());
    };
    let rounds = (bench.options.rounds / 4).max(3);
    for _ in 0..rounds {
        for caller in CALLERS {
            check_interrupt()?;
            if let Err(error) = once(bench, &program, caller) {
                check_interrupt()?;
                bench
                    .notes
                    .push(format!("embed: {} failed: {error}", caller.0));
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
    let runtime = Runtime {
        name: "embed".into(),
        path: program.to_owned(),
        root,
    };
    let bundle = bench.bundle(&runtime, "embed", Payload::True, None)?;
    let mut command = Command::new(program);
    command
        .arg(&bundle.directory)
        .arg(&runtime.root)
        .arg(&bundle.id);
    command
        .args([&CONTAINERS.to_string(), memory, threads])
        .stdin(Stdio::null());
    let output = command.output()?;
    if !output.status.success() {
        bench.workspace.clear(&[&bundle.id]);
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", output.status, text.trim()).into());
    }
    for line in String::from_utf8(output.stdout)?.lines().skip(1) {
        let times = line
            .split(' ')
            .map(str::parse)
            .collect::<Result<Vec<f64>, _>>()?;
        let [create, start, delete] = times[..] else {
            return Err("not three times".into());
        };
        for (metric, time) in [
            ("create", create),
            ("start and wait", start),
            ("delete", delete),
        ] {
            bench.record("embedded", name, (metric, "ms", time));
        }
    }
    Ok(())
}
