//! The output of a container that writes a gibibyte as fast as it can: what the shim takes to pass it on.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::task::{Task, wait_for_end};
use crate::Outcome;
use crate::bench::{Bench, Reading};
use crate::bundle::Payload;
use crate::runtime::Runtime;

const ROW: &str = "relay of 1 GiB";
const ROUNDS: usize = 5;
const GIBIBYTE: usize = 1 << 30;

pub(super) fn measure(bench: &mut Bench) -> Outcome<()> {
    bench.interleave(ROW, ROUNDS, once)
}

fn once(bench: &Bench, shim: &Runtime) -> Outcome<Vec<(&'static str, Reading)>> {
    let mut task = Task::launch(bench, shim, ("relay", Payload::Flood), None)?;
    let (server, output) = (task.shim, task.output());
    let reader = thread::spawn(move || count(output));
    let (cpu, start) = (processor_time(server)?, Instant::now());
    task.run()?;
    if task.wait("")? != 0 {
        return Err("the program failed".into());
    }
    let bytes = reader.join().map_err(|_| "the reader failed")??;
    let (wall, cpu) = (start.elapsed().as_secs_f64() * 1e3, processor_time(server)? - cpu);
    task.retire()?;
    wait_for_end(server)?;
    if bytes != GIBIBYTE {
        return Err(format!("{bytes} bytes have arrived").into());
    }
    Ok(vec![(ROW, ("cpu of the shim", "ms", cpu)), (ROW, ("wall", "ms", wall))])
}

/// Milliseconds of all threads of a process.
fn processor_time(pid: i32) -> Outcome<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))?;
    Ok(std::time::Duration::from(clock_gettime(clock)?).as_secs_f64() * 1e3)
}

/// Reads all that comes.
fn count(output: PathBuf) -> std::io::Result<usize> {
    let mut file = File::open(output)?;
    let (mut bytes, mut total) = (vec![0; 1 << 20], 0);
    while total < GIBIBYTE {
        match file.read(&mut bytes)? {
            0 => break,
            count => total += count,
        }
    }
    Ok(total)
}
