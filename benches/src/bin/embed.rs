//! Containers made by the library inside this process, as an embedding program would, with any
//! amount of the process's own memory and threads beside them.
//!
//! `embed BUNDLE ROOT ID ROUNDS MEBIBYTES THREADS` prints one line per round: the milliseconds of
//! create, of start until the payload has ended, and of delete.
//!
//! `embed filter BUNDLE ROUNDS` prints the milliseconds of compiling the bundle's seccomp profile.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use coracle::{Bundle, ContainerId, CreateOptions, Runtime};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PAGE: usize = 4096;

struct Work {
    bundle: Bundle,
    runtime: Runtime,
    id: ContainerId,
    rounds: usize,
    mebibytes: usize,
    threads: usize,
}

fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some("filter") => filter(),
        _ => arguments().and_then(|work| with_ballast(&work)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "embed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Outcome<Work> {
    let mut words = env::args().skip(1);
    let mut word = |name: &str| words.next().ok_or(format!("{name} is missing"));
    Ok(Work {
        bundle: Bundle::load(word("BUNDLE")?)?,
        runtime: Runtime::new(word("ROOT")?),
        id: word("ID")?.parse()?,
        rounds: word("ROUNDS")?.parse()?,
        mebibytes: word("MEBIBYTES")?.parse()?,
        threads: word("THREADS")?.parse()?,
    })
}

fn filter() -> Outcome<()> {
    let mut words = env::args().skip(2);
    let bundle = Bundle::load(words.next().ok_or("BUNDLE is missing")?)?;
    let rounds: usize = words.next().ok_or("ROUNDS is missing")?.parse()?;
    let profile =
        bundle.spec().linux.seccomp.as_ref().ok_or("the bundle has no seccomp profile")?;
    for _ in 0..rounds {
        let begin = Instant::now();
        black_box(coracle::seccomp::compile(black_box(profile))?);
        writeln!(io::stdout(), "{:.5}", begin.elapsed().as_secs_f64() * 1e3)?;
    }
    Ok(())
}

/// Touches the memory and starts the threads, which then only wait, and measures beside them.
fn with_ballast(work: &Work) -> Outcome<()> {
    let mut memory = vec![0_u8; work.mebibytes << 20];
    for page in memory.iter_mut().step_by(PAGE) {
        *page = 1;
    }
    let (begun, done) = (Barrier::new(work.threads + 1), Barrier::new(work.threads + 1));
    let outcome = thread::scope(|scope| {
        for _ in 0..work.threads {
            scope.spawn(|| {
                begun.wait();
                done.wait();
            });
        }
        begun.wait();
        let outcome = measure(work);
        done.wait();
        outcome
    });
    black_box(&memory);
    outcome
}

fn measure(work: &Work) -> Outcome<()> {
    for _ in 0..work.rounds {
        let times = round(work)?.map(|time| format!("{time:.4}"));
        writeln!(io::stdout(), "{}", times.join(" "))?;
    }
    Ok(())
}

fn round(work: &Work) -> Outcome<[f64; 3]> {
    let begin = Instant::now();
    let container = work.runtime.create(&work.id, &work.bundle, &CreateOptions::default())?;
    let created = Instant::now();
    container.start()?;
    let status = container.wait()?;
    let ended = Instant::now();
    container.delete(false)?;
    let deleted = Instant::now();
    if status.code() != 0 {
        return Err(format!("the payload ended with {}", status.code()).into());
    }
    let times = [created - begin, ended - created, deleted - ended];
    Ok(times.map(|time| time.as_secs_f64() * 1e3))
}
