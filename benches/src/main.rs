//! Side-by-side measurements of OCI runtimes: time, system calls, memory, each beside the kernel
//! floor (see the program `floor`).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

mod arguments;
mod bench;
mod bundle;
mod chart;
mod host;
mod measure;
mod report;
mod rows;
mod runtime;
mod shims;
mod statistics;
mod table;
mod trace;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::process::{self, ExitCode};

use arguments::{Action, Options};
use bench::Bench;
use host::Workspace;

/// A result whose error is only ever printed.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match arguments::parse().and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coracle-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(action: Action) -> Outcome<()> {
    match action {
        Action::Help => print(arguments::HELP),
        Action::Measure(options) => measure(options),
        Action::Trace(options) => show_trace(options),
        Action::Count(words) => count(&words),
        Action::StopThenExecute(words) => trace::stop_then_execute(&words),
    }
}

/// crun refuses a hybrid host whose cgroup2 half holds controllers; without that mount it works.
fn must_hide_unified(options: &Options) -> bool {
    let has_crun = options.runtimes.iter().any(|runtime| runtime.name.contains("crun"));
    has_crun && host::is_hybrid_with_controllers()
}

fn measure(options: Options) -> Outcome<()> {
    let hide_unified = must_hide_unified(&options);
    let mut bench = Bench::new(options, Workspace::new(hide_unified)?)?;
    if hide_unified && bench.options.wants_runtimes() {
        bench.notes.push(
            "crun refuses a hybrid host with cgroup2 controllers: /sys/fs/cgroup/unified is \
             unmounted in a private mount namespace, for all runtimes alike"
                .into(),
        );
    }
    let mut outcome = rows::measure(&mut bench);
    let mut shims = bench.shims()?;
    if !bench.is_empty() {
        print(&report::text(&bench))?;
    }
    if outcome.is_ok() && !shims.runtimes.is_empty() {
        outcome = shims::measure(&mut shims);
        if !shims.is_empty() {
            print(&format!("\nshims of containerd\n{}", report::text(&shims)))?;
        }
    }
    write_files(&bench, &shims)?;
    outcome
}

fn write_files(bench: &Bench, shims: &Bench) -> Outcome<()> {
    if let Some(path) = &bench.options.json {
        report::write_json(bench, shims, path)?;
    }
    if let Some(path) = &bench.options.markdown {
        let tables = [bench, shims].into_iter().filter(|bench| !bench.is_empty());
        let texts: Vec<String> = tables.map(report::markdown).collect();
        fs::write(path, texts.join("\n"))?;
    }
    if let Some(path) = &bench.options.svg {
        fs::write(path, chart::draw(&bench.series, &report::subtitle(bench)))?;
    }
    Ok(())
}

fn show_trace(options: Options) -> Outcome<()> {
    let hide_unified = must_hide_unified(&options);
    let bench = Bench::new(options, Workspace::new(hide_unified)?)?;
    for runtime in &bench.runtimes {
        let trace = rows::calls::once(&bench, runtime, &bench.options.verb)?;
        let text = trace::show(&trace, bench.options.all);
        print(&format!("{} {}: {text}\n", runtime.name, bench.options.verb))?;
    }
    Ok(())
}

fn count(words: &[OsString]) -> Outcome<()> {
    let messages = env::temp_dir().join(format!("coracle-bench-{}", process::id()));
    let result = trace::count(words, &messages);
    fs::remove_file(&messages)?;
    print(&format!("{}\n", result?))
}

/// Writes to stdout; a reader that went away is an error like others, after which all is cleaned up
/// (the standard macro would panic).
fn print(text: &str) -> Outcome<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}
