//! Runs the cases, each in a worker process.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::args::{Args, ShimTest};
use crate::case::Case;
use crate::host::{self, Host};
use crate::offers::Offers;
use crate::{cases, leftovers};

/// The end of the longest case: several calls that hang.
const WORKER_LIMIT: Duration = Duration::from_secs(90);

/// How a case ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The promise is kept.
    Passed,
    /// The promise is broken; what was seen.
    Failed(String),
    /// Not run; why.
    Skipped(String),
}

/// A case and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The case.
    pub(crate) case: Case,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Wall clock time.
    pub(crate) elapsed: Duration,
}

/// Runs the selected cases; the outcomes are in the order of the table.
///
/// # Errors
/// No case is selected, or the temporary directory cannot be made.
pub(crate) fn run(args: &Args) -> Result<Vec<Outcome>, String> {
    let selected: Vec<Case> = cases::chosen(args.shim.is_some(), &args.filters).collect();
    if selected.is_empty() {
        return Err("no case matches the filters".to_owned());
    }
    let parts = tempfile::Builder::new().prefix("conf-").tempdir();
    let dir = parts.map_err(|error| format!("temporary directory: {error}"))?;
    // Containers with a user namespace must be able to look their rootfs up.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).map_err(|error| error.to_string())?;
    let cgroup = Delegation::enter();
    let host = Host::detect(&cgroup.base, args.systemd);
    // A shim has no commands to ask for.
    let offers =
        args.shim.as_ref().map_or_else(|| Offers::of(&args.runtime), |_| Offers::default());
    // Orphans of a worker that had to be killed come here instead of to pid 1.
    let _ = nix::sys::prctl::set_child_subreaper(true);

    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::new());
    let step = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = selected.get(index) else {
                break;
            };
            let start = Instant::now();
            let verdict = match case.missing(&host, &offers) {
                Some(reason) => Verdict::Skipped(reason),
                None => one(args, case, &dir.path().join(index.to_string()), &cgroup.base),
            };
            let outcome = Outcome { case: *case, verdict, elapsed: start.elapsed() };
            if let Ok(mut list) = done.lock() {
                list.push((index, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(step);
        }
    });
    let mut list = done.into_inner().map_err(|error| error.to_string())?;
    list.sort_by_key(|(index, _)| *index);
    Ok(list.into_iter().map(|(_, outcome)| outcome).collect())
}

fn one(args: &Args, case: &Case, dir: &Path, cgroup: &str) -> Verdict {
    match work(args, case, dir, cgroup) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Failed(format!("the worker failed: {error}")),
    }
}

fn work(args: &Args, case: &Case, dir: &Path, cgroup: &str) -> std::io::Result<Verdict> {
    fs::create_dir(dir)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--worker", case.name, "--cgroup", cgroup])
        .arg(if args.shim.is_some() { "--shim" } else { "--runtime" })
        .arg(&args.runtime)
        .args(shim_options(args.shim.as_ref()))
        .arg("--probe")
        .arg(&args.probe)
        .arg("--dir")
        .arg(dir)
        .args(args.systemd.then_some("--systemd-cgroup"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let full = args.shim.as_ref().is_some_and(|shim| shim.full);
    let answer = watch(&mut child, WORKER_LIMIT * if full { 10 } else { 1 })?;
    let _ = fs::remove_dir_all(dir);
    Ok(answer.unwrap_or_else(|| {
        Verdict::Failed("the worker died or took too long without an answer".to_owned())
    }))
}

fn watch(child: &mut Child, limit: Duration) -> std::io::Result<Option<Verdict>> {
    let end = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            leftovers::kill_tree(child.id());
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    Ok(decode(&text))
}

fn shim_options(shim: Option<&ShimTest>) -> Vec<String> {
    let Some(shim) = shim else { return Vec::new() };
    let mut options = Vec::new();
    if let Some(path) = &shim.runtime {
        options.extend(["--shim-runtime-binary".to_owned(), path.clone()]);
    }
    options.extend(shim.full.then(|| "--full".to_owned()));
    options
}

fn decode(text: &str) -> Option<Verdict> {
    let value: Value = serde_json::from_str(text.lines().last()?).ok()?;
    let detail = value.get("text")?.as_str()?.to_owned();
    match value.get("verdict")?.as_str()? {
        "passed" => Some(Verdict::Passed),
        "skipped" => Some(Verdict::Skipped(detail)),
        _ => Some(Verdict::Failed(detail)),
    }
}

/// On a delegated version 2 subtree this process moves into a leaf, because controllers can only
/// be handed to children of a cgroup that has no process of its own.
struct Delegation {
    base: String,
    leaf: Option<PathBuf>,
}

impl Delegation {
    fn enter() -> Self {
        let none = Self { base: String::new(), leaf: None };
        if nix::unistd::geteuid().is_root() || !host::is_v2() {
            return none;
        }
        let Some(base) = host::own_cgroup() else {
            return none;
        };
        let dir = Path::new(host::CGROUP_ROOT).join(base.trim_start_matches('/'));
        let leaf = dir.join(format!("conformance-{}", std::process::id()));
        let base = base.trim_end_matches('/').to_owned();
        if fs::create_dir(&leaf).is_err() {
            return Self { base, leaf: None };
        }
        let moved = fs::write(leaf.join("cgroup.procs"), "0").is_ok();
        let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        for name in controllers.split_whitespace().filter(|_| moved) {
            // Fails while a shell shares the cgroup; the cases that need it are then skipped.
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"));
        }
        Self { base, leaf: Some(leaf) }
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        if let Some(leaf) = &self.leaf {
            if let Some(parent) = leaf.parent() {
                let _ = fs::write(parent.join("cgroup.procs"), "0");
            }
            let _ = fs::remove_dir(leaf);
        }
    }
}
