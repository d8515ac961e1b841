//! The command line.

use std::path::{Path, PathBuf};

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::report::Format;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Usage: coracle-conformance --runtime PATH [OPTION]...
       coracle-conformance --shim PATH [--shim-runtime-binary PATH] [--full] [OPTION]...
       coracle-conformance table RESULTS...

Runs the conformance cases against an OCI runtime binary or a shim for containerd, or makes the comparison table (Markdown,
to standard output) from the results of several runs.

  --runtime PATH     the runtime to test
  --shim PATH        the shim to test, as containerd would drive it
  --shim-runtime-binary PATH
                     the runtime that the shim is told to use (default: none is named)
  --full             the loads of the shim's cases in full: 1,000 tasks, 1 GiB of output
  --filter TEXT      only the cases whose name contains TEXT (repeatable: any of them)
  --format FORMAT    pretty (default), tap or junit
  --list             print the names and promises of the cases and stop (with --shim: of the
                     shim's cases)
  --rows             print the rows of the checklist with the cases that prove them and stop
  --jobs N           cases that run at the same time (default 2)
  --rootless auto    run as the calling user: root's cases are skipped for others (the default)
  --systemd-cgroup   have systemd make the cgroups (the runtime's option of that name)
  --expect FILE      known differences, one `case-name: reason` a line
  --results FILE     write the outcomes to FILE, for `table`
  --machine NAME     what the table calls this machine (default host)
  --probe PATH       the static conformance-probe (default: looked for beside this program)
  --help             print this text

The exit status is 0 when no case fails, or when the failing cases are exactly those of --expect;
1 otherwise; 2 for a wrong command line.
";

/// What a run needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Args {
    /// The runtime binary.
    pub(crate) runtime: PathBuf,
    /// The static probe.
    pub(crate) probe: PathBuf,
    /// Parts of names; empty selects everything.
    pub(crate) filters: Vec<String>,
    /// How to print the outcomes.
    pub(crate) format: Format,
    /// Cases at the same time.
    pub(crate) jobs: usize,
    /// Whether systemd makes the cgroups.
    pub(crate) systemd: bool,
    /// The file of known differences.
    pub(crate) expect: Option<PathBuf>,
    /// Where to write the outcomes for the table.
    pub(crate) results: Option<PathBuf>,
    /// The name of this machine in the table.
    pub(crate) machine: String,
    /// The binary is a shim and not a runtime.
    pub(crate) shim: Option<ShimTest>,
}

/// What is special about the test of a shim.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShimTest {
    /// The runtime that the shim is told to use.
    pub(crate) runtime: Option<String>,
    /// The loads in full.
    pub(crate) full: bool,
}

/// One case for a worker process.
#[derive(Debug)]
pub(crate) struct Job {
    /// Name of the case.
    pub(crate) case: String,
    /// The runtime binary.
    pub(crate) runtime: PathBuf,
    /// The static probe.
    pub(crate) probe: PathBuf,
    /// The private directory of the case.
    pub(crate) dir: PathBuf,
    /// Where containers' cgroups are made, as in /proc/self/cgroup.
    pub(crate) cgroup: String,
    /// Whether systemd makes them.
    pub(crate) systemd: bool,
    /// The binary is a shim and not a runtime.
    pub(crate) shim: Option<ShimTest>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the help text.
    Help,
    /// Print the cases, of runtimes or of shims.
    List(bool, Vec<String>),
    /// Print the rows of the checklist.
    Rows,
    /// Make the comparison table from these results.
    Table(Vec<PathBuf>),
    /// Run one case, for the runner.
    Worker(Job),
    /// Run the selected cases.
    Run(Args),
}

#[derive(Default)]
struct Raw {
    runtime: Option<PathBuf>,
    probe: Option<PathBuf>,
    filters: Vec<String>,
    format: Format,
    jobs: Option<usize>,
    expect: Option<PathBuf>,
    results: Option<PathBuf>,
    machine: Option<String>,
    table: Option<Vec<PathBuf>>,
    systemd: bool,
    shim: Option<PathBuf>,
    shim_runtime: Option<String>,
    full: bool,
    list: bool,
    rows: bool,
    help: bool,
    worker: Option<String>,
    dir: Option<PathBuf>,
    cgroup: String,
}

/// Parses the arguments of this process.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse() -> Result<Command, String> {
    let raw = read().map_err(|error| error.to_string())?;
    if raw.help {
        return Ok(Command::Help);
    }
    if raw.list {
        return Ok(Command::List(raw.shim.is_some(), raw.filters));
    }
    if let Some(files) = raw.table {
        return Ok(Command::Table(files));
    }
    if raw.rows {
        return Ok(Command::Rows);
    }
    let (binary, shim) = match (raw.runtime, raw.shim) {
        (Some(path), None) => (path, None),
        (None, Some(path)) => (path, Some(ShimTest { runtime: raw.shim_runtime, full: raw.full })),
        (Some(_), Some(_)) => return Err("--runtime and --shim are two tests".to_owned()),
        (None, None) => return Err("--runtime PATH is missing (see --help)".to_owned()),
    };
    let runtime = absolute(&binary)?;
    let probe = find_probe(raw.probe)?;
    if let Some(case) = raw.worker {
        let dir = raw.dir.ok_or("a worker needs --dir")?;
        let (cgroup, systemd) = (raw.cgroup, raw.systemd);
        return Ok(Command::Worker(Job { case, runtime, probe, dir, cgroup, systemd, shim }));
    }
    Ok(Command::Run(Args {
        runtime,
        probe,
        filters: raw.filters,
        format: raw.format,
        jobs: raw.jobs.unwrap_or(2).max(1),
        systemd: raw.systemd,
        expect: raw.expect,
        results: raw.results,
        machine: raw.machine.unwrap_or_else(|| "host".to_owned()),
        shim,
    }))
}

fn read() -> Result<Raw, lexopt::Error> {
    let mut raw = Raw::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => raw.runtime = Some(parser.value()?.into()),
            Long("shim") => raw.shim = Some(parser.value()?.into()),
            Long("shim-runtime-binary") => raw.shim_runtime = Some(parser.value()?.string()?),
            Long("full") => raw.full = true,
            Long("probe") => raw.probe = Some(parser.value()?.into()),
            Long("filter") => raw.filters.push(parser.value()?.string()?),
            Long("format") => raw.format = parser.value()?.parse()?,
            Long("jobs") => raw.jobs = Some(parser.value()?.parse()?),
            Long("expect") => raw.expect = Some(parser.value()?.into()),
            Long("results") => raw.results = Some(parser.value()?.into()),
            Long("machine") => raw.machine = Some(parser.value()?.string()?),
            Value(word) if raw.table.is_none() && word == "table" => raw.table = Some(Vec::new()),
            Value(path) if raw.table.is_some() => {
                raw.table.get_or_insert_default().push(path.into());
            }
            Long("rootless") => {
                let value = parser.value()?;
                if value != "auto" {
                    return Err(lexopt::Error::Custom("--rootless takes auto only".into()));
                }
            }
            Long("systemd-cgroup") => raw.systemd = true,
            Long("list") => raw.list = true,
            Long("rows") => raw.rows = true,
            Long("help") | Short('h') => raw.help = true,
            Long("worker") => raw.worker = Some(parser.value()?.string()?),
            Long("dir") => raw.dir = Some(parser.value()?.into()),
            Long("cgroup") => raw.cgroup = parser.value()?.string()?,
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(raw)
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The probe must be static: it runs where there is no C library.
fn find_probe(given: Option<PathBuf>) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return absolute(&path);
    }
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let dir = here.parent().unwrap_or(Path::new("/"));
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let target = dir.parent().unwrap_or(dir).join(musl);
    let places = [
        dir.join("conformance-probe"),
        target.join("release/conformance-probe"),
        target.join("debug/conformance-probe"),
    ];
    places.iter().find(|path| is_static(path)).cloned().ok_or_else(|| {
        "no static conformance-probe beside this program; build it with `cargo build -p \
         coracle-conformance --bin conformance-probe --target x86_64-unknown-linux-musl` or give \
         --probe PATH"
            .to_owned()
    })
}

/// A dynamic program names its loader, and the loader's path is near the start of the file.
fn is_static(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else {
        return false;
    };
    let head = bytes.get(..4096).unwrap_or(&bytes);
    head.starts_with(b"\x7fELF") && !head.windows(9).any(|window| window == b"/ld-linux")
}
