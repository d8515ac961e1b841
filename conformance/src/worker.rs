//! The process in which one case runs.

use std::io::Write;
use std::process::ExitCode;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::args::Job;
use crate::cases;
use crate::failure::Failure;
use crate::host::Host;
use crate::leftovers::{self, Before};
use crate::trial::Trial;

/// Runs the case and prints the verdict as one JSON line.
///
/// # Errors
/// The worker cannot be set up, which says nothing about the runtime.
pub(crate) fn main(job: &Job) -> Result<ExitCode, String> {
    let mut found = cases::chosen(job.shim.is_some(), &[]).filter(|case| case.name == job.case);
    let case = found.next().ok_or("no such case")?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| error.to_string())?;
    let host = Host::detect(&job.cgroup, job.systemd);
    if host.root {
        own_mounts().map_err(|error| format!("mount namespace: {error}"))?;
    }
    let trial = Trial::new(job, host).map_err(|error| error.to_string())?;
    let before = Before::look();
    let result = (case.body)(&trial);
    let torn = trial.tear_down();
    let left = leftovers::check(&trial, &before);
    leftovers::clean(&trial);

    let mut problems = Vec::new();
    let mut skipped = None;
    match result {
        Ok(()) => {}
        Err(Failure::Broken(text)) => problems.push(text),
        Err(Failure::Skipped(why)) => skipped = Some(why),
    }
    problems.extend(torn.err().map(|failure| match failure {
        Failure::Broken(text) | Failure::Skipped(text) => text,
    }));
    problems.extend(left.into_iter().map(|what| format!("left behind: {what}")));
    let (verdict, text) = match (problems.is_empty(), skipped) {
        (true, Some(why)) => ("skipped", why),
        (true, None) => ("passed", String::new()),
        (false, _) => ("failed", format!("{}\n{}", problems.join("\n"), trial.story())),
    };
    let line = json!({ "verdict": verdict, "text": text });
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// A mount namespace whose root is shared with nobody but this worker's own copies: the runtime
/// meets shared mounts as under systemd, and the host is never touched.
fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    for flag in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        mount(None::<&str>, "/", None::<&str>, flag | MsFlags::MS_REC, None::<&str>)?;
    }
    Ok(())
}
