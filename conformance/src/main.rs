//! Black-box conformance tests for any OCI runtime binary, and for any shim for containerd.
//!
//! Every case runs in a process of its own (a *worker*): the worker is a subreaper, so whatever
//! the runtime leaves behind becomes its child, and it has its own mount namespace whose root is
//! shared, so a mount that the runtime leaks is seen and dies with the worker.

mod agent;
mod args;
mod bundle;
mod call;
mod case;
mod cases;
mod checklist;
mod console;
mod container;
mod expect;
mod failure;
mod host;
mod leftovers;
mod network;
mod offers;
mod report;
mod results;
mod runner;
mod shim;
mod table;
mod trial;
mod unit;
mod value;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let result = match args::parse() {
        Ok(Command::Help) => say(args::HELP),
        Ok(Command::List(shim, filters)) => list(shim, &filters),
        Ok(Command::Rows) => say(&checklist::overview()),
        Ok(Command::Table(files)) => table::make(&files).and_then(|text| say(&text)),
        Ok(Command::Worker(job)) => worker::main(&job),
        Ok(Command::Run(args)) => run(&args),
        Err(message) => Err(message),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "coracle-conformance: {message}");
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) -> Result<ExitCode, String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn list(shim: bool, filters: &[String]) -> Result<ExitCode, String> {
    let lines: Vec<String> = cases::chosen(shim, filters)
        .map(|case| format!("{:<44} {}\n", case.name, case.promise))
        .collect();
    say(&lines.concat())
}

fn run(args: &Args) -> Result<ExitCode, String> {
    let expected = match &args.expect {
        Some(path) => expect::load(path)?,
        None => expect::Expected::default(),
    };
    let outcomes = runner::run(args)?;
    report::print(args.format, &outcomes, &expected).map_err(|error| error.to_string())?;
    if let Some(path) = &args.results {
        results::write(path, (&args.runtime, &args.machine, args.systemd), &outcomes, &expected)?;
    }
    let good = expected.matches(&outcomes);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
